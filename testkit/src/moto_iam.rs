//! moto with enforced IAM: users with policies, and signed requests that none of our clients sends.
//!
//! According to its source and our tests, moto 5.2 enforces signatures, and the actions and resources of a user's
//! policies. It does not enforce conditions (a statement counts as if it had none), nor bucket policies for signed-in
//! users, except denials, whose conditions it ignores as well. [`crate::iam`] evaluates those.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::moto::{MotoServer, VARIABLE};
use crate::s3::{RequestHead, client_env};

const SCRIPT: &str = include_str!("moto_iam.py");

/// A user of a moto server.
#[derive(Clone, Debug)]
pub struct IamUser {
    access_key: String,
    secret_key: String,
    endpoint: String,
}

impl IamUser {
    /// Returns the variables that make an S3 client this user.
    pub fn env(&self) -> Vec<(String, String)> {
        client_env(&self.endpoint, &self.access_key, &self.secret_key)
    }

    fn json(&self) -> Value {
        json!({ "access_key": self.access_key, "secret_key": self.secret_key })
    }
}

/// The answer to a request: its status, and the S3 error code if its body contains one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub code: String,
}

impl Answered {
    /// Returns whether it was refused because of missing permission. The answer to a HEAD has no body.
    pub fn is_refused(&self) -> bool {
        self.code == "AccessDenied" || (self.status == 403 && self.code.is_empty())
    }
}

impl MotoServer {
    /// Creates users, each with a policy.
    pub fn create_users(&self, users: &[(&str, &str)]) -> Vec<IamUser> {
        let made = self.ask(json!({ "do": "users", "users": users }));
        let made = made.as_array().expect("a list of users");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let user = |user: &Value| IamUser {
            access_key: text(&user["access_key"]),
            secret_key: text(&user["secret_key"]),
            endpoint: self.endpoint(),
        };
        made.iter().map(user).collect()
    }

    /// From now on, allows only requests of users, and only those that their policies allow.
    pub fn enforce_iam(&self) {
        self.ask(json!({ "do": "enforce" }));
    }

    /// Sends requests as a user, one after the other.
    pub fn send_as(&self, user: &IamUser, requests: &[RequestHead], body: &str) -> Vec<Answered> {
        let line = |request: &RequestHead| {
            let RequestHead { method, path, query, headers, .. } = request;
            let body = if ["PUT", "POST"].contains(&method.as_str()) { body } else { "" };
            json!([method, path, query, headers, body])
        };
        let requests: Vec<Value> = requests.iter().map(line).collect();
        let answers = self.ask(json!({ "do": "send", "user": user.json(), "requests": requests }));
        let answers: &Vec<Value> = answers.as_array().expect("a list of answers");
        assert_eq!(answers.len(), requests.len());
        let answered = |answer: &Value| Answered {
            status: answer[0].as_u64().and_then(|n| n.try_into().ok()).expect("a status"),
            code: answer[1].as_str().expect("a code").to_owned(),
        };
        answers.iter().map(answered).collect()
    }

    /// Sets a bucket policy and a lifecycle configuration with boto3. Returns what moto has stored of them, as `policy`
    /// and `rules`.
    pub fn set_bucket(&self, bucket: &str, policy: &str, lifecycle: &str) -> Value {
        let command = json!({
            "do": "settings", "bucket": bucket, "policy": policy, "lifecycle": lifecycle,
        });
        self.ask(command)
    }

    fn ask(&self, mut command: Value) -> Value {
        command["endpoint"] = json!(self.endpoint());
        let mut child = python()
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the Python of moto starts");
        let mut stdin = child.stdin.take().expect("a piped stdin");
        stdin.write_all(command.to_string().as_bytes()).expect("the script reads");
        drop(stdin);
        let output = child.wait_with_output().expect("the script ends");
        assert!(output.status.success(), "the script failed at {}", command["do"]);
        serde_json::from_slice(&output.stdout).expect("the script answers in JSON")
    }
}

/// Returns the Python interpreter for which moto is installed; see `testkit/moto.sh` for the two ways.
fn python() -> Command {
    let program = std::env::var_os(VARIABLE).expect("a moto server is running");
    let folder = Path::new(&program).parent().expect("a program is in a folder");
    let own = folder.join("python");
    if own.exists() {
        return Command::new(own);
    }
    let mut command = Command::new(std::env::var_os("PYTHON").unwrap_or("python3".into()));
    command.env("PYTHONPATH", folder.with_file_name("lib"));
    command
}
