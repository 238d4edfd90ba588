//! The authors of the entries in generated logs, and the objects that all of these logs begin with.

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

/// A person with a signing key.
pub struct Person {
    pub credential: Credential,
    pub author: Author,
    /// The enrolment by the owner.
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

/// The authors, and an archive with one genuine snapshot by the first writer.
pub struct Cast {
    /// The sources of the archive.
    pub bench: Bench,
    pub identity: Identity,
    pub id: RepositoryId,
    pub config: Config,
    pub secrets: Secrets,
    pub owner: Author,
    pub first: Author,
    /// The second host, which is genuine and may add.
    pub second: Person,
    /// The third host, which may add. Its credential is stolen too.
    pub third: Person,
    /// May add and prune.
    pub pruner: Person,
    /// An enrolled writer without rights.
    pub guest: Person,
    /// A writer with undefined bits in its rights.
    pub odd: Person,
    /// A writer that is never enrolled.
    pub stranger: Person,
    /// Uses the id of the owner with another key.
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

    /// Returns the id of a chunk. Everyone with the credential can compute it, even for a file that
    /// is not archived yet.
    pub fn chunk_of(&self, content: &[u8]) -> ChunkId {
        self.secrets.chunk_id(PackKind::Hot, content)
    }
}
