//! The table of requests for [`super`]: the purpose of each role, and every kind of request on every kind of object, on
//! neighbours of the repository and on its bucket.

use icecore_testkit::RequestHead;
use icecore_testkit::iam::request;

use crate::support::BUCKET;

/// The purpose of a role, by kinds of objects.
pub struct Role {
    pub name: &'static str,
    pub lists: &'static [&'static str],
    pub reads: &'static [&'static str],
    /// Kinds that it adds, with the storage class that the put must name.
    pub adds: &'static [(&'static str, &'static str)],
    pub thaws: &'static [&'static str],
    pub deletes: &'static [&'static str],
}

const ADDED: [(&str, &str); 5] = [
    ("log", "STANDARD"),
    ("checkpoints", "STANDARD"),
    ("meta", "STANDARD"),
    ("hot", "GLACIER_IR"),
    ("packs", "DEEP_ARCHIVE"),
];
pub const ROLES: [Role; 3] = [
    Role {
        name: "backup",
        lists: &["log", "checkpoints", "meta", "hot", "packs", "keys"],
        reads: &["config", "log", "checkpoints"],
        adds: &ADDED,
        thaws: &[],
        deletes: &[],
    },
    Role {
        name: "restore",
        lists: &["log", "checkpoints", "meta", "hot", "packs", "keys", "jobs"],
        reads: &["config", "log", "checkpoints", "meta", "hot", "packs", "keys", "jobs"],
        adds: &[("jobs", "STANDARD")],
        thaws: &["packs", "hot", "meta"],
        deletes: &[],
    },
    Role {
        name: "prune",
        lists: &["log", "checkpoints", "meta", "hot", "packs", "keys", "jobs"],
        reads: &["config", "log", "checkpoints", "meta", "hot", "packs", "keys", "jobs"],
        adds: &ADDED,
        thaws: &["packs"],
        deletes: &["packs", "hot", "meta", "jobs"],
    },
];
/// The role of a host that only copies: it takes no snapshots and needs no other command.
pub const MIRROR: Role = Role {
    name: "mirror",
    lists: &["log", "checkpoints", "meta", "hot", "packs", "keys"],
    reads: &["config", "log"],
    adds: &[
        ("log", "STANDARD"),
        ("checkpoints", "STANDARD"),
        ("meta", "STANDARD"),
        ("keys", "STANDARD"),
        ("hot", "GLACIER_IR"),
        ("packs", "DEEP_ARCHIVE"),
    ],
    thaws: &[],
    deletes: &[],
};
pub const KINDS: [&str; 8] =
    ["config", "keys", "log", "checkpoints", "meta", "hot", "packs", "jobs"];
const CLASSES: [Option<&str>; 8] = [
    None,
    Some("STANDARD"),
    Some("REDUCED_REDUNDANCY"),
    Some("STANDARD_IA"),
    Some("GLACIER_IR"),
    Some("GLACIER"),
    Some("DEEP_ARCHIVE"),
    Some("INTELLIGENT_TIERING"),
];

/// Headers by which a put names an encryption key that other hosts may not have.
pub const KEYS_OF_OTHERS: [&str; 2] = [
    "x-amz-server-side-encryption-customer-algorithm",
    "x-amz-server-side-encryption-aws-kms-key-id",
];

/// A request of the table, and whether a role may make it.
pub struct Case {
    pub what: String,
    pub request: RequestHead,
    pub may: Box<dyn Fn(&Role) -> bool>,
}

fn case(what: &str, request: RequestHead, may: impl Fn(&Role) -> bool + 'static) -> Case {
    let what = format!("{what} {} {}?{}", request.method, request.path, request.query);
    Case { what, request, may: Box::new(may) }
}

/// Returns every kind of request on every kind of object, and on the bucket.
pub fn table() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        cases.extend(object_cases(&format!("/{BUCKET}/photos/{kind}"), Some(kind)));
    }
    // Neighbours of the repository: names that begin with the same letters, the top, another bucket.
    let alike = ["photos/packs2", "photos/meta2", "photos/log2", "photos/jobs2", "photos/config2"];
    let around = ["photos2/packs", "photo", "packs", "jobs", "other/photos/packs"];
    for outside in alike.into_iter().chain(around) {
        cases.extend(object_cases(&format!("/{BUCKET}/{outside}"), None));
    }
    cases.extend(object_cases("/elsewhere/photos/packs", None));
    cases.extend(bucket_cases());
    cases
}

/// Returns the cases of one object. `kind` is its kind; `None` if it does not belong to the repository.
fn object_cases(path: &str, kind: Option<&'static str>) -> Vec<Case> {
    let is_file = kind == Some("config");
    let old = if is_file { path.to_owned() } else { format!("{path}/old") };
    // Names of log entries begin with a zero. Only the owner may put others.
    let new = match is_file {
        true => path.to_owned(),
        false if path.ends_with("/log") => format!("{path}/0new"),
        false => format!("{path}/new"),
    };
    let within = move |kinds: &[&str]| kind.is_some_and(|kind| kinds.contains(&kind));
    let class = move |role: &Role| {
        let mut added = role.adds.iter().filter(|(added, _)| kind == Some(added));
        added.next().map(|(_, class)| *class)
    };
    let mut cases = vec![
        case("get", request("GET", &old, "", &[]), move |role| within(role.reads)),
        case("head", request("HEAD", &old, "", &[]), move |role| within(role.reads)),
        case("select", request("POST", &old, "select&select-type=2", &[]), move |role| {
            within(role.reads)
        }),
        case("thaw", request("POST", &old, "restore", &[]), move |role| within(role.thaws)),
        case("delete", request("DELETE", &old, "", &[]), move |role| within(role.deletes)),
    ];
    for if_none_match in [None, Some("*")] {
        for named in CLASSES {
            let headers = [("if-none-match", if_none_match), ("x-amz-storage-class", named)];
            let headers: Vec<_> = headers.into_iter().filter_map(|(n, v)| Some((n, v?))).collect();
            cases.push(case("put", request("PUT", &new, "", &headers), move |role| {
                let Some(class) = class(role) else { return false };
                if_none_match.is_some() && named.unwrap_or("STANDARD") == class
            }));
        }
    }
    // All other headers are correct.
    for named in ["STANDARD", "GLACIER_IR", "DEEP_ARCHIVE"] {
        let right = [("if-none-match", "*"), ("x-amz-storage-class", named)];
        for (what, header) in [
            ("put acl", ("x-amz-acl", "public-read")),
            ("put tags", ("x-amz-tagging", "a=b")),
            ("put lock", ("x-amz-object-lock-mode", "COMPLIANCE")),
            ("put hold", ("x-amz-object-lock-legal-hold", "ON")),
            // Other computers could not read these objects.
            ("put sse-c", (KEYS_OF_OTHERS[0], "AES256")),
            ("put kms", (KEYS_OF_OTHERS[1], "arn:aws:kms:eu-west-1:111122223333:key/of-a-thief")),
        ] {
            let headers = [right[0], right[1], header];
            cases.push(case(what, request("PUT", &new, "", &headers), |_| false));
        }
        // A copy reads its source, but returns no content, and counts as a put.
        let source = format!("{BUCKET}/photos/packs/old");
        let headers = [right[0], right[1], ("x-amz-copy-source", &source)];
        cases.push(case("copy", request("PUT", &new, "", &headers), move |role| {
            class(role) == Some(named) && role.reads.contains(&"packs")
        }));
    }
    let class_alone = [("x-amz-storage-class", "DEEP_ARCHIVE")];
    for (method, query, headers) in [
        ("GET", "versionId=null", &[][..]),
        ("HEAD", "versionId=null", &[]),
        ("GET", "acl", &[]),
        ("GET", "tagging", &[]),
        ("GET", "retention", &[]),
        ("GET", "legal-hold", &[]),
        ("GET", "torrent", &[]),
        ("GET", "uploadId=u", &[]),
        ("PUT", "acl", &[]),
        ("PUT", "tagging", &[]),
        ("PUT", "retention", &[]),
        ("PUT", "legal-hold", &[]),
        ("POST", "uploads", &class_alone),
        ("PUT", "partNumber=1&uploadId=u", &[]),
        ("POST", "uploadId=u", &[]),
        ("DELETE", "versionId=null", &[]),
        ("DELETE", "tagging", &[]),
        ("DELETE", "uploadId=u", &[]),
        ("DELETE", "", &[("x-amz-bypass-governance-retention", "true")]),
    ] {
        cases.push(case("", request(method, &old, query, headers), |_| false));
    }
    cases
}

fn bucket_cases() -> Vec<Case> {
    let list = |query: &str| request("GET", &format!("/{BUCKET}"), query, &[]);
    let mut cases = Vec::new();
    for kind in KINDS {
        let query = format!("list-type=2&prefix=photos%2F{kind}%2F");
        cases.push(case("list", list(&query), move |role| role.lists.contains(&kind)));
    }
    let settings = [
        "accelerate",
        "acl",
        "cors",
        "encryption",
        "lifecycle",
        "logging",
        "notification",
        "object-lock",
        "ownershipControls",
        "policy",
        "publicAccessBlock",
        "replication",
        "tagging",
        "versioning",
        "website",
    ];
    let mut never = Vec::new();
    for query in [
        "list-type=2",
        "list-type=2&prefix=",
        "prefix=photos",
        "prefix=photos%2F",
        "prefix=photos2%2Flog%2F",
        "prefix=photos%2Fpacks",
        "prefix=photos%2Fpacks2%2F",
    ] {
        never.push(list(query));
    }
    for query in ["versions&prefix=photos%2Flog%2F", "uploads&prefix=photos%2Flog%2F", "location"] {
        never.push(list(query));
    }
    for bucket in [BUCKET, "elsewhere"] {
        let path = format!("/{bucket}");
        never.extend(["HEAD", "PUT", "DELETE"].map(|method| request(method, &path, "", &[])));
        never.extend(settings.map(|query| request("GET", &path, query, &[])));
        never.extend(settings.map(|query| request("PUT", &path, query, &[])));
        let removable = ["cors", "encryption", "lifecycle", "ownershipControls", "policy"];
        never.extend(removable.map(|query| request("DELETE", &path, query, &[])));
    }
    never.push(request("GET", "/elsewhere", "list-type=2&prefix=photos%2Flog%2F", &[]));
    never.push(request("GET", "/", "", &[]));
    cases.extend(never.into_iter().map(|request| case("", request, |_| false)));
    cases
}

/// Returns whether moto 5.2 maps a request to a different action than AWS does, or ignores a part of it. The
/// evaluator of the test kit covers these.
pub fn moto_mistakes(request: &RequestHead) -> bool {
    let query = request.query.split(['=', '&']).next().unwrap_or_default();
    let on_object = request.path.trim_matches('/').contains('/');
    let names: &[&str] = match (request.method.as_str(), on_object) {
        // moto treats all of these as listings.
        ("GET", false) => {
            &["encryption", "object-lock", "ownershipControls", "publicAccessBlock", "replication"]
        }
        // moto treats these as a plain read, a plain put and a plain deletion.
        ("GET", true) => &["retention", "legal-hold", "torrent"],
        ("PUT", true) => &["retention", "legal-hold"],
        ("DELETE", true) => &["tagging"],
        // This request has its own action.
        ("POST", true) => &["select"],
        _ => &[],
    };
    names.contains(&query)
        || ["x-amz-acl", "x-amz-tagging", "x-amz-copy-source"]
            .into_iter()
            .chain(["x-amz-object-lock-mode", "x-amz-object-lock-legal-hold"])
            .chain(["x-amz-bypass-governance-retention"])
            .any(|header| request.header(header).is_some())
        || (request.method == "HEAD" && query == "versionId")
}
