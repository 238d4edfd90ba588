//! The rules that several operations share: valid classes, conditions, the headers of an object,
//! and the errors that Amazon returns.

use s3s::dto::*;
use s3s::{S3Error, S3Result, s3_error};

use super::store::{Classes, Object, Objects, State};

const STORAGE_CLASSES: [&str; 8] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "GLACIER_IR",
];

pub(crate) fn no_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

pub(crate) fn no_key() -> S3Error {
    s3_error!(NoSuchKey, "The specified key does not exist.")
}

pub(crate) fn cold(message: &'static str) -> S3Error {
    s3_error!(InvalidObjectState, "{message}")
}

pub(crate) fn objects<'a>(state: &'a State, bucket: &str) -> S3Result<&'a Objects> {
    state.buckets.get(bucket).ok_or_else(no_bucket)
}

pub(crate) fn objects_mut<'a>(state: &'a mut State, bucket: &str) -> S3Result<&'a mut Objects> {
    state.buckets.get_mut(bucket).ok_or_else(no_bucket)
}

pub(crate) fn object<'a>(state: &'a State, bucket: &str, key: &str) -> S3Result<&'a Object> {
    objects(state, bucket)?.get(key).ok_or_else(no_key)
}

pub(crate) fn class_of(asked: Option<&StorageClass>) -> S3Result<String> {
    let class = asked.map_or("STANDARD", StorageClass::as_str);
    if STORAGE_CLASSES.contains(&class) {
        return Ok(class.to_owned());
    }
    Err(s3_error!(InvalidStorageClass, "The storage class you specified is not valid"))
}

/// Returns the class in which a server with these classes stores an object.
pub(crate) fn kept_class(class: String, classes: Classes) -> S3Result<String> {
    match classes {
        Classes::All => Ok(class),
        Classes::StandardOnly if class != "STANDARD" => {
            Err(s3_error!(InvalidStorageClass, "Invalid storage class."))
        }
        Classes::StandardOnly | Classes::Forgotten => Ok("STANDARD".to_owned()),
    }
}

/// Amazon omits the header for the standard class.
pub(crate) fn class_header(object: &Object) -> Option<StorageClass> {
    (object.class != "STANDARD").then(|| StorageClass::from(object.class.clone()))
}

pub(crate) fn matches(condition: &ETagCondition, object: &Object) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(etag) => etag.value() == object.etag,
    }
}

pub(crate) fn precondition_failed() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// Fails unless a conditional write may proceed. Must be called under the same lock as the write.
pub(crate) fn check_write(
    existing: Option<&Object>,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    match (if_match, existing) {
        (Some(_), None) => return Err(no_key()),
        (Some(condition), Some(object)) if !matches(condition, object) => {
            return Err(precondition_failed());
        }
        _ => {}
    }
    match (if_none_match, existing) {
        (Some(condition), Some(object)) if matches(condition, object) => Err(precondition_failed()),
        _ => Ok(()),
    }
}

/// Fails unless a conditional read may proceed.
pub(crate) fn check_read(
    object: &Object,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    if if_match.is_some_and(|condition| !matches(condition, object)) {
        return Err(precondition_failed());
    }
    if if_none_match.is_some_and(|condition| matches(condition, object)) {
        return Err(s3_error!(NotModified));
    }
    Ok(())
}

/// Refuses a feature that this server would otherwise silently ignore.
pub(crate) fn unsupported(what: &'static str, asked: bool) -> S3Result<()> {
    if asked {
        return Err(s3_error!(NotImplemented, "the test server does not know {what}"));
    }
    Ok(())
}

macro_rules! kept_headers {
    ($input:expr) => {
        KeptHeaders {
            content_type: $input.content_type.take(),
            content_encoding: $input.content_encoding.take(),
            content_language: $input.content_language.take(),
            content_disposition: $input.content_disposition.take(),
            cache_control: $input.cache_control.take(),
            metadata: $input.metadata.take(),
        }
    };
}

/// Fills the fields that GET and HEAD have in common.
macro_rules! describe {
    ($output:ident, $object:expr, $length:expr, $range:expr, $now:expr) => {{
        let object: &Object = $object;
        let kept = object.headers.clone();
        $output {
            accept_ranges: Some("bytes".to_owned()),
            cache_control: kept.cache_control,
            content_disposition: kept.content_disposition,
            content_encoding: kept.content_encoding,
            content_language: kept.content_language,
            content_length: Some($length),
            content_range: $range,
            content_type: kept.content_type,
            e_tag: Some(ETag::Strong(object.etag.clone())),
            last_modified: Some(Timestamp::from(object.modified)),
            metadata: kept.metadata,
            restore: restore_header(object, $now),
            storage_class: class_header(object),
            ..Default::default()
        }
    }};
}
pub(crate) use {describe, kept_headers};
