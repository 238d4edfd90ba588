//! Takes a snapshot of a folder into an archive, which is created if it does not exist.
//!
//! ```sh
//! cargo run --example snapshot -- ./archive ~/Pictures "a long password"
//! ```

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use icecore_engine::archive::{Archive, Error, InitOptions, Place, Silent, SnapshotOptions, Time};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(folder), Some(password)) = (args.next(), args.next(), args.next()) else {
        eprintln!("usage: snapshot ARCHIVE FOLDER PASSWORD");
        std::process::exit(2);
    };
    let now = Time::from(SystemTime::now());
    let place = Place::new(&url, Path::new("./icecore-state"))?;
    match Archive::init(&place, InitOptions::new(&password, now)) {
        Ok((_, identity)) => println!("print this and keep it: {}", *identity.to_text()),
        Err(Error::RepositoryExists { .. }) => {}
        Err(error) => return Err(error),
    }
    let archive = Archive::open_writer(&place, &Silent)?;
    let options = SnapshotOptions::of([PathBuf::from(folder)], "example", now);
    let done = archive.snapshot(&options, &Silent)?;
    println!("{} files, {} could not be read", done.totals.files(), done.totals.files_failed);
    Ok(())
}
