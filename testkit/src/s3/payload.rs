//! Reads the body of an upload, and compares it with every checksum in the request.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{self, Checksum as _};
use s3s::dto::{Checksum, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

/// Reads the whole body. `s3s` compares it with the signed `x-amz-content-sha256` while it is read.
pub(crate) async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(mut body) = body else {
        return Ok(Bytes::new());
    };
    let Some(first) = body.next().await.transpose().map_err(broken)? else {
        return Ok(Bytes::new());
    };
    // Usually the front layer passes the body in one piece, which then need not be copied.
    let Some(second) = body.next().await.transpose().map_err(broken)? else {
        return Ok(first);
    };
    let mut data = BytesMut::from(first);
    data.extend_from_slice(&second);
    while let Some(more) = body.next().await.transpose().map_err(broken)? {
        data.extend_from_slice(&more);
    }
    Ok(data.freeze())
}

fn broken(error: StdError) -> S3Error {
    // The error's type is private to `s3s`, so only its text can be checked.
    if error.to_string().contains("Sha256Mismatch") {
        let code = S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into());
        let mut answer = S3Error::new(code);
        answer.set_status_code(hyper::StatusCode::BAD_REQUEST);
        answer
    } else {
        s3_error!(IncompleteBody, "the body could not be read to its end: {error}")
    }
}

/// Refuses the body unless it has the checksums that its headers declare.
pub(crate) fn verify(data: &[u8], declared: &Checksum) -> S3Result<()> {
    let mut hasher = ChecksumHasher {
        crc32: declared.checksum_crc32.as_ref().map(|_| crypto::Crc32::new()),
        crc32c: declared.checksum_crc32c.as_ref().map(|_| crypto::Crc32c::new()),
        crc64nvme: declared.checksum_crc64nvme.as_ref().map(|_| crypto::Crc64Nvme::new()),
        sha1: declared.checksum_sha1.as_ref().map(|_| crypto::Sha1::new()),
        sha256: declared.checksum_sha256.as_ref().map(|_| crypto::Sha256::new()),
    };
    hasher.update(data);
    let found = hasher.finalize();
    let same = found.checksum_crc32 == declared.checksum_crc32
        && found.checksum_crc32c == declared.checksum_crc32c
        && found.checksum_crc64nvme == declared.checksum_crc64nvme
        && found.checksum_sha1 == declared.checksum_sha1
        && found.checksum_sha256 == declared.checksum_sha256;
    if same {
        return Ok(());
    }
    Err(s3_error!(BadDigest, "The checksum you specified did not match the calculated checksum."))
}

/// Refuses the body unless it matches its `Content-MD5`, if there is one.
pub(crate) fn verify_md5(data: &[u8], declared: Option<&str>) -> S3Result<()> {
    match declared {
        Some(declared) if declared != BASE64_STANDARD.encode(crypto::Md5::checksum(data)) => Err(
            s3_error!(BadDigest, "The Content-MD5 you specified did not match what we received."),
        ),
        _ => Ok(()),
    }
}

/// Collects the checksum fields of an input into one value. All inputs use the same names.
macro_rules! declared {
    ($input:expr) => {
        s3s::dto::Checksum {
            checksum_crc32: $input.checksum_crc32.take(),
            checksum_crc32c: $input.checksum_crc32c.take(),
            checksum_crc64nvme: $input.checksum_crc64nvme.take(),
            checksum_sha1: $input.checksum_sha1.take(),
            checksum_sha256: $input.checksum_sha256.take(),
            checksum_type: None,
        }
    };
}
pub(crate) use declared;
