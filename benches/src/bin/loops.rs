//! Runs one hot loop a given number of times, for profilers that count instructions.

use std::env;

use anyhow::{Context, Result};
use icecore_benches::loops;

/// Without a name and a count, prints the names.
fn main() -> Result<()> {
    let mut loops = loops::all()?;
    let mut args = env::args().skip(1);
    let (Some(name), Some(count)) = (args.next(), args.next()) else {
        loops.iter().for_each(|each| println!("{}", each.name));
        return Ok(());
    };
    let found = loops.iter_mut().find(|each| each.name == name);
    let each = found.with_context(|| format!("there is no loop called {name}"))?;
    for _ in 0..count.parse()? {
        (each.run)();
    }
    Ok(())
}
