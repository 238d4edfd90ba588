//! `policy`: prints documents that make AWS refuse everything that a host need not do.
//!
//! Everything below [`run`] is a pure function from a bucket, a prefix and two storage classes to JSON. The roles
//! contain only `Allow` statements, each for exactly the requests that the commands of the role make. Everything else
//! is refused.
//!
//! Sources, all in the AWS documentation:
//! - actions of a request: "Required permissions for Amazon S3 API operations"
//!   (AmazonS3/latest/userguide/using-with-s3-policy-actions.html). HEAD needs `s3:GetObject`.
//! - `s3:if-none-match` and `s3:ObjectCreationOperation`: "Enforce conditional writes on Amazon S3 buckets"
//!   (AmazonS3/latest/userguide/conditional-writes-enforce.html).
//! - `s3:x-amz-server-side-encryption-customer-algorithm`, `s3:x-amz-server-side-encryption-aws-kms-key-id`: "Condition
//!   keys for Amazon S3" (service-authorization/latest/reference/list_amazons3.html).
//! - `s3:x-amz-storage-class`, `s3:prefix`: "Bucket policy examples using condition keys"
//!   (AmazonS3/latest/userguide/amazon-s3-policy-keys.html).

use icecore_engine::store::layout::JOBS;
use icecore_engine::store::{
    BUCKET_NAMES, HOT_CLASS, Location, PACK_CLASS, Provider, is_bucket_name, layout,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::args::{ClassArgs, PolicyCommand};
use crate::code;
use crate::commands::init;
use crate::failure::Failure;
use crate::session::Session;

/// Headers of a put that make an object unreadable for other hosts, because it is encrypted with a key in the request
/// (SSE-C) or with a named KMS key. In the log, such an object would stop every host.
const KEYS_OF_OTHERS: [&str; 2] = [
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];
/// The class of an object that is put without a class.
const STANDARD: &str = "STANDARD";
/// Maximum length of a managed IAM policy ("IAM and AWS STS quotas"). An inline policy of a user may have only 2,048
/// characters, which a role with a long prefix exceeds.
const MANAGED_CHARS_MAX: usize = 6144;
/// Maximum length of a bucket policy: 20 KB.
const BUCKET_CHARS_MAX: usize = 20 << 10;
// The same as in `layout::prefix`, which is not a constant. A test compares them.
const META: &str = "meta";
const HOT: &str = "hot";
const PACKS: &str = "packs";

pub fn run(session: &Session, command: &PolicyCommand) -> Result<u8, Failure> {
    let place = BucketPlace::new(&session.location()?)?;
    if !is_bucket_name(&place.bucket) {
        let message = format!("Amazon allows no new bucket of this name: {BUCKET_NAMES}");
        session.report.problem(&place.bucket, &message);
    }
    // Only the right to put depends on storage classes, so other documents need no request.
    let (document, characters_max) = match command {
        PolicyCommand::Backup(args) => {
            (text(&backup(&place, &classes(session, args)?)), MANAGED_CHARS_MAX)
        }
        PolicyCommand::Restore => (text(&restore(&place)), MANAGED_CHARS_MAX),
        PolicyCommand::Prune(args) => {
            (text(&prune(&place, &classes(session, args)?)), MANAGED_CHARS_MAX)
        }
        PolicyCommand::Mirror(args) => {
            (text(&mirror(&place, &classes(session, args)?)), MANAGED_CHARS_MAX)
        }
        PolicyCommand::Bucket => (text(&bucket(&place)), BUCKET_CHARS_MAX),
        PolicyCommand::Lifecycle => (text(&lifecycle(&place)), BUCKET_CHARS_MAX),
    };
    let characters = characters(&document);
    if characters > characters_max {
        return Err(Failure::usage(
            format!(
                "this policy would have {characters} characters; AWS accepts at most {characters_max}"
            ),
            "the policy contains the prefix many times: use a shorter prefix, or a separate bucket without a prefix",
        ));
    }
    session.report.entry(&document);
    Ok(code::DONE)
}

/// Counts characters as AWS does, without white space.
fn characters(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Determines the storage classes: those given, those of the repository, or those that `init` would choose.
fn classes(session: &Session, args: &ClassArgs) -> Result<Classes, Failure> {
    let given = |class: &Option<String>| class.as_ref().map(|class| class.to_ascii_uppercase());
    let (pack, hot) = (given(&args.pack_class), given(&args.hot_class));
    let classes = match (pack, hot) {
        (Some(pack), Some(hot)) => Classes { pack, hot },
        (pack, hot) => {
            let found = match session.settings() {
                Ok(settings) => Classes { pack: settings.pack_class, hot: settings.hot_class },
                Err(failure) => {
                    session.report.note(&format!(
                        "{}: assuming the classes of a new archive, {PACK_CLASS} and \
                         {HOT_CLASS}; --pack-class and --hot-class set others",
                        failure.message
                    ));
                    Classes { pack: PACK_CLASS.to_owned(), hot: HOT_CLASS.to_owned() }
                }
            };
            Classes { pack: pack.unwrap_or(found.pack), hot: hot.unwrap_or(found.hot) }
        }
    };
    // Also check the classes from the repository, because its `config` may be read without a key to verify it.
    let (pack, hot) = init::classes(Provider::S3, &classes.pack, &classes.hot)?;
    Ok(Classes { pack, hot })
}

/// The storage classes of photo data and of small files.
struct Classes {
    pack: String,
    hot: String,
}

/// A bucket, and the prefix of a repository in it, which is empty or ends with a slash.
struct BucketPlace {
    bucket: String,
    prefix: String,
}

impl BucketPlace {
    fn new(location: &Location) -> Result<BucketPlace, Failure> {
        let Location::Bucket { provider: Provider::S3, bucket, prefix } = location else {
            return Err(Failure::usage(
                format!("only S3 has such policies: {location}"),
                "name a bucket: --repo s3://bucket/prefix",
            ));
        };
        // All other ASCII characters have a meaning in a policy, or are encoded differently in a key.
        let plain = |text: &str, more: &str| {
            text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        // Letters of all alphabets are allowed, composed or not, because the prefix is stored as it is typed.
        let strange = |c: &char| !c.is_ascii() && !c.is_control() && !c.is_whitespace();
        let readable = |part: &str| {
            let ascii: String = part.chars().filter(|c| !strange(c)).collect();
            plain(&ascii, "-._ +=@,") && !part.trim_matches('.').is_empty()
        };
        let parts: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
        if !plain(bucket, "-._") || !parts.iter().all(|part| readable(part)) {
            return Err(Failure::usage(
                format!("{location} cannot be named in a policy"),
                "use letters, digits and - _ . in the bucket and the prefix: * ? $ and the like have a meaning of their own in a policy",
            ));
        }
        let prefix = parts.iter().map(|part| format!("{part}/")).collect();
        Ok(BucketPlace { bucket: bucket.clone(), prefix })
    }

    fn bucket_arn(&self) -> String {
        format!("arn:aws:s3:::{}", self.bucket)
    }

    fn arn(&self, name: &str) -> String {
        format!("arn:aws:s3:::{}/{}{name}", self.bucket, self.prefix)
    }

    fn arns(&self, folders: &[&str]) -> Vec<String> {
        folders.iter().map(|folder| self.arn(&format!("{folder}/*"))).collect()
    }
}

/// An IAM policy or a bucket policy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'static str>,
    action: &'static str,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    condition: Value,
}

/// Returns the policy of a host that takes snapshots with the writer credential. It may add, list, and read the log.
///
/// It may not read `keys/`, although `check` looks at key slots. A thief could try passwords on a slot, and the host
/// itself does not need them. With this role, `check` can verify only the log and the presence of packs.
fn backup(place: &BucketPlace, classes: &Classes) -> Policy {
    policy(adding(place, classes))
}

fn adding(place: &BucketPlace, classes: &Classes) -> Vec<Statement> {
    let mut readable = vec![place.arn(layout::CONFIG)];
    readable.extend(place.arns(&[layout::LOG, layout::CHECKPOINTS]));
    vec![
        list(place, &[layout::LOG, layout::CHECKPOINTS, META, HOT, PACKS, layout::KEYS]),
        allow("ReadLog", "s3:GetObject", readable),
        create("AddLogAndTrees", place, &[layout::LOG, layout::CHECKPOINTS, META], STANDARD),
        create("AddSmallFiles", place, &[HOT], &classes.hot),
        create("AddPhotos", place, &[PACKS], &classes.pack),
    ]
}

/// Returns the policy of a host that restores. It may read and thaw everything, and write only jobs.
fn restore(place: &BucketPlace) -> Policy {
    let folders = [layout::LOG, layout::CHECKPOINTS, META, HOT, PACKS, layout::KEYS, JOBS];
    let mut readable = vec![place.arn(layout::CONFIG)];
    readable.extend(place.arns(&folders));
    policy(vec![
        list(place, &folders),
        allow("ReadAll", "s3:GetObject", readable),
        // Includes trees, in case a rule of the bucket has moved them.
        allow("Thaw", "s3:RestoreObject", place.arns(&[PACKS, HOT, META])),
        create("AddJobs", place, &[JOBS], STANDARD),
    ])
}

/// Returns the policy of a host that reclaims space. It may add like a backup host, read, thaw and delete. It may not
/// delete the log, checkpoints, `config` or `keys/`. If the bucket keeps versions, deleted objects remain too, because
/// the role does not have `s3:DeleteObjectVersion`.
fn prune(place: &BucketPlace, classes: &Classes) -> Policy {
    let mut statements = adding(place, classes);
    let folders = [layout::LOG, layout::CHECKPOINTS, META, HOT, PACKS, layout::KEYS, JOBS];
    statements[0] = list(place, &folders);
    let readable = place.arns(&[META, HOT, PACKS, layout::KEYS, JOBS]);
    statements.push(allow("ReadPacks", "s3:GetObject", readable));
    statements.push(allow("Thaw", "s3:RestoreObject", place.arns(&[PACKS])));
    let mortal = place.arns(&[PACKS, HOT, META, JOBS]);
    statements.push(allow("Delete", "s3:DeleteObject", mortal));
    policy(statements)
}

/// Returns the policy of a host that copies an archive into this bucket after the owner has made the first copy. It may
/// add everything that a backup host may add, and key slots. It may not delete anything, so that a thief of its keys
/// cannot destroy the copy.
fn mirror(place: &BucketPlace, classes: &Classes) -> Policy {
    let mut readable = vec![place.arn(layout::CONFIG)];
    readable.extend(place.arns(&[layout::LOG]));
    policy(vec![
        list(place, &[layout::LOG, layout::CHECKPOINTS, META, HOT, PACKS, layout::KEYS]),
        allow("ReadLog", "s3:GetObject", readable),
        create(
            "AddLogTreesAndKeys",
            place,
            &[layout::LOG, layout::CHECKPOINTS, META, layout::KEYS],
            STANDARD,
        ),
        create("AddSmallFiles", place, &[HOT], &classes.hot),
        create("AddPhotos", place, &[PACKS], &classes.pack),
    ])
}

/// Returns the bucket policy, which applies to everyone, even to the owner's keys.
fn bucket(place: &BucketPlace) -> Policy {
    let deny = |sid, action, resource, condition| Statement {
        sid,
        effect: "Deny",
        principal: Some("*"),
        action,
        resource,
        condition,
    };
    let named = |key: &str| json!({ "Null": { key: "false" } });
    let [customer, kms] = KEYS_OF_OTHERS.map(named);
    policy(vec![
        deny("NoCustomerKeys", "s3:PutObject", vec![place.arn("*")], customer),
        deny("NoNamedKmsKeys", "s3:PutObject", vec![place.arn("*")], kms),
        deny(
            "TlsOnly",
            "s3:*",
            vec![place.bucket_arn(), format!("{}/*", place.bucket_arn())],
            json!({ "Bool": { "aws:SecureTransport": "false" } }),
        ),
        // The parts of a multipart upload cannot have the header. The request that completes the upload can, and it
        // creates the object.
        deny(
            "CreateOnly",
            "s3:PutObject",
            vec![place.arn("*")],
            json!({
                "Null": { "s3:if-none-match": "true" },
                "Bool": { "s3:ObjectCreationOperation": "true" },
            }),
        ),
    ])
}

/// Returns the lifecycle configuration, which cleans up after interrupted uploads and deletions. It has no transitions:
/// objects are put directly into their class, and a rule would bill each of them again.
fn lifecycle(place: &BucketPlace) -> Value {
    json!({
        "Rules": [{
            "ID": "icecore",
            "Status": "Enabled",
            "Filter": { "Prefix": place.prefix },
            "AbortIncompleteMultipartUpload": { "DaysAfterInitiation": 7 },
            "NoncurrentVersionExpiration": { "NoncurrentDays": 30 },
            "Expiration": { "ExpiredObjectDeleteMarker": true },
        }],
    })
}

fn policy(statement: Vec<Statement>) -> Policy {
    Policy { version: "2012-10-17", statement }
}

fn allow(sid: &'static str, action: &'static str, resource: Vec<String>) -> Statement {
    let (effect, principal, condition) = ("Allow", None, Value::Null);
    Statement { sid, effect, principal, action, resource, condition }
}

/// Returns the statement that allows listing only these folders of the bucket.
///
/// S3 reports that an object is missing only to a caller who may list the bucket (GetObject in the API reference), and
/// a GET has no prefix. So a role gets 403 where the owner gets 404.
fn list(place: &BucketPlace, folders: &[&str]) -> Statement {
    let prefixes: Vec<String> =
        folders.iter().map(|folder| format!("{}{folder}/*", place.prefix)).collect();
    let condition = json!({ "StringLike": { "s3:prefix": prefixes } });
    Statement { condition, ..allow("List", "s3:ListBucket", vec![place.bucket_arn()]) }
}

/// Returns the statement that allows creating objects of one class but not overwriting any. Without the header of a
/// conditional write, the statement does not apply, whatever the bucket policy is. The same condition excludes
/// multipart uploads. A put may not name an encryption key, because every host must be able to read the object.
fn create(sid: &'static str, place: &BucketPlace, folders: &[&str], class: &str) -> Statement {
    // A put without a class uses STANDARD.
    let is = if class == STANDARD { "StringEqualsIfExists" } else { "StringEquals" };
    let [customer, kms] = KEYS_OF_OTHERS;
    let condition = json!({
        "Null": { "s3:if-none-match": "false", customer: "true", kms: "true" },
        is: { "s3:x-amz-storage-class": class },
    });
    // The names of entries begin with a zero. Only the owner may put the mark of a mirror, which makes all hosts refuse
    // to write.
    let arn = |folder: &&str| match *folder {
        layout::LOG => place.arn(&format!("{}/0*", layout::LOG)),
        folder => place.arn(&format!("{folder}/*")),
    };
    let created = folders.iter().map(arn).collect();
    Statement { condition, ..allow(sid, "s3:PutObject", created) }
}

/// Formats a document. IAM does not accept characters beyond U+00FF, but accepts their JSON escapes.
fn text(document: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(document).expect("the keys of the documents are texts");
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii() {
            true => ascii.push(c),
            false => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }),
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use icecore_engine::format::PackKind;

    use super::*;

    fn place(url: &str) -> Result<BucketPlace, Failure> {
        BucketPlace::new(&Location::parse(url)?)
    }

    #[test]
    fn places() {
        let named = |url: &str| {
            let place = place(url).unwrap();
            (place.arn("config"), text(&lifecycle(&place)).contains(r#""Prefix": """#))
        };
        assert_eq!(named("s3://b"), ("arn:aws:s3:::b/config".to_owned(), true));
        assert_eq!(named("s3://b/a//c/"), ("arn:aws:s3:::b/a/c/config".to_owned(), false));
        for bad in ["s3://b*", "s3://b/a*", "s3://b/${aws:username}", "s3://b/?", "s3://b/..", "x"]
        {
            let failure = place(bad).map(|place| place.prefix).unwrap_err();
            assert_eq!(failure.code, code::USAGE, "{bad}");
        }
    }

    #[test]
    fn letters_of_all_alphabets_are_escaped() {
        for prefix in ["M\u{fc}nchen", "Mu\u{308}nchen", "\u{5199}\u{771f}", "\u{1f4f7}"] {
            let place = place(&format!("s3://b/{prefix}")).unwrap();
            let document = text(&restore(&place));
            assert!(document.is_ascii(), "{document}");
            let read: Value = serde_json::from_str(&document).unwrap();
            let wanted = format!("arn:aws:s3:::b/{prefix}/config");
            assert_eq!(read["Statement"][1]["Resource"][0], wanted);
        }
    }

    #[test]
    fn folders_are_those_of_the_layout() {
        let kinds = [(META, PackKind::Meta), (HOT, PackKind::Hot), (PACKS, PackKind::Cold)];
        for (folder, kind) in kinds {
            assert_eq!(folder, layout::prefix(kind));
        }
    }

    #[test]
    fn a_repository_at_the_top_of_its_bucket() {
        let Policy { statement, .. } = restore(&place("s3://b").unwrap());
        let listed = &statement[0].condition["StringLike"]["s3:prefix"];
        assert_eq!(listed[0], "log/*");
        assert_eq!(statement[3].resource, ["arn:aws:s3:::b/jobs/*"]);
    }

    #[test]
    fn policies_fit_where_aws_takes_them() {
        // The longest possible bucket name, and a prefix of 63 characters.
        let long = format!("s3://{}/{}", "b".repeat(63), "photos/".repeat(9));
        let classes =
            Classes { pack: "INTELLIGENT_TIERING".to_owned(), hot: "GLACIER_IR".to_owned() };
        let place = place(&long).unwrap();
        for (name, document, characters_max) in [
            ("backup", text(&backup(&place, &classes)), MANAGED_CHARS_MAX),
            ("restore", text(&restore(&place)), MANAGED_CHARS_MAX),
            ("prune", text(&prune(&place, &classes)), MANAGED_CHARS_MAX),
            ("bucket", text(&bucket(&place)), BUCKET_CHARS_MAX),
        ] {
            let characters = characters(&document);
            assert!(characters <= characters_max, "{name}: {characters}");
        }
    }

    #[test]
    fn most_policies_fit_into_a_user() {
        const INLINE_CHARS_MAX: usize = 2048;
        let place = place("s3://my-photo-archive/photos").unwrap();
        let classes = Classes { pack: PACK_CLASS.to_owned(), hot: HOT_CLASS.to_owned() };
        for document in [backup(&place, &classes), restore(&place), mirror(&place, &classes)] {
            let characters = characters(&text(&document));
            assert!(characters <= INLINE_CHARS_MAX, "{characters}");
        }
    }
}
