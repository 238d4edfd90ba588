//! The program as its users meet it: every test here runs the `icecore` binary and looks at what
//! it prints, what it returns, and what it left on disk. Nothing reaches into the engine, but that
//! hostile repositories are made by its types.

mod asked;
mod bad_input;
mod classes;
mod completion;
mod damage;
mod decoder;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod denied;
mod disk;
mod escapes;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod faults;
mod finding;
mod first_hour;
mod guide;
mod hints;
mod histories;
mod hostile;
mod keys;
mod kill;
mod living;
mod many;
mod mirror;
mod modes;
mod names;
mod narrow;
mod network;
mod newcomer;
mod nights;
mod notified;
mod orders;
mod outages;
mod page;
mod patterns;
mod peers;
mod pipes;
mod places;
mod policy;
mod posture;
mod profiles;
mod progress;
mod promise;
mod proof;
mod prune;
mod reference;
mod rewrite;
mod rot;
mod rounds;
mod runs;
mod s3;
mod scheduled;
mod set_apart;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod sources;
mod sqlite;
mod statements;
mod steps;
mod support;
mod terminal;
mod thaw;
mod thaw_mishaps;
mod thief;
mod trace;
mod transcripts;
mod typed;
mod undelete;
mod verdicts;
mod versions;
mod waiting;
mod walks;
mod writers;
