//! Multipart uploads: parts are kept until the client names the parts of the object.

use bytes::{Bytes, BytesMut};
use s3s::dto::*;
use s3s::{S3Error, S3Result, s3_error};

use super::payload::{collect, declared, verify, verify_md5};
use super::rules::*;
use super::store::{KeptHeaders, Object, Store, Upload, etag_of};

/// Amazon refuses smaller parts, except for the last one.
const SMALLEST_PART: usize = 5 << 20;

pub(crate) fn create(
    store: &Store,
    mut input: CreateMultipartUploadInput,
) -> S3Result<CreateMultipartUploadOutput> {
    let class = class_of(input.storage_class.as_ref())?;
    let mut state = store.lock();
    objects(&state, &input.bucket)?;
    state.uploads_begun += 1;
    let id = format!("upload-{}", state.uploads_begun);
    let upload = Upload {
        bucket: input.bucket.clone(),
        key: input.key.clone(),
        class,
        headers: kept_headers!(input),
        parts: Default::default(),
    };
    state.uploads.insert(id.clone(), upload);
    Ok(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id),
        ..Default::default()
    })
}

pub(crate) async fn upload_part(
    store: &Store,
    mut input: UploadPartInput,
) -> S3Result<UploadPartOutput> {
    let data = collect(input.body.take()).await?;
    verify_md5(&data, input.content_md5.as_deref())?;
    let declared = declared!(input);
    verify(&data, &declared)?;
    let etag = etag_of(&data);
    let mut state = store.lock();
    let upload = state.uploads.get_mut(&input.upload_id);
    let upload = upload.filter(|upload| upload.bucket == input.bucket && upload.key == input.key);
    let upload = upload.ok_or_else(no_upload)?;
    upload.parts.insert(input.part_number, (etag.clone(), data));
    Ok(UploadPartOutput {
        e_tag: Some(ETag::Strong(etag)),
        checksum_crc32: declared.checksum_crc32,
        checksum_crc32c: declared.checksum_crc32c,
        checksum_crc64nvme: declared.checksum_crc64nvme,
        checksum_sha1: declared.checksum_sha1,
        checksum_sha256: declared.checksum_sha256,
        ..Default::default()
    })
}

pub(crate) fn complete(
    store: &Store,
    input: CompleteMultipartUploadInput,
) -> S3Result<CompleteMultipartUploadOutput> {
    let named = input.multipart_upload.and_then(|upload| upload.parts);
    let mut state = store.lock();
    let upload = state.uploads.get(&input.upload_id);
    let upload = upload.filter(|upload| upload.bucket == input.bucket && upload.key == input.key);
    let upload = upload.ok_or_else(no_upload)?;
    let data = assemble(upload, &named.unwrap_or_default())?;
    let object = Object::new(data, &upload.class, upload.headers.clone(), state.clock);
    let objects = objects(&state, &input.bucket)?;
    check_write(objects.get(&input.key), input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let etag = object.etag.clone();
    objects_mut(&mut state, &input.bucket)?.insert(input.key.clone(), object);
    state.uploads.remove(&input.upload_id);
    Ok(CompleteMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        e_tag: Some(ETag::Strong(etag)),
        ..Default::default()
    })
}

pub(crate) fn abort(
    store: &Store,
    input: AbortMultipartUploadInput,
) -> S3Result<AbortMultipartUploadOutput> {
    let mut state = store.lock();
    objects(&state, &input.bucket)?;
    state.uploads.remove(&input.upload_id).ok_or_else(no_upload)?;
    Ok(AbortMultipartUploadOutput::default())
}

fn no_upload() -> S3Error {
    s3_error!(NoSuchUpload, "The specified multipart upload does not exist.")
}

/// Joins the parts that the client names, if they match the uploaded ones.
fn assemble(upload: &Upload, named: &[CompletedPart]) -> S3Result<Bytes> {
    if named.is_empty() {
        return Err(s3_error!(MalformedXML));
    }
    let mut data = BytesMut::new();
    let mut before = 0;
    for (i, part) in named.iter().enumerate() {
        let number = part.part_number.unwrap_or_default();
        if number <= before {
            return Err(s3_error!(InvalidPartOrder));
        }
        before = number;
        let Some((etag, bytes)) = upload.parts.get(&number) else {
            return Err(s3_error!(InvalidPart));
        };
        if part.e_tag.as_ref().map(ETag::value) != Some(etag) {
            return Err(s3_error!(InvalidPart));
        }
        if i + 1 < named.len() && bytes.len() < SMALLEST_PART {
            return Err(s3_error!(EntityTooSmall));
        }
        data.extend_from_slice(bytes);
    }
    Ok(data.freeze())
}
