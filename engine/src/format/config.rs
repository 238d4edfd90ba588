//! The object `config`: parameters that never change, and the first settings (spec section 4.1).

use minicbor::{Decode, Encode};

use super::PackKind;
use super::id::SIGNING_KEY_BYTES;
use super::wire::{Reader, from_cbor, put_preamble, to_cbor};
use super::{Digest, FormatError, RepositoryId, WriterId};

/// Length of an X-Wing public key (spec section 1.1).
pub const PUBLIC_KEY_BYTES: usize = 1216;
/// Length of the MAC at the end of `config`, a keyed BLAKE3 (spec section 4.1).
pub const MAC_BYTES: usize = 32;
/// Maximum size of `config`, in bytes (spec section 8).
pub const CONFIG_BYTES_MAX: u64 = 16 * 1024;

const MAGIC: &[u8; 8] = b"ICECORE\0";
const SETTINGS_BYTES_MAX: u64 = 4096;

/// Parameters of chunking (spec section 5). Sizes are in bytes; the first three are even.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunking {
    /// Minimum length of a chunk that is cut by content, except the last one: 64 bytes to 1 MiB (spec section 5.1).
    pub bytes_min: u32,
    /// Mean length of such chunks: 256 bytes to 4 MiB (spec section 5.1).
    pub bytes_avg: u32,
    /// Maximum length of such a chunk: 1 KiB to 16 MiB (spec section 5.1).
    pub bytes_max: u32,
    /// Length of a chunk of an SQLite file: 512 bytes to 1 MiB (spec section 5.1).
    pub block_bytes: u32,
}

impl Default for Chunking {
    fn default() -> Self {
        Chunking {
            bytes_min: 512 << 10,
            bytes_avg: 1 << 20,
            bytes_max: 4 << 20,
            block_bytes: 16 << 10,
        }
    }
}

impl Chunking {
    fn validate(self) -> Result<Self, FormatError> {
        let Chunking { bytes_min, bytes_avg, bytes_max, block_bytes } = self;
        // The limits of the fastcdc crate, so that a hostile config cannot make it panic.
        let sane = (64..=1 << 20).contains(&bytes_min)
            && (256..=4 << 20).contains(&bytes_avg)
            && (1024..=16 << 20).contains(&bytes_max)
            && bytes_min <= bytes_avg
            && bytes_avg <= bytes_max
            && [bytes_min, bytes_avg, bytes_max].iter().all(|bytes| bytes % 2 == 0)
            && (512..=1 << 20).contains(&block_bytes);
        if sane { Ok(self) } else { Err(FormatError::Invalid { what: "chunking parameters" }) }
    }
}

/// Settings for writers, which a log entry can replace (spec section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Settings {
    /// Storage class of `packs/`, at most 64 letters, digits and `_`; empty if the store has no classes.
    #[n(0)]
    pub pack_class: String,
    /// Storage class of `hot/`, with the same limits.
    #[n(1)]
    pub hot_class: String,
    /// Size at which a pack in `packs/` is full and no further file begins in it, in bytes: 1 MiB to 512 MiB.
    #[n(2)]
    pub pack_bytes: u64,
    /// Size at which a pack in `hot/` or `meta/` is full and no further file begins in it, in bytes: 1 MiB to 512 MiB.
    #[n(3)]
    pub hot_pack_bytes: u64,
    /// Files smaller than this go to `hot/`, in bytes; see also spec section 5.1.
    #[n(4)]
    pub small_file_bytes: u64,
    /// Parity of each pack in percent of its size, 1 to 50; no parity if absent. Only for local folders (spec section
    /// 4.10).
    #[n(5)]
    pub parity_percent: Option<u8>,
    /// Number of days for which a dropped snapshot can be undeleted, 0 to 3650; [`UNDELETE_DAYS`] if absent (spec
    /// section 6.4).
    #[n(6)]
    pub undelete_days: Option<u16>,
}

/// Number of days for which a dropped snapshot can be undeleted if the settings do not specify it (spec section 4.1).
pub const UNDELETE_DAYS: u16 = 14;

/// Maximum of [`Settings::undelete_days`] (spec section 4.1).
pub const UNDELETE_DAYS_MAX: u16 = 3650;

/// Minimum and maximum pack size in settings, in bytes (spec section 8).
pub const PACK_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=512 << 20;

/// Minimum and maximum parity in settings, in percent of a pack (spec section 8).
pub const PARITY_PERCENT: std::ops::RangeInclusive<u8> = 1..=50;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            pack_class: String::new(),
            hot_class: String::new(),
            pack_bytes: 64 << 20,
            hot_pack_bytes: 16 << 20,
            small_file_bytes: 512 << 10,
            parity_percent: None,
            undelete_days: None,
        }
    }
}

impl Settings {
    /// Returns the storage class of a kind of pack; empty for the store's default.
    pub fn class_of(&self, kind: PackKind) -> &str {
        match kind {
            PackKind::Meta => "",
            PackKind::Hot => &self.hot_class,
            PackKind::Cold => &self.pack_class,
        }
    }

    /// Returns the size at which a pack of a kind is full and no further file begins in it, in bytes.
    pub fn bytes_of(&self, kind: PackKind) -> u64 {
        match kind {
            PackKind::Meta | PackKind::Hot => self.hot_pack_bytes,
            PackKind::Cold => self.pack_bytes,
        }
    }

    /// Returns the number of days for which a dropped snapshot can be undeleted: the setting, or [`UNDELETE_DAYS`].
    pub fn undelete_days(&self) -> u16 {
        self.undelete_days.unwrap_or(UNDELETE_DAYS)
    }

    pub(super) fn validate(self) -> Result<Self, FormatError> {
        validate_class(&self.pack_class)?;
        validate_class(&self.hot_class)?;
        for bytes in [self.pack_bytes, self.hot_pack_bytes] {
            if !PACK_BYTES.contains(&bytes) {
                return Err(FormatError::Invalid { what: "pack size: it must be 1 to 512 MiB" });
            }
        }
        if self.parity_percent.is_some_and(|percent| !PARITY_PERCENT.contains(&percent)) {
            return Err(FormatError::Invalid { what: "parity: it must be 1 to 50 percent" });
        }
        if self.undelete_days.is_some_and(|days| days > UNDELETE_DAYS_MAX) {
            return Err(FormatError::Invalid { what: "days to undelete: they must be 0 to 3650" });
        }
        Ok(self)
    }
}

/// Checks the name of a storage class, which may be empty.
pub(super) fn validate_class(class: &str) -> Result<(), FormatError> {
    if class.len() <= 64 && class.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(());
    }
    Err(FormatError::Invalid { what: "storage class" })
}

/// The two authors that may write to the log from the start (spec section 6.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    /// ML-DSA-65 public key of the owner, who may make every statement (spec section 3.2).
    pub owner_key: Box<[u8; SIGNING_KEY_BYTES]>,
    /// Id of the first writer, which may add: the host that created the repository (spec section 3.2).
    pub first_writer: WriterId,
    /// ML-DSA-65 public key of the first writer (spec section 4.1).
    pub first_writer_key: Box<[u8; SIGNING_KEY_BYTES]>,
}

impl Authority {
    fn encode(&self) -> Vec<u8> {
        [&self.owner_key[..], self.first_writer.as_bytes(), &self.first_writer_key[..]].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Authority, FormatError> {
        Ok(Authority {
            owner_key: Box::new(reader.array()?),
            first_writer: WriterId(reader.array()?),
            first_writer_key: Box::new(reader.array()?),
        })
    }

    /// Returns the digest that a credential pins, so that no other `config` can name another owner (spec section 3.6).
    pub fn digest(&self) -> Digest {
        Digest(*blake3::hash(&self.encode()).as_bytes())
    }
}

/// The decoded `config` (spec section 4.1). Its MAC is checked later, because that requires the dedup secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Random id (spec section 4.1).
    pub repository: RepositoryId,
    /// X-Wing public key of the identity (spec section 3.1).
    pub public_key: [u8; PUBLIC_KEY_BYTES],
    /// Public keys of the owner and of the first writer (spec section 4.1).
    pub authority: Authority,
    /// Parameters that never change, so that all writers cut files in the same way (spec section 5).
    pub chunking: Chunking,
    /// First settings, until a log entry replaces all of them (spec section 4.1).
    pub settings: Settings,
}

/// A decoded object whose MAC is not verified yet (spec section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodedConfig<'o> {
    /// The content (spec section 4.1).
    pub config: Config,
    /// The bytes before the MAC (spec section 4.1).
    pub body: &'o [u8],
    /// The MAC: [`MAC_BYTES`] bytes (spec section 4.1).
    pub mac: [u8; MAC_BYTES],
}

impl Config {
    /// Encodes everything up to the MAC (spec section 4.1).
    pub fn encode_body(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8192);
        put_preamble(&mut out, MAGIC);
        out.extend_from_slice(self.repository.as_bytes());
        out.extend_from_slice(&self.public_key);
        out.extend_from_slice(&self.authority.encode());
        let Chunking { bytes_min, bytes_avg, bytes_max, block_bytes } = self.chunking;
        for size in [bytes_min, bytes_avg, bytes_max, block_bytes] {
            out.extend_from_slice(&size.to_le_bytes());
        }
        let settings = to_cbor(&self.settings);
        out.extend_from_slice(&(settings.len() as u32).to_le_bytes());
        out.extend_from_slice(&settings);
        out
    }

    /// Decodes an object (spec section 4.1).
    ///
    /// # Errors
    /// [`FormatError::Limit`] over [`CONFIG_BYTES_MAX`] bytes, another error if a field is malformed or out of range.
    pub fn decode(object: &[u8]) -> Result<DecodedConfig<'_>, FormatError> {
        let found = object.len() as u64;
        if found > CONFIG_BYTES_MAX {
            return Err(FormatError::Limit { what: "config", found, max: CONFIG_BYTES_MAX });
        }
        let mut reader = Reader::new("icecore config", object);
        reader.preamble(MAGIC)?;
        let repository = RepositoryId(reader.array()?);
        let public_key = reader.array()?;
        let authority = Authority::read(&mut reader)?;
        let chunking = Chunking {
            bytes_min: reader.u32()?,
            bytes_avg: reader.u32()?,
            bytes_max: reader.u32()?,
            block_bytes: reader.u32()?,
        }
        .validate()?;
        let length = reader.length("settings", SETTINGS_BYTES_MAX)?;
        let settings: Settings = from_cbor("settings", reader.take(length)?)?;
        let mac = reader.array()?;
        reader.end()?;
        let config =
            Config { repository, public_key, authority, chunking, settings: settings.validate()? };
        Ok(DecodedConfig { config, body: &object[..object.len() - MAC_BYTES], mac })
    }
}
