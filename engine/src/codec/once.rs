//! Sealing with a key that is used only once, and helpers of all sealing (spec section 3.3).

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce, Tag};

use super::CodecError;
use crate::format::pack::TAG_BYTES;

/// Seals with a key that is used only once, so the nonce may be zero.
pub(super) fn seal_once(key: &[u8; 32], data: &[u8], content: &[u8]) -> Vec<u8> {
    let cipher = Aes256GcmSiv::new(&(*key).into());
    let mut out = content.to_vec();
    let tag = cipher.encrypt_inout_detached(&Nonce::default(), data, (&mut out[..]).into());
    out.extend_from_slice(&tag.expect("content is far below the limit of the cipher"));
    out
}

/// Opens what [`seal_once`] sealed.
pub(super) fn open_once(key: &[u8; 32], data: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CodecError> {
    let cipher = Aes256GcmSiv::new(&(*key).into());
    let mut out = sealed.to_vec();
    let length = open_in_place(&cipher, &Nonce::default(), data, &mut out)?.len();
    out.truncate(length);
    Ok(out)
}

pub(super) fn open_in_place<'a>(
    cipher: &Aes256GcmSiv,
    nonce: &Nonce,
    data: &[u8],
    sealed: &'a mut [u8],
) -> Result<&'a [u8], CodecError> {
    let (content, tag) = split_tag(sealed)?;
    let length = content.len();
    let content = &mut sealed[..length];
    cipher
        .decrypt_inout_detached(nonce, data, (&mut *content).into(), &tag)
        .map_err(|_| CodecError::Authentication)?;
    Ok(content)
}

pub(super) fn split_tag(sealed: &[u8]) -> Result<(&[u8], Tag), CodecError> {
    let (content, tag) =
        sealed.split_last_chunk::<TAG_BYTES>().ok_or(CodecError::Authentication)?;
    Ok((content, (*tag).into()))
}
