//! The second decoder (`engine/tests/decoder`), a reader in Python that was written from the
//! specification alone. It restores the golden repository, and random archives that the program
//! creates and prunes, byte for byte. `ICECORE_DECODER_ARCHIVES` sets the number of archives.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::left_out;

#[test]
fn a_second_decoder_restores_golden_and_random_archives() {
    let python = std::env::var_os("ICECORE_DECODER").filter(|value| !value.is_empty());
    let Some(python) = python else {
        return left_out("the second decoder", "ICECORE_DECODER is not set");
    };
    let count = std::env::var("ICECORE_DECODER_ARCHIVES").unwrap_or("5".to_owned());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests");
    let output = Command::new(python)
        .arg(tests.join("decoder/run.py"))
        .arg("--golden")
        .arg(tests.join("vectors/v1"))
        .args(["--program", env!("CARGO_BIN_EXE_icecore"), "--count", &count])
        .stdin(Stdio::null())
        .output()
        .expect("Python starts");
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.contains("golden: ") && out.contains("random: "), "{out}{err}");
    println!("{out}");
}
