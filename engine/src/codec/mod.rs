//! Bytes to bytes: cuts, compresses, names and seals chunks.
//!
//! This module does no I/O, and all of it is pure except for the random bytes of [`keys`]. For each
//! chunk, [`chunker`] cuts it from the file, [`keys::Secrets`] computes its id, [`compress`]
//! compresses it if that saves space, and [`cipher`] seals it. [`parity`] heals sealed packs.
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
    #[error("sealed with another key")]
    WrongKey,
    #[error("its content was changed")]
    Authentication,
    #[error("decompression failed")]
    Decompression,
    #[error("content does not match its id")]
    ContentMismatch,
    #[error("invalid public key")]
    PublicKey,
    #[error("{reason}")]
    IdentityText { reason: &'static str },
    #[error("it cannot be signed")]
    Signature,
    #[error("out of memory for the password hash")]
    PasswordHash,
    #[error(transparent)]
    Format(#[from] crate::format::FormatError),
}
