//! `credential_process` of the AWS files: a program that prints credentials.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use icecore_engine::store::Credentials;
use serde::Deserialize;

/// How long `credential_process` may take: a person may have to touch a key.
const PROCESS_MAX: Duration = Duration::from_secs(120);
/// Most bytes that it may print.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// What `credential_process` prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Printed {
    version: u32,
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
    expiration: Option<String>,
}

/// Runs `credential_process`. No message repeats what it prints.
pub fn run(process: &str) -> Result<Credentials, String> {
    let fail = |error: std::io::Error| format!("failed to run credential_process: {error}");
    let mut child = Command::new("sh")
        .args(["-c", process])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(fail)?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut printed = Vec::new();
        let read = stdout.map(|out| out.take(OUTPUT_BYTES_MAX).read_to_end(&mut printed));
        read.transpose().map(|_| printed)
    });
    let until = Instant::now() + PROCESS_MAX;
    let status = loop {
        match child.try_wait().map_err(fail)? {
            Some(status) => break status,
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(20)),
            None => {
                // It may have ended by now, which is as well.
                let _ = child.kill();
                let _ = child.wait();
                let seconds = PROCESS_MAX.as_secs();
                return Err(format!("credential_process did not end within {seconds} s"));
            }
        }
    };
    if !status.success() {
        return Err(format!("credential_process failed: {status}"));
    }
    let printed = reader.join().unwrap_or_else(|_| Ok(Vec::new())).map_err(fail)?;
    parse(&printed)
}

fn parse(printed: &[u8]) -> Result<Credentials, String> {
    let wrong = || "credential_process does not print credentials as the AWS tools read them";
    let printed: Printed = serde_json::from_slice(printed).map_err(|_| wrong())?;
    if printed.version != 1 {
        return Err(wrong().to_owned());
    }
    let expires = printed.expiration.map(|text| text.parse::<jiff::Timestamp>());
    let expires = expires.transpose().map_err(|_| wrong())?;
    Ok(Credentials {
        key_id: printed.access_key_id,
        secret_key: printed.secret_access_key,
        token: printed.session_token,
        expires: expires.map(Into::into),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_prints() {
        let text = r#"{"Version": 1, "AccessKeyId": "AKIA", "SecretAccessKey": "s",
            "SessionToken": "t", "Expiration": "2027-01-01T00:00:00Z"}"#;
        let read = parse(text.as_bytes()).expect("credentials");
        assert_eq!((&read.key_id[..], read.token.as_deref()), ("AKIA", Some("t")));
        assert!(read.expires.is_some());
        for wrong in ["", "{}", r#"{"Version": 2, "AccessKeyId": "a", "SecretAccessKey": "s"}"#] {
            let error = parse(wrong.as_bytes()).expect_err("no credentials");
            assert!(!error.contains("AKIA"), "{error}");
        }
        let shown = run("echo secret; exit 3").expect_err("it fails");
        assert!(shown.contains("exit status: 3") && !shown.contains("secret"), "{shown}");
    }
}
