//! The whole life of a photo: creates an archive, stores the photo, prices its restore, and restores it.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use icecore_engine::archive::*;

/// Counts finished bytes.
#[derive(Default)]
struct Counter(AtomicU64);

impl Progress for Counter {
    fn advance(&self, _files: u64, bytes: u64) {
        let done = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        eprint!("\r{done} bytes");
    }
}

fn main() -> Result<(), Error> {
    let photo = std::env::args().nth(1).expect("usage: restore_one_photo PHOTO");
    let photo = std::fs::canonicalize(photo).expect("the photo is there");
    let now = Time::from(SystemTime::now());
    let place = Place::new("./example-archive", Path::new("./example-state"))?;
    let (archive, _) = Archive::init(&place, InitOptions::new("a long password", now))?;
    let options = SnapshotOptions::of([photo.clone()], "example", now);
    archive.snapshot(&options, &Counter::default())?;

    let mut request = RestoreRequest { snapshot: "latest".into(), ..RestoreRequest::default() };
    request.path = photo;
    request.options.target = "./example-restored".into();
    let plan = archive.plan_restore(&request, &Silent)?;
    let quote = archive.quote(&plan, Tier::Bulk, &Prices::built_in(None));
    println!("it costs ${:.2} and takes {} hours", quote.bill.total_usd(), quote.hours);
    let restored = archive.restore(&request, &Counter::default())?;
    println!("{} file restored", restored.files);
    Ok(())
}
