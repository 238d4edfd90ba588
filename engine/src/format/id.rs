//! Identifiers. Each kind has its own type, so that they cannot be confused.

use std::fmt;
use std::str::FromStr;

use super::FormatError;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Length of the id, in bytes.
            pub const BYTES: usize = $bytes;

            /// Returns the bytes of the id, as objects contain them.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Returns the first eight hex digits, as shown to users.
            pub fn short(&self) -> String {
                hex(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = FormatError;
            fn from_str(text: &str) -> Result<Self, FormatError> {
                unhex(text).map($name).ok_or(FormatError::Invalid { what: $what })
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = FormatError;
            fn try_from(bytes: &[u8]) -> Result<Self, FormatError> {
                let bytes = bytes.try_into().map_err(|_| FormatError::Invalid { what: $what })?;
                Ok($name(bytes))
            }
        }

        impl<C> minicbor::Encode<C> for $name {
            fn encode<W: minicbor::encode::Write>(
                &self,
                e: &mut minicbor::Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> minicbor::Decode<'b, C> for $name {
            fn decode(
                d: &mut minicbor::Decoder<'b>,
                _: &mut C,
            ) -> Result<Self, minicbor::decode::Error> {
                $name::try_from(d.bytes()?)
                    .map_err(|_| minicbor::decode::Error::message(concat!("length of ", $what)))
            }
        }
    };
}

id!(
    /// Names a repository; random, made by `init` (spec section 4.1).
    RepositoryId, 16, "archive id"
);
id!(
    /// Names a pack; random and never used twice, so that a name always stands for the same bytes (spec section 2).
    PackId, 16, "pack id"
);
id!(
    /// Names a snapshot; random.
    SnapshotId, 16, "snapshot id"
);
id!(
    /// Names a key slot; random.
    SlotId, 16, "key slot id"
);
id!(
    /// Names a restore that waits for a thaw; random.
    JobId, 16, "job id"
);
id!(
    /// Names a chunk: keyed BLAKE3 of its plaintext (spec section 3.4).
    ChunkId, 32, "chunk id"
);
id!(
    /// Names an author of log entries: one host, or with sixteen zeros the owner (spec section 3.7).
    WriterId, 16, "writer id"
);
id!(
    /// BLAKE3 of stored bytes, as the log and checkpoints contain it.
    Digest, 32, "digest"
);
id!(
    /// Names the set of sources of a snapshot for hosts that may not read the paths (spec section 3.4).
    PathsKey, 16, "paths key"
);

pub(super) fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string does not fail");
        text
    })
}

pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let text = text.as_bytes();
    if text.len() != 2 * N || !text.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let digit = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Length of an ML-DSA-65 public key (spec section 1.1).
pub const SIGNING_KEY_BYTES: usize = 1952;

/// Length of an ML-DSA-65 signature (spec section 1.1).
pub const SIGNATURE_BYTES: usize = 3309;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trip() {
        let id = PackId([0xa5; 16]);
        assert_eq!(id.to_string().parse::<PackId>(), Ok(id));
        assert_eq!(id.short(), "a5a5a5a5");
        for bad in ["", "a5", &"g".repeat(32), &"a".repeat(31), &"é".repeat(16)] {
            assert!(bad.parse::<PackId>().is_err(), "{bad}");
        }
    }
}
