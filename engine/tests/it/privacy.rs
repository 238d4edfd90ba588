//! A thief of the store and of the backup host finds no name, no path and no content.

use std::collections::BTreeSet;
use std::path::Path;

use icecore_engine::codec::{Identity, Secrets};
use icecore_engine::error::Error;
use icecore_engine::format::{Chunking, RepositoryId, Settings};
use icecore_engine::ops::cost::Prices;
use icecore_engine::ops::prune;
use icecore_engine::ops::snapshot::{SnapshotOptions, snapshot};
use icecore_engine::progress::Silent;
use icecore_engine::repo::{ChunkReader, Keys, Repository, StoredConfig, TreeReader};
use icecore_engine::store::{Location, Store, StoreOptions};
use icecore_testkit::photos;

fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push((path.display().to_string(), std::fs::read(&path).expect("a file")));
        }
    }
    found
}

#[test]
fn store_and_backup_host_together_reveal_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let library = dir.path().join("library");
    let secret_folder = library.join("Hochzeit-Zugspitze");
    std::fs::create_dir_all(&secret_folder).expect("a folder");
    let photo = photos::bytes(7, 700_000);
    std::fs::write(secret_folder.join("Kuss-unterm-Gipfelkreuz.cr3"), &photo).expect("a photo");
    let text = "Anmerkung: nur fuer Maria bestimmt. ".repeat(20);
    std::fs::write(secret_folder.join("Notizen-privat.txt"), &text).expect("a note");

    let store_dir = dir.path().join("store");
    std::fs::create_dir(&store_dir).expect("a folder");
    let location = Location::Folder(store_dir.clone());
    let open = || Store::open(&location, &StoreOptions::default()).expect("a store");
    let identity = Identity::generate();
    let config = identity.config(RepositoryId([9; 16]), Chunking::default(), Settings::default());
    Repository::create(&open(), &identity, &config).expect("a repository");
    let credential = identity.credential(config.repository);
    let cache = dir.path().join("cache");
    let stored = StoredConfig::read(&open()).expect("a config");
    let keys = Keys::Writer(Box::new(credential.clone()));
    let repository = Repository::open(open(), stored, keys, &cache).expect("it opens");
    let options = SnapshotOptions {
        paths: vec![library],
        host: "studio".to_owned(),
        ..SnapshotOptions::default()
    };
    snapshot(&repository, &options, &Silent).expect("a snapshot");

    // The credential can list and plan, but not read.
    assert_eq!(repository.catalog.snapshots().expect("a list").len(), 1);
    let terms = prune::reclaim::Terms { end_window: true, ..Default::default() };
    let prices = Prices::built_in(None);
    let now = icecore_engine::format::Time::default();
    prune::plan(&repository, &BTreeSet::new(), terms.at(&prices, now), &Silent).expect("a plan");
    assert!(matches!(TreeReader::new(&repository), Err(Error::NeedsIdentity)));
    assert!(matches!(ChunkReader::new(&repository), Err(Error::NeedsIdentity)));
    assert_eq!(Secrets::new(credential.clone()).repository(), config.repository);
    drop(repository);

    let mut all = files_below(&store_dir);
    all.extend(files_below(&cache));
    all.push(("the credential".to_owned(), credential.encode()));
    assert!(all.len() > 5, "objects and cache were found");
    let needles: [&[u8]; 6] = [
        b"Hochzeit",
        b"Zugspitze",
        b"Gipfelkreuz",
        b"Notizen",
        b"nur fuer Maria",
        &photo[300_000..300_016],
    ];
    for (name, content) in &all {
        for needle in needles {
            let found = content.windows(needle.len()).any(|window| window == needle);
            assert!(!found, "{name} reveals {}", String::from_utf8_lossy(needle));
        }
    }
}
