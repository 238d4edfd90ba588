//! A second reader, written from `format-spec.md` alone. It shares no code with the engine, so it finds mistakes that
//! the engine's writer and reader share.

use std::collections::BTreeMap;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use ml_dsa::{EncodedVerifyingKey, MlDsa65, Signature, SigningKey, VerifyingKey};

/// Section 3.2.
pub fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    *blake3::Hasher::new_derive_key(context).update(&parts.concat()).finalize().as_bytes()
}

/// Section 3.3.
pub fn nonce(counter: u64, domain: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..8].copy_from_slice(&counter.to_le_bytes());
    nonce[8..].copy_from_slice(&domain.to_le_bytes());
    nonce
}

pub fn open(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let payload = Payload { msg, aad };
    Aes256GcmSiv::new(&(*key).into()).decrypt(&Nonce::from(nonce), payload).expect("it opens")
}

pub fn seal(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], msg: &[u8]) -> Vec<u8> {
    let payload = Payload { msg, aad };
    Aes256GcmSiv::new(&(*key).into()).encrypt(&Nonce::from(nonce), payload).expect("it seals")
}

/// The keys of section 3.2, derived from identity and repository.
pub struct Keys {
    pub seed: [u8; 32],
    pub dedup_secret: [u8; 32],
    pub data_id_key: [u8; 32],
    pub meta_id_key: [u8; 32],
    pub config_key: [u8; 32],
    pub paths_key: [u8; 32],
    pub owner_seed: [u8; 32],
    pub gear: [u64; 256],
}

impl Keys {
    pub fn new(seed: [u8; 32], repository: &[u8; 16]) -> Keys {
        let dedup_secret = derive("icecore v1 dedup secret", &[&seed, repository]);
        let from = |context| derive(context, &[&dedup_secret]);
        let mut table = [0; 2048];
        blake3::Hasher::new_derive_key("icecore v1 gear table")
            .update(&dedup_secret)
            .finalize_xof()
            .fill(&mut table);
        Keys {
            seed,
            dedup_secret,
            data_id_key: from("icecore v1 chunk id of data"),
            meta_id_key: from("icecore v1 chunk id of metadata"),
            config_key: from("icecore v1 config"),
            paths_key: from("icecore v1 paths key"),
            owner_seed: derive("icecore v1 owner signing key", &[&seed, repository]),
            gear: std::array::from_fn(|i| le(&table[8 * i..8 * i + 8])),
        }
    }

    /// Section 3.4.
    pub fn chunk_id(&self, kind: u8, plaintext: &[u8]) -> [u8; 32] {
        let key = if kind == 1 { &self.meta_id_key } else { &self.data_id_key };
        *blake3::keyed_hash(key, plaintext).as_bytes()
    }

    fn log_key(&self, header: &[u8]) -> [u8; 32] {
        derive("icecore v1 log entry", &[&self.dedup_secret, header])
    }

    /// Section 4.3: the signed and padded record of a log entry.
    pub fn open_log(&self, object: &[u8]) -> Vec<u8> {
        let (header, sealed) = object.split_at(68);
        open(&self.log_key(header), [0; 12], header, sealed)
    }

    pub fn seal_log(&self, header: &[u8], padded: &[u8]) -> Vec<u8> {
        [header, &seal(&self.log_key(header), [0; 12], header, padded)].concat()
    }

    /// Section 4.3: a record that the owner signs.
    pub fn sign_log(&self, header: &[u8], record: &[u8]) -> Vec<u8> {
        let message = [header, &[0; 16], record].concat();
        let key = SigningKey::<MlDsa65>::from_seed(&self.owner_seed.into());
        let signed = key.expanded_key().sign_deterministic(&message, b"icecore v1 log entry");
        let signature = signed.expect("a short context").encode();
        let length = (record.len() as u32).to_le_bytes();
        let mut padded = [&[1, 0][..], &[0; 16], &signature[..], &length, record].concat();
        padded.resize(padded.len().next_power_of_two().max(16_384), 0);
        self.seal_log(header, &padded)
    }

    /// Section 3.7: whether the holder of a key has signed an entry.
    pub fn is_signed(&self, object: &[u8], key: &[u8]) -> bool {
        let padded = self.open_log(object);
        let message = [&object[..68], &padded[2..18], record_of(&padded)].concat();
        let key = EncodedVerifyingKey::<MlDsa65>::try_from(key).expect("1952 bytes");
        let signature = Signature::try_from(&padded[18..18 + 3309]).expect("a signature");
        VerifyingKey::<MlDsa65>::decode(&key).verify_with_context(
            &message,
            b"icecore v1 log entry",
            &signature,
        )
    }
}

/// Section 4.3: the record in the plaintext of a log entry.
pub fn record_of(padded: &[u8]) -> &[u8] {
    let (length, rest) = padded[2 + 16 + 3309..].split_at(4);
    &rest[..le(length) as usize]
}

/// Sections 4.9 and 6.1: the entries of a checkpoint, built from both parts, and the running hash after them.
pub fn read_checkpoint(keys: &Keys, object: &[u8]) -> (Vec<Vec<u8>>, [u8; 32]) {
    let (header, rest) = object.split_at(76);
    assert_eq!(header[..12], *b"ICECKPT\0\x01\0\0\0");
    let [first, count] = [28, 36].map(|at| le(&header[at..at + 8]));
    let (one, two) = rest.split_at(rest.len() - (count as usize * 3341 + 16));
    let part = |part: u8, sealed| {
        let key = derive("icecore v1 checkpoint", &[&keys.dedup_secret, header, &[part]]);
        open(&key, [0; 12], header, sealed)
    };
    let (padded, proofs) = (part(1, one), part(2, two));
    let [raw_bytes, bytes] = [0, 4].map(|at| le(&padded[at..at + 4]) as usize);
    assert_eq!(padded.len(), (8 + bytes).next_power_of_two().max(16_384));
    assert!(padded[8 + bytes..].iter().all(|byte| *byte == 0));
    let slots = zstd::bulk::decompress(&padded[8..8 + bytes], raw_bytes).expect("one frame");
    let (mut input, mut entries, mut seen) = (&slots[..], Vec::new(), [0; 32]);
    for at in 0..count {
        let digest = take(&mut input, 32);
        assert_eq!(take(&mut input, 1), [1], "no void slot");
        let versions_and_author = take(&mut input, 20);
        let length = le(take(&mut input, 4)) as usize;
        let record = take(&mut input, length);
        seen = derive("icecore v1 seen", &[&seen, digest, &[1], versions_and_author, record]);
        let (salt, signature) = proofs[at as usize * 3341..][..3341].split_at(32);
        let versions = &versions_and_author[..4];
        let number = (first + at).to_le_bytes();
        let head = [b"ICELOG\0\0", versions, &header[12..28], &number, salt].concat();
        let length = (length as u32).to_le_bytes();
        let mut padded =
            [&[1, 0][..], &versions_and_author[4..], signature, &length, record].concat();
        padded.resize(padded.len().next_power_of_two().max(16_384), 0);
        let entry = keys.seal_log(&head, &padded);
        assert_eq!(blake3::hash(&entry).as_bytes()[..], *digest);
        entries.push(entry);
    }
    assert!(input.is_empty());
    (entries, seen)
}

/// Section 4.3: the running hash that the author of an entry had seen.
pub fn seen_by(keys: &Keys, object: &[u8]) -> [u8; 32] {
    let padded = keys.open_log(object);
    let seen = Item::read(&mut record_of(&padded)).map()[&20].bytes().to_vec();
    seen.try_into().expect("32 bytes")
}

/// Section 3.5: key-encryption key, slot key and commitment.
pub fn slot_keys(slot: &[u8], password: &[u8]) -> [[u8; 32]; 3] {
    let [memory, passes, lanes] = [52, 56, 60].map(|at| le(&slot[at..at + 4]) as u32);
    let params = argon2::Params::new(memory, passes, lanes, Some(32)).expect("valid cost");
    let mut kek = [0; 32];
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params)
        .hash_password_into(password, &slot[64..96], &mut kek)
        .expect("memory");
    [kek, derive("icecore v1 slot key", &[&kek]), derive("icecore v1 slot commitment", &[&kek])]
}

/// The keys that follow from the header of a pack.
pub struct PackKeys {
    pub secret: [u8; 32],
    pub key: [u8; 32],
    pub padding_key: [u8; 32],
    pub commitment: [u8; 32],
    /// The context: repository, pack, kind.
    pub context: Vec<u8>,
}

impl PackKeys {
    pub fn open(seed: [u8; 32], pack: &[u8]) -> PackKeys {
        use x_wing::Decapsulate;
        let sealed: [u8; 1120] = pack[48..1168].try_into().expect("1120 bytes");
        let secret: [u8; 32] =
            x_wing::DecapsulationKey::from(seed).decapsulate(&sealed.into()).into();
        let context = pack[..48].to_vec();
        let from = |name| derive(name, &[&secret, &context]);
        PackKeys {
            secret,
            key: from("icecore v1 pack key"),
            padding_key: from("icecore v1 pack padding"),
            commitment: from("icecore v1 pack commitment"),
            context,
        }
    }
}

/// One frame of an opened pack.
pub struct Frame {
    pub id: [u8; 32],
    pub aad: Vec<u8>,
    pub plaintext: Vec<u8>,
}

/// Sections 3.3 and 4.5: the trailer, the table, and all frames, opened and verified.
pub fn read_pack(keys: &Keys, pack: &[u8]) -> ([u64; 2], Vec<Frame>) {
    let secrets = PackKeys::open(keys.seed, pack);
    assert_eq!(secrets.commitment, pack[1168..1200]);
    let end = pack.len() - 32;
    let trailer = open(&secrets.key, nonce(0, 2), &secrets.context, &pack[end..]);
    let [offset, bytes] = [le(&trailer[..8]), le(&trailer[8..])];
    assert_eq!(offset + bytes, end as u64);
    let table = open(&secrets.key, nonce(0, 1), &secrets.context, &pack[offset as usize..end]);
    let (mut at, mut frames) = (1200, Vec::new());
    for (slot, row) in table.chunks(41).enumerate() {
        let (id, codec) = (row[..32].try_into().expect("32 bytes"), row[40]);
        let (raw_bytes, stored_bytes) = (le(&row[32..36]), le(&row[36..40]));
        let slot = slot as u32;
        let aad = [&secrets.context, &slot.to_le_bytes()[..], &row[..32], &[codec], &row[32..36]]
            .concat();
        let sealed = &pack[at..at + stored_bytes as usize];
        let content = open(&secrets.key, nonce(u64::from(slot), 0), &aad, sealed);
        let plaintext = match codec {
            0 => content,
            1 => zstd::decode_all(&content[..]).expect("a zstd frame"),
            _ => unreachable!("an unknown codec"),
        };
        assert_eq!(plaintext.len() as u64, raw_bytes);
        assert_eq!(keys.chunk_id(pack[12], &plaintext), id);
        frames.push(Frame { id, aad, plaintext });
        at += stored_bytes as usize;
    }
    let mut padding = vec![0; offset as usize - at];
    blake3::Hasher::new_keyed(&secrets.padding_key).finalize_xof().fill(&mut padding);
    assert_eq!(padding, pack[at..offset as usize]);
    assert_eq!(padded_bytes(pack.len() as u64), pack.len() as u64);
    ([offset, bytes], frames)
}

/// Section 4.4.
pub fn padded_bytes(bytes: u64) -> u64 {
    let mut power = 16_384;
    while power < bytes {
        power *= 2;
    }
    match bytes {
        0 => 0,
        _ if power <= 4_194_304 => power,
        // Above this limit, `power` is the next power of two, and there are 128 steps from half of
        // it up to it.
        _ => bytes.div_ceil(power / 256) * (power / 256),
    }
}

/// Section 4.5.
pub fn crc64_nvme(bytes: &[u8]) -> u64 {
    let mut crc = u64::MAX;
    for byte in bytes {
        crc ^= u64::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x9a6c_9329_ac4b_c9b5 } else { crc >> 1 };
        }
    }
    !crc
}

/// Section 5: the lengths of the chunks of a file without holes. The caller chooses the kind of cutting.
pub fn cut(gear: &[u64; 256], sizes: [usize; 3], masks: [u64; 2], file: &[u8]) -> Vec<usize> {
    let [min, avg, max] = sizes;
    let mut lengths = Vec::new();
    let mut left = file;
    while !left.is_empty() {
        let end = left.len().min(max);
        let centre = avg.min(end) & !1;
        let mut hash = 0u64;
        let mut length = end;
        for at in min..end & !1 {
            hash = (hash << 1).wrapping_add(gear[left[at] as usize]);
            if hash & masks[usize::from(at >= centre)] == 0 {
                length = at;
                break;
            }
        }
        lengths.push(length);
        left = &left[length..];
    }
    lengths
}

/// A CBOR item.
#[derive(Debug, Clone, PartialEq)]
pub enum Item {
    Number(u64),
    Negative(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    Map(BTreeMap<u64, Item>),
}

impl Item {
    pub fn read(input: &mut &[u8]) -> Item {
        let first = take(input, 1)[0];
        let number = match first & 31 {
            small @ 0..24 => u64::from(small),
            log @ 24..28 => be(take(input, 1 << (log - 24))),
            _ => unreachable!("no writer makes it"),
        };
        let count = number as usize;
        match first >> 5 {
            0 => Item::Number(number),
            1 => Item::Negative(-1 - number as i64),
            2 => Item::Bytes(take(input, count).to_vec()),
            3 => Item::Text(String::from_utf8(take(input, count).to_vec()).expect("UTF-8")),
            4 => Item::Array((0..count).map(|_| Item::read(input)).collect()),
            5 => Item::Map(
                (0..count).map(|_| (Item::read(input).number(), Item::read(input))).collect(),
            ),
            _ => unreachable!("no writer makes it"),
        }
    }

    pub fn number(&self) -> u64 {
        if let Item::Number(number) = self { *number } else { unreachable!("a number: {self:?}") }
    }

    pub fn bytes(&self) -> &[u8] {
        if let Item::Bytes(bytes) = self { bytes } else { unreachable!("bytes: {self:?}") }
    }

    pub fn array(&self) -> &[Item] {
        if let Item::Array(items) = self { items } else { unreachable!("an array: {self:?}") }
    }

    pub fn map(&self) -> &BTreeMap<u64, Item> {
        if let Item::Map(map) = self { map } else { unreachable!("a map: {self:?}") }
    }
}

/// Section 9: reads one file of the first snapshot of one log entry. `packs` are the objects by
/// name; returns the content of the file at `path`.
pub fn read_file(
    keys: &Keys,
    log: &[u8],
    packs: &BTreeMap<String, Vec<u8>>,
    path: &[&str],
) -> Vec<u8> {
    let padded = keys.open_log(log);
    let entry = Item::read(&mut record_of(&padded));
    let mut chunks = BTreeMap::new();
    for record in entry.map()[&2].array() {
        let record = record.map();
        let folder = ["meta", "hot", "packs"][record[&1].number() as usize - 1];
        let id: String = record[&0].bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        let pack = &packs[&format!("{folder}/{id}")];
        assert_eq!(record[&2].number(), pack.len() as u64);
        assert_eq!(record[&4].number(), crc64_nvme(pack));
        let ([table, _], frames) = read_pack(keys, pack);
        let digest = blake3::hash(&[&pack[..1200], &pack[table as usize..]].concat());
        assert_eq!(record[&3].bytes(), digest.as_bytes());
        chunks.extend(frames.into_iter().map(|frame| (frame.id.to_vec(), frame.plaintext)));
    }
    let join = |ids: &Item| -> Vec<Vec<u8>> {
        ids.bytes().chunks(32).map(|id| chunks[id].clone()).collect()
    };
    let snapshot = entry.map()[&3].array()[0].map();
    let record = Item::read(&mut &chunks[snapshot[&4].bytes()][..]);
    assert_eq!(record.map()[&0], snapshot[&0]);
    let mut trees = join(&record.map()[&3]);
    let mut found = BTreeMap::new();
    for name in path {
        let entries: Vec<Item> =
            trees.iter().flat_map(|tree| Item::read(&mut &tree[..]).array().to_vec()).collect();
        let entry = entries.iter().find(|entry| entry.map()[&0].bytes() == name.as_bytes());
        found = entry.expect("the name is there").map().clone();
        trees = join(&found[&7]);
    }
    let mut data = &trees.concat()[..];
    let mut file = Vec::new();
    for hole in found.get(&8).map_or(&[][..], Item::array) {
        let [offset, bytes] = [0, 1].map(|i| hole.array()[i].number() as usize);
        file.extend_from_slice(take(&mut data, offset - file.len()));
        file.resize(offset + bytes, 0);
    }
    file.extend_from_slice(data);
    assert_eq!(file.len() as u64, found[&6].number());
    file
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = input.split_at(count);
    *input = rest;
    front
}

fn le(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn be(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
