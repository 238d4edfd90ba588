//! Cases of a hostile store, which has the objects but no keys: names, lengths and kinds of
//! objects, and objects under the names of others.

use std::fs;
use std::os::unix::fs::symlink;

use icecore_engine::codec::OpenedCheckpoint;
use icecore_engine::codec::random;
use icecore_engine::format::checkpoint::{Proof, Slot};
use icecore_engine::format::config::PUBLIC_KEY_BYTES;
use icecore_engine::format::{CheckpointHeader, Digest, KdfCost, PackKind, SlotId};
use icecore_engine::store::layout;

use super::Case;
use super::forge::{Forge, REPOSITORY};
use crate::support::PASSWORD;

const GIB: u64 = 1 << 30;

pub const CASES: &[Case] = &[
    ("no config", |f| stored(f, |f| fs::remove_file(f.path("config")).expect("removed"))),
    ("a config of 1 GiB", |f| stored(f, |f| f.put_hole("config", GIB))),
    ("a config of nothing", |f| stored(f, |f| f.put("config", ""))),
    ("a config of noise", |f| stored(f, |f| f.put("config", [0xc7; 1400]))),
    ("a config with other settings", |f| config(f, 1400)),
    ("a config with another repository", |f| config(f, 12)),
    ("a config with another public key", |f| config(f, 28)),
    ("a config with another chunking", |f| config(f, 1244)),
    ("a config with settings of 4 GiB", |f| {
        stored(f, |f| {
            let mut object = fs::read(f.path("config")).expect("config");
            let at = 28 + PUBLIC_KEY_BYTES + 16;
            object[at..at + 4].fill(0xff);
            f.put("config", object);
        });
    }),
    ("a config that is a pipe", |f| stored(f, |f| pipe(f, "config"))),
    ("a config that is a folder", |f| stored(f, |f| folder(f, "config"))),
    ("1,000 key slots", |f| {
        stored(f, |f| {
            let mine = slot(f, 0, |_| {});
            let mine = fs::File::options().write(true).open(f.path(&mine));
            let before = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1 << 30);
            mine.expect("a slot").set_modified(before).expect("a time");
            (1..1000u128).for_each(|n| _ = slot(f, n, |_| {}));
        });
        f.by_password = true;
    }),
    ("a key slot that wants 4 TiB of memory", |f| slots(f, |slot| slot[52..56].fill(0xff))),
    ("a key slot that wants 2^32 - 1 passes", |f| slots(f, |slot| slot[56..60].fill(0xff))),
    ("a key slot that wants 2^32 - 1 lanes", |f| slots(f, |slot| slot[60..64].fill(0xff))),
    ("a key slot with a label of 64 KiB", |f| slots(f, |slot| slot[128..130].fill(0xff))),
    ("a key slot with another salt", |f| slots(f, |slot| slot[64] ^= 1)),
    ("a key slot of 1 GiB", |f| {
        stored(f, |f| f.put_hole(&layout::key_slot(&SlotId([1; 16])), GIB));
        f.by_password = true;
    }),
    ("a key slot that is a pipe", |f| {
        stored(f, |f| pipe(f, &layout::key_slot(&SlotId([1; 16]))));
    }),
    ("a log that begins late", |f| {
        stored(f, |f| fs::remove_file(f.path(&layout::log(1))).expect("removed"))
    }),
    ("a log with a gap", |f| {
        stored(f, |f| {
            f.good();
            f.commit();
            fs::remove_file(f.path(&layout::log(2))).expect("removed");
        });
    }),
    ("a log with an entry 2^64 - 1", |f| stored(f, |f| f.put(&layout::log(u64::MAX), "noise"))),
    ("a log with an entry 0", |f| stored(f, |f| f.put(&layout::log(0), "noise"))),
    ("a log without entries", |f| {
        stored(f, |f| {
            fs::remove_dir_all(f.path("log")).expect("removed");
        })
    }),
    ("a log that is a file", |f| {
        stored(f, |f| {
            fs::remove_dir_all(f.path("log")).expect("removed");
            f.put("log", "noise");
        })
    }),
    ("a log entry of 100 MiB", |f| stored(f, |f| f.put_hole(&layout::log(3), 100 << 20))),
    ("a log entry of 100 GiB", |f| stored(f, |f| f.put_hole(&layout::log(3), 100 * GIB))),
    ("a log entry of 64 MiB of zeros", |f| stored(f, |f| f.put_hole(&layout::log(3), 64 << 20))),
    ("log entries that are swapped", |f| {
        stored(f, |f| swap(f, &layout::log(1), &layout::log(2)));
    }),
    ("a log entry that is a copy of the one before", |f| {
        stored(f, |f| {
            fs::copy(f.path(&layout::log(2)), f.path(&layout::log(3))).expect("a copy");
        });
    }),
    ("a log entry that is a pipe", |f| stored(f, |f| pipe(f, &layout::log(2)))),
    ("a log entry that is a symlink to endless zeros", |f| {
        stored(f, |f| link(f, &layout::log(2), "/dev/zero"));
    }),
    ("a log entry that is a folder", |f| stored(f, |f| folder(f, &layout::log(2)))),
    ("names under log that are no entries", |f| {
        stored(f, |f| {
            for name in ["x", "1", "0000000000000003x", "-000000000000003", "0000000000000003#7"] {
                f.put(&format!("log/{name}"), "noise");
            }
            f.put("log/0000000000000003/x", "noise");
        });
    }),
    ("names with line breaks, backslashes and dots", |f| {
        stored(f, |f| {
            for name in ["a\nb", "..\\..\\x", "..x", "a b", "%2e%2e", "\u{202e}x"] {
                for prefix in ["log", "keys", "packs", "meta", "checkpoints", "jobs"] {
                    f.put(&format!("{prefix}/{name}"), "noise");
                }
            }
        });
    }),
    ("10,000 packs that nobody knows", |f| {
        stored(f, |f| (0..10_000u128).for_each(|n| f.put(&format!("packs/{n:032x}"), "")));
    }),
    ("folders under packs, 200 deep", |f| {
        stored(f, |f| f.put(&format!("packs/{}x", "a/".repeat(200)), ""))
    }),
    ("a folder of packs that holds itself twice", |f| {
        stored(f, |f| {
            for name in ["packs/a", "packs/b"] {
                symlink(".", f.path(name)).expect("a symlink");
            }
        });
    }),
    ("a pack that is a pipe", |f| stored(f, |f| pipe(f, &pack(f, PackKind::Cold)))),
    ("a pack that is a folder", |f| stored(f, |f| folder(f, &pack(f, PackKind::Cold)))),
    ("a pack that is a symlink to endless zeros", |f| {
        stored(f, |f| link(f, &pack(f, PackKind::Cold), "/dev/zero"));
    }),
    ("a pack that is a symlink to itself", |f| {
        stored(f, |f| {
            let name = pack(f, PackKind::Cold);
            link(f, &name, f.path(&name).to_str().expect("a path"));
        });
    }),
    ("a pack that is a symlink to another file", |f| {
        stored(f, |f| {
            // The length is part of the verdict, so use a file of this test instead of one of the
            // host.
            f.put("another-file", [7; 1000]);
            let file = f.path("another-file");
            link(f, &pack(f, PackKind::Cold), file.to_str().expect("a path"));
        });
    }),
    ("a pack of 100 GiB of nothing", |f| {
        stored(f, |f| f.put_hole(&pack(f, PackKind::Cold), 100 * GIB))
    }),
    ("a pack of trees of 100 GiB of nothing", |f| {
        stored(f, |f| f.put_hole(&pack(f, PackKind::Meta), 100 * GIB));
    }),
    ("packs that are swapped", |f| {
        stored(f, |f| swap(f, &pack(f, PackKind::Cold), &pack(f, PackKind::Meta)));
    }),
    ("a pack of an older state", |f| {
        stored(f, |f| {
            let chunk = f.chunk(PackKind::Cold, b"good");
            let other = f.pack(PackKind::Cold, &[chunk]);
            f.put(&pack(f, PackKind::Cold), other.object);
        });
    }),
    ("checkpoints of noise", |f| {
        stored(f, |f| {
            entries(f);
            f.put("checkpoints/0000000000000001-0000000000000032", [0xc7; 5000]);
        });
    }),
    ("a checkpoint of 100 GiB", |f| {
        stored(f, |f| {
            entries(f);
            f.put_hole("checkpoints/0000000000000001-0000000000000032", 100 * GIB);
        });
    }),
    ("a checkpoint that claims 2^60 entries", |f| {
        checkpoint(f, |object| object[36..44].copy_from_slice(&(1u64 << 60).to_le_bytes()));
    }),
    ("a checkpoint without its second part", |f| checkpoint(f, |object| object.truncate(17_000))),
    ("a checkpoint with one changed bit", |f| checkpoint(f, |object| object[300] ^= 1)),
    ("a checkpoint that hides entries", |f| {
        folded(f, |slots| {
            for slot in &mut slots[..31] {
                *slot = (Slot { digest: Digest([7; 32]), content: None }, None);
            }
        });
    }),
    ("names under checkpoints that are none", |f| {
        stored(f, |f| {
            entries(f);
            for name in [
                "0000000000000001-0000000000000033",
                "18446744073709551585-18446744073709551616",
                "x",
            ] {
                f.put(&format!("checkpoints/{name}"), "noise");
            }
        });
    }),
    ("a job of noise", |f| {
        stored(f, |f| {
            let job = "jobs/01010101010101010101010101010101";
            f.put(&format!("{job}/record"), [0xc7; 5000]);
            f.put(&format!("{job}/asked"), "");
        });
    }),
];

/// Makes a repository of two entries with one snapshot each, and then changes it.
fn stored(f: &mut Forge, change: impl FnOnce(&mut Forge)) {
    f.good();
    f.commit();
    f.good();
    f.commit();
    change(f);
}

fn config(f: &mut Forge, at: usize) {
    stored(f, |f| {
        let mut object = fs::read(f.path("config")).expect("config");
        let at = at.min(object.len() - 40);
        object[at] ^= 4;
        f.put("config", object);
    });
}

fn pipe(f: &mut Forge, name: &str) {
    f.put(name, "");
    fs::remove_file(f.path(name)).expect("removed");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, f.path(name), kind, mode, 0).expect("a pipe");
}

fn link(f: &mut Forge, name: &str, to: &str) {
    fs::remove_file(f.path(name)).expect("removed");
    symlink(to, f.path(name)).expect("a symlink");
}

fn folder(f: &mut Forge, name: &str) {
    fs::remove_file(f.path(name)).expect("removed");
    fs::create_dir(f.path(name)).expect("a folder");
}

fn swap(f: &mut Forge, a: &str, b: &str) {
    let (one, two) = (fs::read(f.path(a)).expect("one"), fs::read(f.path(b)).expect("two"));
    f.put(a, two);
    f.put(b, one);
}

/// Returns the name of the last pack of a kind in the log.
fn pack(f: &Forge, kind: PackKind) -> String {
    let found = f.added.iter().rev().find(|pack| pack.kind == kind).expect("a pack");
    layout::pack(kind, &found.id)
}

/// Adds enough entries for a checkpoint.
fn entries(f: &mut Forge) {
    while f.number <= 40 {
        f.commit();
    }
}

/// The record of an entry in a checkpoint, and its proof.
type Folded = (Slot, Option<Proof>);

/// Writes a checkpoint that was changed before it was sealed, as anyone with the credential can do.
fn folded(f: &mut Forge, change: fn(&mut Vec<Folded>)) {
    stored(f, |f| {
        entries(f);
        let object = made(f, change);
        f.put(&layout::checkpoint(&(1..=32)), object);
    });
}

fn checkpoint(f: &mut Forge, change: fn(&mut Vec<u8>)) {
    stored(f, |f| {
        entries(f);
        let mut object = made(f, |_| ());
        change(&mut object);
        f.put(&layout::checkpoint(&(1..=32)), object);
    });
}

fn made(f: &Forge, change: fn(&mut Vec<Folded>)) -> Vec<u8> {
    let slot = |number| {
        let object = fs::read(f.path(&layout::log(number))).expect("an entry");
        let opened = f.secrets.open_log(number, &object).expect("it opens");
        let digest = Digest(*blake3::hash(&object).as_bytes());
        (Slot { digest, content: Some(opened.content) }, Some(opened.proof))
    };
    let mut slots: Vec<Folded> = (1..=32).map(slot).collect();
    change(&mut slots);
    let (slots, proofs) = slots.into_iter().unzip();
    let header = CheckpointHeader { repository: REPOSITORY, first: 1, count: 32, salt: [5; 32] };
    let checkpoint = OpenedCheckpoint { header, slots, proofs };
    f.secrets.seal_checkpoint(&checkpoint).expect("a small one")
}

/// Writes a cheap key slot that was changed before its digest was computed.
fn slot(f: &mut Forge, number: u128, change: fn(&mut [u8])) -> String {
    let cost = KdfCost { memory_kib: 64, passes: 1, lanes: 1 };
    let password = PASSWORD.as_bytes();
    let slot = f.identity.seal_slot(REPOSITORY, password, "mine".to_owned(), 0, cost);
    let mut slot = slot.expect("a slot");
    slot.slot = if number == 0 { slot.slot } else { SlotId(random()) };
    let mut object = slot.encode();
    change(&mut object);
    let end = object.len() - 32;
    let digest = icecore_engine::codec::keys::digest(&[&object[..end]]);
    object[end..].copy_from_slice(&digest.0);
    let name = layout::key_slot(&slot.slot);
    f.put(&name, object);
    name
}

/// Makes a repository with one key slot, which is opened with a password.
fn slots(f: &mut Forge, change: fn(&mut [u8])) {
    stored(f, |f| _ = slot(f, 0, change));
    f.by_password = true;
}
