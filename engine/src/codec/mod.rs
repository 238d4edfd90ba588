//! Bytes to bytes: cuts, compresses, names and seals chunks.
//!
//! This module does no I/O, and all of it is pure except for the random bytes of [`keys`]. For each
//! chunk, [`chunker`] cuts it from the file and computes its id, [`compress`] compresses it if that
//! saves space, and [`cipher`] seals it. [`parity`] heals sealed packs.
//! [`checkpoint`] seals copies of log entries.

pub mod checkpoint;
pub mod chunker;
pub mod cipher;
pub mod compress;
mod identity_text;
pub mod keys;
mod once;
pub mod parity;
pub mod signing;

pub use checkpoint::{NOTHING_SEEN, OpenedCheckpoint, seen};
pub use chunker::{Cutter, Cutting};
pub use cipher::{OpenedEntry, PackKey};
pub use compress::{Compressor, Decompressor, decompress, may_pay};
pub use keys::{Identity, Secrets, random};
pub use signing::{Author, AuthorKey};

/// Why bytes could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The password, identity or credential is not the one with which this was sealed.
    #[error("sealed with another key")]
    WrongKey,
    /// The authentication tag does not match: the bytes were changed, or are in another place.
    #[error("its content was changed")]
    Authentication,
    /// The content of a frame does not decompress to exactly its length.
    #[error("decompression failed")]
    Decompression,
    /// The plaintext of a chunk does not have its id.
    #[error("content does not match its id")]
    ContentMismatch,
    /// The bytes are not an X-Wing public key.
    #[error("invalid public key")]
    PublicKey,
    /// A text is not an identity.
    #[error("{reason}")]
    IdentityText {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The signing failed.
    #[error("it cannot be signed")]
    Signature,
    /// The memory that the password hash needs cannot be allocated.
    #[error("out of memory for the password hash")]
    PasswordHash,
    /// The bytes do not decode.
    #[error(transparent)]
    Format(#[from] crate::format::FormatError),
}
