//! Evaluates IAM policies: which actions an S3 request needs, and whether a policy allows them.
//!
//! It exists because moto ignores the conditions of a policy. It implements the part of the policy
//! language that the policies of icecore use, and panics at the rest, so that no test passes
//! because a statement was not understood.
//!
//! Requests are mapped to actions as in the AWS documentation, "Required permissions for Amazon S3
//! API operations", and conditions are judged as in the IAM user guide, "IAM JSON policy elements:
//! Condition operators".

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::s3::log::RequestHead;

/// The decision of a policy about an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A statement allows it, and none denies it.
    Allowed,
    /// A statement denies it, so no other policy can allow it.
    Denied,
    /// No statement applies, so it is refused as well.
    Unnamed,
}

/// An action on a resource, with the condition keys of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// `s3:GetObject`
    pub action: String,
    pub resource: String,
    /// Values of condition keys, whose names are in lower case.
    pub context: BTreeMap<String, String>,
}

/// A parsed policy.
#[derive(Clone, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Clone, Debug)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

/// One line of a condition block. All lines must be true.
#[derive(Clone, Debug)]
struct Condition {
    operator: Operator,
    /// In lower case, because the comparison of keys ignores case.
    key: String,
    /// One of these values must match.
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    StringEquals,
    StringEqualsIfExists,
    StringLike,
    Null,
    Bool,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Panics
    /// At every element of the language that is not implemented.
    pub fn parse(text: &str) -> Policy {
        let policy: Value = serde_json::from_str(text).expect("a policy is JSON");
        let policy = object(&policy, &["Version", "Statement"]);
        assert_eq!(policy["Version"], "2012-10-17");
        let statements = policy["Statement"].as_array().expect("a list of statements");
        Policy { statements: statements.iter().map(Statement::parse).collect() }
    }

    pub fn decide(&self, access: &Access) -> Decision {
        let mut decision = Decision::Unnamed;
        for statement in self.statements.iter().filter(|statement| statement.applies(access)) {
            if !statement.allows {
                return Decision::Denied;
            }
            decision = Decision::Allowed;
        }
        decision
    }

    /// Returns whether every access that a request needs is allowed.
    pub fn allows(&self, request: &RequestHead) -> bool {
        accesses(request, true).iter().all(|access| self.decide(access) == Decision::Allowed)
    }

    /// Returns the same policy without its conditions, as a server that ignores them sees it.
    pub fn without_conditions(&self) -> Policy {
        let mut policy = self.clone();
        policy.statements.iter_mut().for_each(|statement| statement.conditions.clear());
        policy
    }
}

impl Statement {
    fn parse(statement: &Value) -> Statement {
        let known = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];
        let statement = object(statement, &known);
        if let Some(principal) = statement.get("Principal") {
            assert_eq!(principal, "*", "only everybody is known");
        }
        let resources = texts(&statement["Resource"]);
        assert!(!resources.iter().any(|resource| resource.contains("${")), "a policy variable");
        let mut conditions = Vec::new();
        if let Some(block) = statement.get("Condition") {
            for (operator, lines) in block.as_object().expect("a block of conditions") {
                for (key, values) in lines.as_object().expect("lines of conditions") {
                    let (operator, values) = (Operator::parse(operator), texts(values));
                    conditions.push(Condition { operator, key: key.to_lowercase(), values });
                }
            }
        }
        Statement {
            allows: match statement["Effect"].as_str() {
                Some("Allow") => true,
                Some("Deny") => false,
                other => panic!("unknown effect: {other:?}"),
            },
            actions: texts(&statement["Action"]).iter().map(|a| a.to_lowercase()).collect(),
            resources,
            conditions,
        }
    }

    fn applies(&self, access: &Access) -> bool {
        let action = access.action.to_lowercase();
        self.actions.iter().any(|pattern| like(pattern, &action))
            && self.resources.iter().any(|pattern| like(pattern, &access.resource))
            && self.conditions.iter().all(|condition| condition.holds(access))
    }
}

impl Condition {
    fn holds(&self, access: &Access) -> bool {
        let found = access.context.get(&self.key);
        let any = |fits: fn(&str, &str) -> bool| {
            found.is_some_and(|found| self.values.iter().any(|value| fits(value, found)))
        };
        match self.operator {
            Operator::StringEquals => any(|value, found| value == found),
            Operator::StringEqualsIfExists => found.is_none() || any(|value, found| value == found),
            Operator::StringLike => any(like),
            Operator::Bool => any(|value, found| value.eq_ignore_ascii_case(found)),
            Operator::Null => self.values.iter().any(|value| match value.as_str() {
                "true" => found.is_none(),
                "false" => found.is_some(),
                other => panic!("Null is true or false, not {other:?}"),
            }),
        }
    }
}

impl Operator {
    fn parse(name: &str) -> Operator {
        match name {
            "StringEquals" => Operator::StringEquals,
            "StringEqualsIfExists" => Operator::StringEqualsIfExists,
            "StringLike" => Operator::StringLike,
            "Null" => Operator::Null,
            "Bool" => Operator::Bool,
            other => panic!("unknown condition operator {other:?}"),
        }
    }
}

/// Returns a request that has not been sent.
pub fn request(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> RequestHead {
    RequestHead {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        range: None,
        headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
    }
}

/// Condition keys of a put that a policy may use.
const PUT_CONDITIONS: [&str; 4] = [
    "s3:if-none-match",
    "s3:x-amz-storage-class",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
];

/// Returns all accesses that a request needs.
///
/// # Panics
/// At requests it does not know, such as DeleteObjects, whose keys are in its body.
pub fn accesses(request: &RequestHead, tls: bool) -> Vec<Access> {
    let path = request.path.trim_start_matches('/');
    let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
    let query = Query::parse(&request.query);
    let secure = ("aws:securetransport".to_owned(), tls.to_string());
    let access = |action: &str, resource: String, more: &[(&str, Option<&str>)]| Access {
        action: format!("s3:{action}"),
        resource,
        context: more
            .iter()
            .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())))
            .chain([secure.clone()])
            .collect(),
    };
    if bucket.is_empty() {
        return vec![access("ListAllMyBuckets", "*".to_owned(), &[])];
    }
    if key.is_empty() {
        let resource = format!("arn:aws:s3:::{bucket}");
        let prefix = [("s3:prefix", query.get("prefix"))];
        return vec![access(bucket_action(&request.method, &query), resource, &prefix)];
    }
    let resource = format!("arn:aws:s3:::{bucket}/{key}");
    let (action, creates) = object_action(&request.method, &query);
    // Each of these condition keys has the value of the header with the same name.
    let headers = PUT_CONDITIONS.map(|key| (key, request.header(key.trim_start_matches("s3:"))));
    let creates = ("s3:objectcreationoperation", Some(if creates { "true" } else { "false" }));
    let put = [&headers[..], &[creates]].concat();
    let context = if action == "PutObject" { &put[..] } else { &[] };
    let mut needed = vec![access(action, resource.clone(), context)];
    for (header, action) in [
        ("x-amz-tagging", "PutObjectTagging"),
        ("x-amz-acl", "PutObjectAcl"),
        ("x-amz-object-lock-mode", "PutObjectRetention"),
        ("x-amz-object-lock-legal-hold", "PutObjectLegalHold"),
        ("x-amz-bypass-governance-retention", "BypassGovernanceRetention"),
    ] {
        if request.header(header).is_some() {
            needed.push(access(action, resource.clone(), &[]));
        }
    }
    if let Some(source) = request.header("x-amz-copy-source") {
        let source = percent_decode_str(source.trim_start_matches('/')).decode_utf8_lossy();
        needed.push(access("GetObject", format!("arn:aws:s3:::{source}"), &[]));
    }
    needed
}

/// Returns the action of a request on an object, and whether the request creates one.
fn object_action(method: &str, query: &Query) -> (&'static str, bool) {
    let has = |name: &str| query.get(name).is_some();
    let action = match method {
        "GET" | "HEAD" if has("acl") => "GetObjectAcl",
        "GET" | "HEAD" if has("tagging") => "GetObjectTagging",
        "GET" | "HEAD" if has("retention") => "GetObjectRetention",
        "GET" | "HEAD" if has("legal-hold") => "GetObjectLegalHold",
        "GET" | "HEAD" if has("torrent") => "GetObjectTorrent",
        "GET" | "HEAD" if has("uploadId") => "ListMultipartUploadParts",
        "GET" | "HEAD" if has("versionId") => "GetObjectVersion",
        "GET" | "HEAD" => "GetObject",
        "PUT" if has("acl") => "PutObjectAcl",
        "PUT" if has("tagging") => "PutObjectTagging",
        "PUT" if has("retention") => "PutObjectRetention",
        "PUT" if has("legal-hold") => "PutObjectLegalHold",
        "PUT" if has("uploadId") => return ("PutObject", false),
        "PUT" => return ("PutObject", true),
        "POST" if has("uploads") => return ("PutObject", false),
        "POST" if has("uploadId") => return ("PutObject", true),
        "POST" if has("restore") => "RestoreObject",
        "POST" if has("select") => "GetObject",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" if has("tagging") => "DeleteObjectTagging",
        "DELETE" if has("versionId") => "DeleteObjectVersion",
        "DELETE" => "DeleteObject",
        other => panic!("unknown request on an object: {other} {query:?}"),
    };
    (action, false)
}

/// Subresources of a bucket, and the actions that read, set and remove them.
const SETTINGS: [(&str, &str, &str, &str); 15] = [
    ("accelerate", "GetAccelerateConfiguration", "PutAccelerateConfiguration", ""),
    ("acl", "GetBucketAcl", "PutBucketAcl", ""),
    ("cors", "GetBucketCORS", "PutBucketCORS", "PutBucketCORS"),
    (
        "encryption",
        "GetEncryptionConfiguration",
        "PutEncryptionConfiguration",
        "PutEncryptionConfiguration",
    ),
    (
        "lifecycle",
        "GetLifecycleConfiguration",
        "PutLifecycleConfiguration",
        "PutLifecycleConfiguration",
    ),
    ("logging", "GetBucketLogging", "PutBucketLogging", ""),
    ("notification", "GetBucketNotification", "PutBucketNotification", ""),
    ("object-lock", "GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration", ""),
    (
        "ownershipControls",
        "GetBucketOwnershipControls",
        "PutBucketOwnershipControls",
        "PutBucketOwnershipControls",
    ),
    ("policy", "GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy"),
    (
        "publicAccessBlock",
        "GetBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
        "PutBucketPublicAccessBlock",
    ),
    (
        "replication",
        "GetReplicationConfiguration",
        "PutReplicationConfiguration",
        "PutReplicationConfiguration",
    ),
    ("tagging", "GetBucketTagging", "PutBucketTagging", "PutBucketTagging"),
    ("versioning", "GetBucketVersioning", "PutBucketVersioning", ""),
    ("website", "GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite"),
];

fn bucket_action(method: &str, query: &Query) -> &'static str {
    let set = SETTINGS.iter().find(|(name, ..)| query.get(name).is_some());
    match (method, set) {
        ("GET", Some((_, get, _, _))) => get,
        ("PUT", Some((_, _, put, _))) => put,
        ("DELETE", Some((_, _, _, delete))) if !delete.is_empty() => delete,
        ("GET", None) if query.get("versions").is_some() => "ListBucketVersions",
        ("GET", None) if query.get("uploads").is_some() => "ListBucketMultipartUploads",
        ("GET", None) if query.get("location").is_some() => "GetBucketLocation",
        ("GET" | "HEAD", None) => "ListBucket",
        ("PUT", None) => "CreateBucket",
        ("DELETE", None) => "DeleteBucket",
        other => panic!("unknown request on a bucket: {other:?} {query:?}"),
    }
}

/// The query of a request, decoded.
#[derive(Debug)]
struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Query {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (decode(name), decode(value))
        };
        Query(query.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Compares a text with a pattern in which `*` matches any text and `?` any character.
fn like(pattern: &str, text: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => text.is_empty(),
        Some('*') => {
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            ends.into_iter().any(|at| like(rest.as_str(), &text[at..]))
        }
        Some(wanted) => {
            let mut text = text.chars();
            text.next().is_some_and(|found| wanted == '?' || wanted == found)
                && like(rest.as_str(), text.as_str())
        }
    }
}

fn object<'a>(value: &'a Value, known: &[&str]) -> &'a Map<String, Value> {
    let object = value.as_object().expect("an object");
    for key in object.keys() {
        assert!(known.contains(&key.as_str()), "unknown element {key:?}");
    }
    object
}

/// Reads a text or a list of texts.
fn texts(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => vec![text(value)],
    }
}

#[cfg(test)]
mod tests {
    use super::request as head;
    use super::*;

    fn allow(action: &str, resource: &str, condition: &str) -> Policy {
        Policy::parse(&format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}",
               "Resource":["{resource}"],"Condition":{condition}}}]}}"#
        ))
    }

    #[test]
    fn patterns() {
        for (pattern, text) in [
            ("a*", "a"),
            ("a*c", "abbc"),
            ("*", ""),
            ("a?c", "abc"),
            ("*/b/*", "a/b/"),
            ("é*", "éa"),
        ] {
            assert!(like(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*", "ba"), ("a?c", "ac"), ("a", "A"), ("a.c", "abc"), ("", "a")]
        {
            assert!(!like(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn conditions() {
        let (absent, a, b) = (None, Some("a"), Some("b"));
        for (condition, allowed) in [
            (r#"{"StringEquals":{"S3:Prefix":["a","c"]}}"#, [false, true, false]),
            (r#"{"StringEqualsIfExists":{"s3:prefix":"a"}}"#, [true, true, false]),
            (r#"{"StringLike":{"s3:prefix":"?"}}"#, [false, true, true]),
            (r#"{"Null":{"s3:prefix":"true"}}"#, [true, false, false]),
            (r#"{"Null":{"s3:prefix":"false"}}"#, [false, true, true]),
            (r#"{"Bool":{"s3:prefix":"A"}}"#, [false, true, false]),
            (
                r#"{"Null":{"s3:prefix":"false"},"StringEquals":{"s3:prefix":"b"}}"#,
                [false, false, true],
            ),
        ] {
            let policy = allow("s3:List*", "arn:aws:s3:::b", condition);
            for (prefix, allowed) in [absent, a, b].into_iter().zip(allowed) {
                let query = prefix.map_or(String::new(), |prefix| format!("prefix={prefix}"));
                assert_eq!(
                    policy.allows(&head("GET", "/b", &query, &[])),
                    allowed,
                    "{condition} {prefix:?}"
                );
            }
            assert!(policy.without_conditions().allows(&head("GET", "/b", "", &[])));
        }
    }

    #[test]
    fn a_denial_wins_and_silence_refuses() {
        let policy = Policy::parse(
            r#"{"Version":"2012-10-17","Statement":[
               {"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/*"},
               {"Effect":"Deny","Principal":"*","Action":"s3:deleteobject","Resource":"*"}]}"#,
        );
        let decide = |method: &str, path: &str| {
            policy.decide(&accesses(&head(method, path, "", &[]), true)[0])
        };
        assert_eq!(decide("GET", "/b/k"), Decision::Allowed);
        assert_eq!(decide("DELETE", "/b/k"), Decision::Denied);
        assert_eq!(decide("GET", "/b"), Decision::Unnamed);
        assert_eq!(decide("GET", "/c/k"), Decision::Unnamed);
    }

    #[test]
    fn a_request_may_need_several_actions() {
        let headers =
            [("x-amz-copy-source", "/a/k%20k"), ("x-amz-tagging", "t=1"), ("if-none-match", "*")];
        let needed = accesses(&head("PUT", "/b/x/y", "", &headers), false);
        let named: Vec<_> =
            needed.iter().map(|a| (a.action.as_str(), a.resource.as_str())).collect();
        assert_eq!(
            named,
            [
                ("s3:PutObject", "arn:aws:s3:::b/x/y"),
                ("s3:PutObjectTagging", "arn:aws:s3:::b/x/y"),
                ("s3:GetObject", "arn:aws:s3:::a/k k"),
            ]
        );
        assert_eq!(needed[0].context["s3:if-none-match"], "*");
        assert_eq!(needed[0].context["s3:objectcreationoperation"], "true");
        assert_eq!(needed[2].context["aws:securetransport"], "false");
    }

    #[test]
    fn unknown_elements_are_not_passed_over() {
        for bad in [
            r#"{"Effect":"Allow","NotAction":"s3:*","Resource":"*"}"#,
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"IpAddress":{"a":"b"}}}"#,
            r#"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/${aws:username}"}"#,
        ] {
            let text = format!(r#"{{"Version":"2012-10-17","Statement":[{bad}]}}"#);
            assert!(std::panic::catch_unwind(|| Policy::parse(&text)).is_err(), "{bad}");
        }
    }
}
