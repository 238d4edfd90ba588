//! Shows what restoring a folder from an archive costs, and how long its thaw takes. Changes nothing.
//!
//! ```sh
//! cargo run --example price_a_restore -- s3://bucket/photos "a long password" home/ann/Pictures/2024
//! ```

use std::path::Path;

use icecore_engine::archive::{Archive, Error, Key, Place, Prices, RestoreRequest, Silent, Tier};

fn main() -> Result<(), Error> {
    let mut args = std::env::args().skip(1);
    let (Some(url), Some(password)) = (args.next(), args.next()) else {
        eprintln!("usage: price_a_restore ARCHIVE PASSWORD [PATH]");
        std::process::exit(2);
    };
    let mut place = Place::new(&url, Path::new("./icecore-state"))?;
    let aws = std::env::vars().filter(|(name, _)| name.starts_with("AWS_"));
    place.store.settings = aws.map(|(name, value)| (name.to_lowercase(), value)).collect();
    let archive = Archive::open_reader(&place, &Key::password(&password), &Silent)?;
    let (snapshot, path) = ("latest".to_owned(), args.next().unwrap_or_default().into());
    let request = RestoreRequest { snapshot, path, ..RestoreRequest::default() };
    let plan = archive.plan_restore(&request, &Silent)?;
    println!("{} files, {} bytes, {} packs", plan.files, plan.bytes, plan.packs.len());
    for tier in [Tier::Bulk, Tier::Standard] {
        let quote = archive.quote(&plan, tier, &Prices::built_in(None));
        println!("{tier:?}: ${:.2}, ready within {} hours", quote.bill.total_usd(), quote.hours);
    }
    Ok(())
}
