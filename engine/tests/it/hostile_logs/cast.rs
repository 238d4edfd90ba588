//! Who speaks in a generated log, and what all of these logs begin with.

use std::collections::BTreeMap;

use bytes::Bytes;
use icecore_engine::codec::keys::digest;
use icecore_engine::codec::{Author, Identity, Secrets};
use icecore_engine::format::authority::Rights;
use icecore_engine::format::{
    ChunkId, Config, Credential, Digest, Enrolled, LogEntry, PackKind, RepositoryId, WriterId,
};
use icecore_engine::repo::StoredConfig;
use icecore_engine::store::layout;

use crate::setup::{Bench, small_packs};

/// Somebody with a key of his own.
pub struct Person {
    pub credential: Credential,
    pub author: Author,
    /// As the owner enrols him.
    pub enrolled: Enrolled,
}

impl Person {
    fn new(first: &Credential, number: u8, label: &str, rights: u8) -> Person {
        let (writer, signing_seed) = (WriterId([number; 16]), [number; 32]);
        let credential = Credential { writer, signing_seed, ..first.clone() };
        let author = Author::of(&credential);
        let key = (*author.public_key()).into();
        let enrolled = Enrolled { id: writer, key, label: label.to_owned(), rights };
        Person { credential, author, enrolled }
    }
}

/// The people, and an archive with one genuine snapshot by the first writer.
pub struct Cast {
    /// Has what is archived.
    pub bench: Bench,
    pub identity: Identity,
    pub id: RepositoryId,
    pub config: Config,
    pub secrets: Secrets,
    pub owner: Author,
    pub first: Author,
    /// May add: the genuine second host.
    pub second: Person,
    /// May add: is broken into as well.
    pub third: Person,
    /// May add and prune.
    pub pruner: Person,
    /// Is enrolled, and may do nothing.
    pub guest: Person,
    /// Has a number of rights that means nothing.
    pub odd: Person,
    /// Is never enrolled.
    pub stranger: Person,
    /// Says that he is the owner.
    pub liar: Author,
    pub genesis: Digest,
    /// `config`, the packs, and the first entry of the log.
    pub objects: BTreeMap<String, Bytes>,
    pub base: LogEntry,
}

impl Cast {
    pub fn new() -> Cast {
        let bench = Bench::local(small_packs());
        for number in 0..3 {
            bench.write(&format!("day/{number}.txt"), format!("photo number {number}\n"));
        }
        bench.snapshot();
        let (identity, id) = (bench.identity.clone(), bench.id);
        let store = bench.store();
        let names = bench.objects().into_keys().filter(|name| !name.starts_with("checkpoints/"));
        let get = |name: &String| store.get(name, 64 << 20).expect("an object");
        let objects: BTreeMap<String, Bytes> =
            names.map(|name| (name.clone(), get(&name))).collect();
        let first = identity.credential(id);
        let secrets = Secrets::new(first.clone());
        let base = secrets.read_log(1, &objects[&layout::log(1)]).expect("an entry");
        let person = |number, label: &str, rights| Person::new(&first, number, label, rights);
        Cast {
            owner: identity.owner(id),
            first: Author::of(&first),
            second: person(2, "second", Rights::ADD.bits()),
            third: person(3, "third", Rights::ADD.bits()),
            pruner: person(4, "pruner", Rights::BOTH.bits()),
            guest: person(5, "guest", 0),
            odd: person(6, "odd", 0xf9),
            stranger: person(7, "stranger", Rights::BOTH.bits()),
            liar: Author::new(WriterId([0; 16]), &[8; 32]),
            genesis: digest(&[&objects[layout::CONFIG]]),
            config: StoredConfig::read(&store).expect("config").config,
            identity,
            id,
            secrets,
            base,
            objects,
            bench,
        }
    }

    /// The name that everybody with the credential can give to a file that is not archived yet.
    pub fn chunk_of(&self, content: &[u8]) -> ChunkId {
        self.secrets.chunk_id(PackKind::Hot, content)
    }
}
