//! Parsing a profile of arbitrary TOML gives a readable reason, never a panic. A path with `~/` stays below the home
//! directory.
#![no_main]
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/nightly/job.rs"]
mod job;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/args/keep.rs"]
mod keep;
#[path = "../../cli/src/nightly/mail_server.rs"]
mod mail_server;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/args/make.rs"]
mod make;
#[allow(dead_code, unused_imports, reason = "the program uses all of it")]
#[path = "../../cli/src/near.rs"]
mod near;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/parse.rs"]
mod parse;
#[allow(dead_code, unused_imports, reason = "the program uses all of it")]
#[path = "../../cli/src/profile/mod.rs"]
mod profile;
#[allow(dead_code, reason = "the program uses all of it")]
#[path = "../../cli/src/nightly/schedule.rs"]
mod schedule;

mod nightly {
    pub(crate) use super::job;
}

mod args {
    pub use super::keep::KeepArgs;
    pub use super::make::MakeArgs;
}

fuzz_target!(|text: &str| {
    match profile::Profile::parse(text) {
        Err(wrong) => assert!(!wrong.reason.is_empty()),
        Ok(profile) => match profile.clone().at(Some("/home/a".as_ref())) {
            Err(reason) => assert!(!reason.is_empty()),
            Ok(home) => {
                assert_eq!(home.identity.is_some(), profile.identity.is_some());
                assert!(home.keep.is_empty() == profile.keep.is_empty());
            }
        },
    }
});
