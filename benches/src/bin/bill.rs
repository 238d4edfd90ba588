//! Compares what a bucket costs with icecore and with restic: requests as the server counts them, and their price.
//!
//! Both archive the same library into the S3 server of the tests three times: at first, unchanged, and after a week of
//! work. Stored bytes are priced by their class.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use icecore_benches::library::{self, Spec, age_week};
use icecore_benches::size;
use icecore_engine::ops::cost::Prices;
use icecore_engine::store::Requests;
use icecore_testkit::S3Server;

#[derive(Parser)]
#[command(about = "Count the requests of icecore and restic at a bucket, and price them")]
struct Args {
    #[arg(long, default_value = "target/release/icecore")]
    icecore: PathBuf,
    #[arg(long, default_value = "restic")]
    restic: PathBuf,
    /// Size of the library that is archived
    #[arg(long, default_value = "1G")]
    size: String,
}

const BUCKET: &str = "archive";
/// Without this option, restic requests the location of the bucket.
const REGION: &str = "s3.region=us-east-1";

/// A program, and the storage class of its photo data.
#[derive(Clone, Copy)]
enum Scheme {
    Icecore(&'static str),
    Restic,
}

const SCHEMES: [Scheme; 3] =
    [Scheme::Icecore("DEEP_ARCHIVE"), Scheme::Icecore("STANDARD"), Scheme::Restic];

impl Scheme {
    fn title(self) -> String {
        match self {
            Scheme::Icecore(class) => format!("icecore, {class}"),
            Scheme::Restic => "restic, STANDARD".to_owned(),
        }
    }

    /// Returns the command lines that create a repository and a snapshot.
    fn commands(self, args: &Args, library: &Path) -> [(PathBuf, Vec<String>); 2] {
        let library = library.to_string_lossy().into_owned();
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let [init, take]: [Vec<String>; 2] = match self {
            Scheme::Icecore(class) => [
                words(&["--quiet", "init", "--pack-class", class]),
                words(&["--quiet", "snapshot", &library]),
            ],
            Scheme::Restic => [
                words(&["-q", "-o", REGION, "init", "--repository-version", "2"]),
                words(&["-q", "-o", REGION, "backup", "--compression", "auto", &library]),
            ],
        };
        let program = match self {
            Scheme::Icecore(_) => &args.icecore,
            Scheme::Restic => &args.restic,
        };
        [(program.clone(), init), (program.clone(), take)]
    }
}

fn main() -> Result<()> {
    let mut args = Args::parse();
    args.icecore = args.icecore.canonicalize().context("icecore is not built")?;
    let prices = Prices::built_in(None);
    let restic = Command::new(&args.restic).arg("version").stdout(Stdio::null()).status().is_ok();
    if !restic {
        eprintln!("restic does not run: left out");
    }
    println!("| | first snapshot | | nothing changed | | a week later | | kept | |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    println!("| | requests | $ | requests | $ | requests | $ | bytes | $ a month |");
    for scheme in SCHEMES.into_iter().filter(|scheme| restic || !matches!(scheme, Scheme::Restic)) {
        println!("{}", measure(&args, scheme, &prices)?);
    }
    println!("\nPrices of {} in {}, {}", prices.date, prices.region, prices.source);
    Ok(())
}

fn measure(args: &Args, scheme: Scheme, prices: &Prices) -> Result<String> {
    let work = tempfile::tempdir()?;
    let library = work.path().join("library");
    let bytes = size::parse(&args.size)?;
    library::generate(&library, &Spec { seed: 1, bytes })?;
    let server = S3Server::start();
    server.create_bucket(BUCKET);
    let [init, take] = scheme.commands(args, &library);
    let run = |(program, args): &(PathBuf, Vec<String>)| -> Result<()> {
        let ended = Command::new(program)
            .args(args)
            .current_dir(work.path())
            .envs(server.env())
            .env("HOME", work.path())
            .env("XDG_CACHE_HOME", work.path().join("cache"))
            .env("ICECORE_REPOSITORY", format!("s3://{BUCKET}/photos"))
            .env("ICECORE_CONFIG_DIR", work.path().join("config"))
            .env("ICECORE_CACHE_DIR", work.path().join("cache"))
            .env("ICECORE_PASSWORD", "of a bench")
            .env("RESTIC_REPOSITORY", format!("s3:{}/{BUCKET}/photos", server.endpoint()))
            .env("RESTIC_PASSWORD", "of a bench")
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("{} does not run", program.display()))?;
        ensure!(ended.success(), "{} {args:?}: {ended}", program.display());
        Ok(())
    };
    run(&init)?;
    let mut row = format!("| {} |", scheme.title());
    for week in 0..3 {
        if week == 2 {
            age_week(&library, 1, 1)?;
        }
        server.clear_requests();
        run(&take)?;
        let asked = server.requests();
        let bill = prices.bill(&requests(&asked));
        let sign = format!(" {} | {:.4} |", asked.len(), bill.request_usd + bill.retrieval_usd);
        row.push_str(&sign);
    }
    let objects = server.objects(BUCKET);
    let kept: u64 = objects.iter().map(|object| object.size).sum();
    let dollars: f64 =
        objects.iter().map(|object| prices.storage(&object.storage_class, object.size)).sum();
    row.push_str(&format!(" {} | {dollars:.4} |", size::human(kept)));
    Ok(row)
}

/// Counts the requests to a server by their price on Amazon: DELETE is free, and every request except GET and HEAD of
/// an object has the price of a PUT.
fn requests(asked: &[icecore_testkit::Request]) -> Requests {
    let mut sum = Requests::default();
    for request in asked {
        let class = request.class.clone().unwrap_or_default();
        let is_object = request.path.trim_matches('/').contains('/');
        match request.method.as_str() {
            "DELETE" => {}
            "POST" if request.query.starts_with("delete") => {}
            "GET" | "HEAD" if is_object => {
                let of_class = sum.class(&class);
                of_class.get += 1;
                of_class.bytes_fetched += request.bytes_out;
            }
            "GET" | "HEAD" => sum.list += 1,
            _ => sum.class(&class).put += 1,
        }
    }
    sum
}
