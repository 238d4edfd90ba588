//! Reads and writes fixed little-endian fields and CBOR records.

use super::{FORMAT_VERSION, FormatError};

/// Reads fixed fields from the front of a slice.
pub(super) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Begins to read; `what` is the object or record in errors.
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, rest: bytes }
    }

    /// Reads the next `count` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        if count > self.rest.len() {
            return Err(FormatError::Truncated {
                what: self.what,
                needed: count as u64,
                left: self.rest.len() as u64,
            });
        }
        let (front, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(front)
    }

    /// Reads the next `N` bytes.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there is none.
    pub fn u8(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads two bytes, little-endian.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u16(&mut self) -> Result<u16, FormatError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// Reads four bytes, little-endian.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Reads eight bytes, little-endian.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] if there are fewer.
    pub fn u64(&mut self) -> Result<u64, FormatError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Reads a length field of four bytes, after checking it against its limit.
    ///
    /// # Errors
    /// [`FormatError::Limit`] if it is over `max`, [`FormatError::Truncated`] if there are fewer than four bytes. The
    /// bytes that it counts need not be there.
    pub fn length(&mut self, what: &'static str, max: u64) -> Result<usize, FormatError> {
        let found = u64::from(self.u32()?);
        if found > max {
            return Err(FormatError::Limit { what, found, max });
        }
        usize::try_from(found).map_err(|_| FormatError::Limit { what, found, max })
    }

    /// Reads the first 12 bytes of an object: magic, version, and critical flags, which must be
    /// zero.
    ///
    /// # Errors
    /// As [`Reader::flags`].
    pub fn preamble(&mut self, magic: &[u8; 8]) -> Result<(), FormatError> {
        self.flags(magic, 0).map(|_| ())
    }

    /// Reads magic, version and those critical flags that are `known`.
    ///
    /// # Errors
    /// As [`Reader::any_version`], and as [`known_version`].
    pub fn flags(&mut self, magic: &[u8; 8], known: u16) -> Result<u16, FormatError> {
        let (version, flags) = self.any_version(magic)?;
        known_version(self.what, version, flags, known)?;
        Ok(flags)
    }

    /// Reads magic, version and critical flags. Accepts any flags, and any version but 0.
    ///
    /// # Errors
    /// [`FormatError::Magic`] if the magic is another or not whole, [`FormatError::Invalid`] if the version is 0,
    /// [`FormatError::Truncated`] if there are fewer than 12 bytes.
    pub fn any_version(&mut self, magic: &[u8; 8]) -> Result<(u16, u16), FormatError> {
        let what = self.what;
        if self.take(8).map_err(|_| FormatError::Magic { what })? != magic {
            return Err(FormatError::Magic { what });
        }
        let version = self.u16()?;
        if version == 0 {
            return Err(FormatError::Invalid { what: "version" });
        }
        Ok((version, self.u16()?))
    }

    /// Reads and verifies the BLAKE3 of everything before it, 32 bytes; `object` must end with it.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] if it does not match, [`FormatError::Truncated`] or [`FormatError::Limit`] if `object`
    /// ends before or after it.
    pub fn digest(mut self, object: &[u8]) -> Result<(), FormatError> {
        let body = &object[..object.len() - self.rest.len()];
        let digest: [u8; 32] = self.array()?;
        if blake3::hash(body) != digest {
            return Err(FormatError::Invalid { what: "digest" });
        }
        self.end()
    }

    /// Returns the remaining bytes.
    pub fn rest(self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// [`FormatError::Limit`] if any bytes are left.
    pub fn end(self) -> Result<(), FormatError> {
        match self.rest.len() as u64 {
            0 => Ok(()),
            found => Err(FormatError::Limit { what: "trailing bytes", found, max: 0 }),
        }
    }
}

/// Checks that this program knows a version and the critical flags.
///
/// # Errors
/// [`FormatError::TooNew`] or [`FormatError::UnknownFlags`] if it does not.
pub(super) fn known_version(
    what: &'static str,
    found: u16,
    flags: u16,
    known: u16,
) -> Result<(), FormatError> {
    if found > FORMAT_VERSION {
        return Err(FormatError::TooNew { what, found, known: FORMAT_VERSION });
    }
    if flags & !known != 0 {
        return Err(FormatError::UnknownFlags { what, flags });
    }
    Ok(())
}

/// Writes magic, version and no critical flags.
pub(super) fn put_preamble(out: &mut Vec<u8>, magic: &[u8; 8]) {
    put_version(out, magic, FORMAT_VERSION, 0);
}

/// Writes magic, version and critical flags.
pub(super) fn put_version(out: &mut Vec<u8>, magic: &[u8; 8], version: u16, flags: u16) {
    out.extend_from_slice(magic);
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
}

/// Appends the BLAKE3 of everything written so far.
pub(super) fn put_digest(out: &mut Vec<u8>) {
    let digest = blake3::hash(out);
    out.extend_from_slice(digest.as_bytes());
}

/// Encodes one CBOR record with its length in front, padded to a size class (spec section 4.4).
pub(super) fn to_padded<T: minicbor::Encode<()>>(record: &T) -> Vec<u8> {
    let record = to_cbor(record);
    let mut out = Vec::with_capacity(record.len() + 4096);
    out.extend_from_slice(&(record.len() as u32).to_le_bytes());
    out.extend_from_slice(&record);
    out.resize(padded_bytes(out.len() as u64) as usize, 0);
    out
}

/// Decodes the output of [`to_padded`].
///
/// # Errors
/// [`FormatError::Limit`] if the record has more than `bytes_max` bytes, [`FormatError::Invalid`] if the padding is not
/// zeros, and as [`from_cbor`].
pub(super) fn from_padded<'a, T: minicbor::Decode<'a, ()>>(
    what: &'static str,
    bytes: &'a [u8],
    bytes_max: u64,
) -> Result<T, FormatError> {
    let mut reader = Reader::new(what, bytes);
    let length = reader.length(what, bytes_max)?;
    let record = from_cbor(what, reader.take(length)?)?;
    if reader.rest.iter().any(|byte| *byte != 0) {
        return Err(FormatError::Invalid { what: "padding of a record" });
    }
    Ok(record)
}

/// Encodes one CBOR record.
pub(super) fn to_cbor<T: minicbor::Encode<()>>(record: &T) -> Vec<u8> {
    minicbor::to_vec(record).expect("encoding into memory does not fail")
}

/// Decodes one CBOR record that must fill `bytes` exactly.
///
/// # Errors
/// [`FormatError::Record`] if it does not, or if it does not match its CDDL.
pub(super) fn from_cbor<'a, T: minicbor::Decode<'a, ()>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, FormatError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let record = decoder
        .decode()
        .map_err(|error| FormatError::Record { what, reason: error.to_string() })?;
    if decoder.position() != bytes.len() {
        return Err(FormatError::Record { what, reason: "trailing bytes".into() });
    }
    Ok(record)
}

/// Minimum size after padding.
const PADDED_BYTES_MIN: u64 = 16 << 10;

/// Up to this size, sizes are padded to powers of two. Such a small pack contains everything of its kind that one run
/// has stored, so its exact size would reveal how much that was.
pub(super) const POWERS_BYTES_MAX: u64 = 4 << 20;

/// Rounds a length up to its size class (spec section 4.4). Up to 4 MiB the classes are powers of two. Larger sizes are
/// rounded to seven significant bits after the first, which costs at most 0.8 %.
pub fn padded_bytes(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        1..=POWERS_BYTES_MAX => bytes.next_power_of_two().max(PADDED_BYTES_MIN),
        _ => bytes.next_multiple_of(1 << (bytes.ilog2() - 7)),
    }
}
