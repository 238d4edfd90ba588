//! The S3 operations on the objects in memory: those that the `object_store` client uses, with the
//! same answers as Amazon.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use s3s::auth::{S3Auth, SecretKey};
use s3s::crypto::{Checksum as _, Crc64Nvme};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::listing::{self, After};
use super::multipart;
use super::payload::{collect, declared, verify, verify_md5};
use super::rules::*;
use super::store::{CreateOnly, KeptHeaders, Object, Store};
use super::thaw::{self, ThawNote, archive_status, restore_header};
use super::users::Users;

/// A status that replaces the one in an answer, because `s3s` does not let operations choose it.
#[derive(Clone, Copy)]
pub(crate) struct OverrideStatus(pub(crate) StatusCode);

pub(crate) fn service(
    store: Arc<Store>,
    access_key: &str,
    secret_key: &str,
    users: Arc<Users>,
) -> S3Service {
    let mut builder = S3ServiceBuilder::new(Server { store: Arc::clone(&store) });
    builder.set_config(store);
    // With keys set, s3s itself refuses requests without a signature.
    builder.set_auth(Keys {
        access_key: access_key.to_owned(),
        secret_key: SecretKey::from(secret_key),
        users,
    });
    builder.build()
}

/// Replaces `SimpleAuth` of `s3s`, which answers an unknown key with a different code than Amazon.
struct Keys {
    access_key: String,
    /// The secret of all users. Only their access keys differ.
    secret_key: SecretKey,
    users: Arc<Users>,
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key || self.users.has(access_key) {
            return Ok(self.secret_key.clone());
        }
        Err(s3_error!(
            InvalidAccessKeyId,
            "The AWS Access Key Id you provided does not exist in our records."
        ))
    }
}

/// How long a server with `CreateOnly::Checked` takes between checking a name and using it.
const CHECKED_FOR: Duration = Duration::from_millis(50);

struct Server {
    store: Arc<Store>,
}

impl Server {
    /// Returns an object in its current state, and the current time.
    fn look_at(&self, bucket: &str, key: &str) -> S3Result<(Object, SystemTime)> {
        let state = self.store.lock();
        Ok((object(&state, bucket, key)?.clone(), state.clock))
    }
}

#[async_trait::async_trait]
impl S3 for Server {
    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        self.store.create_bucket(&request.input.bucket);
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        objects(&self.store.lock(), &request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        let (classes, create_only) = {
            let state = self.store.lock();
            (state.classes, state.create_only)
        };
        let class = kept_class(class_of(input.storage_class.as_ref())?, classes)?;
        let data = collect(input.body.take()).await?;
        verify_md5(&data, input.content_md5.as_deref())?;
        let declared = declared!(input);
        verify(&data, &declared)?;
        let object = Object::new(data, &class, kept_headers!(input), self.store.now());
        let etag = object.etag.clone();
        if create_only == CreateOnly::Checked {
            let taken = objects(&self.store.lock(), &input.bucket)?.get(&input.key).cloned();
            check_write(taken.as_ref(), input.if_match.as_ref(), input.if_none_match.as_ref())?;
            tokio::time::sleep(CHECKED_FOR).await;
        }
        let mut state = self.store.lock();
        let objects = objects_mut(&mut state, &input.bucket)?;
        if create_only == CreateOnly::Atomic {
            check_write(
                objects.get(&input.key),
                input.if_match.as_ref(),
                input.if_none_match.as_ref(),
            )?;
        }
        objects.insert(input.key, object);
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            checksum_crc32: declared.checksum_crc32,
            checksum_crc32c: declared.checksum_crc32c,
            checksum_crc64nvme: declared.checksum_crc64nvme,
            checksum_sha1: declared.checksum_sha1,
            checksum_sha256: declared.checksum_sha256,
            ..Default::default()
        }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        unsupported("versions", input.version_id.is_some())?;
        let dated = input.if_modified_since.is_some() || input.if_unmodified_since.is_some();
        unsupported("conditions on dates", dated)?;
        let (object, now) = self.look_at(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        if !object.is_readable(now) {
            return Err(cold("The operation is not valid for the object's storage class"));
        }
        let length = object.data.len() as u64;
        let (data, range) = match input.range {
            None => (object.data.clone(), None),
            Some(range) => {
                let range = range.check(length)?;
                let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                let data = object.data.slice(range.start as usize..range.end as usize);
                (data, Some(text))
            }
        };
        let mut output = describe!(GetObjectOutput, &object, data.len() as i64, range, now);
        output.body = Some(StreamingBlob::from(s3s::Body::from(data)));
        Ok(S3Response::new(output))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = request.input;
        unsupported("versions", input.version_id.is_some())?;
        unsupported("HEAD with a range", input.range.is_some())?;
        let (object, now) = self.look_at(&input.bucket, &input.key)?;
        check_read(&object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        let length = object.data.len() as i64;
        let mut output = describe!(HeadObjectOutput, &object, length, None, now);
        output.archive_status = archive_status(&object, now);
        if input.checksum_mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) {
            let mut crc64 = Crc64Nvme::new();
            crc64.update(&object.data);
            output.checksum_crc64nvme = Some(BASE64_STANDARD.encode(crc64.finalize()));
        }
        Ok(S3Response::new(output))
    }

    async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented, "only sources in a bucket"));
        };
        let class = class_of(input.storage_class.as_ref())?;
        let mut state = self.store.lock();
        let source = object(&state, bucket, key)?;
        if !source.is_readable(state.clock) {
            return Err(cold("Operation is not valid for the source object's storage class"));
        }
        // A copy is a new object, and has neither the class nor the thawed state of its source.
        let copy = Object::new(source.data.clone(), &class, source.headers.clone(), state.clock);
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(copy.etag.clone())),
            last_modified: Some(Timestamp::from(copy.modified)),
            ..Default::default()
        };
        objects_mut(&mut state, &input.bucket)?.insert(input.key, copy);
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(result),
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let is_encoded = input.encoding_type.is_some();
        let told = |text: String| if is_encoded { listing::encoded(&text) } else { text };
        let prefix = input.prefix.unwrap_or_default();
        let delimiter = input.delimiter.filter(|delimiter| !delimiter.is_empty());
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(After::from_token(token).ok_or_else(|| {
                s3_error!(InvalidArgument, "The continuation token provided is incorrect")
            })?),
            (None, Some(key)) => Some(After::Key(key.clone())),
            (None, None) => None,
        };
        let asked = usize::try_from(input.max_keys.unwrap_or(1000)).map_err(|_| {
            s3_error!(
                InvalidArgument,
                "Argument maxKeys must be an integer between 0 and 2147483647"
            )
        })?;
        let state = self.store.lock();
        let page = listing::page(
            objects(&state, &input.bucket)?,
            &prefix,
            delimiter.as_deref(),
            after.as_ref(),
            asked.min(state.page_size),
        );
        let listed = page.objects.iter().map(|(key, o)| entry(&told((*key).clone()), o));
        let contents: Vec<_> = listed.collect();
        let prefixes: Vec<_> =
            page.prefixes.into_iter().map(|prefix| common_prefix(told(prefix))).collect();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(told(prefix)),
            delimiter: delimiter.map(told),
            encoding_type: input.encoding_type.clone(),
            max_keys: Some(asked as i32),
            key_count: Some((contents.len() + prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            start_after: input.start_after.map(told),
            is_truncated: Some(page.next.is_some()),
            next_continuation_token: page.next.map(|next| next.to_token()),
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let mut state = self.store.lock();
        // Deleting an object that does not exist succeeds, as on Amazon.
        objects_mut(&mut state, &input.bucket)?.remove(&input.key);
        let mut response = S3Response::new(DeleteObjectOutput::default());
        response.extensions.insert(OverrideStatus(StatusCode::NO_CONTENT));
        Ok(response)
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        if input.delete.objects.len() > 1000 {
            return Err(s3_error!(MalformedXML));
        }
        let quiet = input.delete.quiet.unwrap_or(false);
        let mut state = self.store.lock();
        let objects = objects_mut(&mut state, &input.bucket)?;
        let mut deleted = Vec::new();
        for named in input.delete.objects {
            objects.remove(&named.key);
            deleted.push(DeletedObject { key: Some(named.key), ..Default::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            ..Default::default()
        }))
    }

    async fn restore_object(
        &self,
        request: S3Request<RestoreObjectInput>,
    ) -> S3Result<S3Response<RestoreObjectOutput>> {
        let note = request.extensions.get::<ThawNote>().cloned().unwrap_or_default();
        let status = thaw::ask(&self.store, request.input, &note)?;
        let mut response = S3Response::new(RestoreObjectOutput::default());
        response.extensions.insert(OverrideStatus(status));
        Ok(response)
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        multipart::create(&self.store, request.input).map(S3Response::new)
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        multipart::upload_part(&self.store, request.input).await.map(S3Response::new)
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        multipart::complete(&self.store, request.input).map(S3Response::new)
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        multipart::abort(&self.store, request.input).map(S3Response::new)
    }
}

fn entry(key: &str, object: &Object) -> s3s::dto::Object {
    s3s::dto::Object {
        key: Some(key.to_owned()),
        size: Some(object.data.len() as i64),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        last_modified: Some(Timestamp::from(object.modified)),
        storage_class: Some(ObjectStorageClass::from(object.class.clone())),
        ..Default::default()
    }
}

fn common_prefix(prefix: String) -> CommonPrefix {
    CommonPrefix { prefix: Some(prefix) }
}
