//! Thaw jobs: icecore asks before it pays for one, on every computer that fetches it; the list of jobs is correct, and
//! the exit code shows a script what happened.

use icecore_testkit::{ObjectInfo, S3Server};
use serde_json::Value;

use crate::support::{BUCKET, Host, word, write};
use crate::terminal::typing;
use crate::thaw::{HOURS, archive, job_of, other_machine, same, shoot, thawed_once};

fn order(host: &Host) -> String {
    let line = "--json restore latest:photos -t out --detach --max-cost 1";
    job_of(&host.run(line).exits(20).summary())[..8].to_owned()
}

#[test]
fn a_history_that_an_order_restores_is_not_ended() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let job = order(&host);
    let history = host.run("--json retire").ok().json()[0]["id"].clone();
    let history = history.as_str().expect("an id").to_owned();
    for line in ["", " -n"] {
        host.run(&format!("retire {history}{line}")).fails(2, &["restores snapshot", &job]);
    }
    host.run(&format!("jobs cancel {job}")).ok();
    host.run(&format!("retire {history}")).ok();
}

/// What keeps a snapshot is named completely, so that its user does not end one job and is refused again.
#[test]
fn every_order_that_keeps_a_snapshot_is_named() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let part = "--json restore latest:photos --include IMG_01000.CR3 -t part --detach --max-cost 1";
    let jobs = [order(&host), job_of(&host.run(part).exits(20).summary())[..8].to_owned()];
    crate::thaw::shoot(&host, "oslo", 9, 2);
    host.run("snapshot photos").ok();
    let cancel = jobs.each_ref().map(|job| format!("icecore jobs cancel {job}")).join(" && ");
    let both = format!("because jobs {} and {} restore it", jobs[0], jobs[1]);
    let pruned = host.run("prune -n --keep-last 1").ok();
    assert!(pruned.stderr.contains(&both) && pruned.stderr.contains(&cancel), "{pruned:#?}");
    let both = format!("jobs {} and {} restore snapshot", jobs[0], jobs[1]);
    host.run("prune --now --yes --forget latest~1").fails(2, &[&both, &cancel]);
    // Those are commands that can be pasted, and after them nothing keeps the snapshot.
    for job in &jobs {
        host.run(&format!("jobs cancel {job}")).ok();
    }
    let pruned = host.run("--json prune --keep-last 1").ok().summary();
    assert_eq!(pruned["snapshots_dropped"], 1, "{pruned}");
}

#[test]
fn detach_and_wait_agree_to_no_price() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    for line in [
        "restore latest:photos -t out --detach",
        "restore latest:photos -t out --wait",
        "check --read-data --detach",
        "check --read-data --wait",
    ] {
        host.run(line).fails(21, &["nothing was requested", "--max-cost USD agrees to a price"]);
        for (answer, code) in [("", 21), ("n", 21)] {
            let question = [("It costs less than 1 cent", answer)];
            let Some((ended, said)) = typing(&host, line, &question) else { return };
            assert_eq!(ended, code, "{line}: {said}");
        }
    }
    assert_eq!(server.restores(), []);
    assert!(host.run("jobs").ok().stdout.is_empty());
    let yes = [("It costs less than 1 cent", "y")];
    let (ended, said) =
        typing(&host, "restore latest:photos -t out --detach", &yes).expect("asked");
    assert_eq!(ended, 20, "{said}");
    assert!(thawed_once(&server) > 0);
}

#[test]
fn an_order_that_another_computer_fetches_stays_open_for_the_first() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    let photos = host.state("photos");
    let job = order(&host);
    let first = server.restores()[0].clone();
    server.thaw(&first.bucket, &first.key);
    host.run(&format!("jobs resume {job}")).exits(20);
    server.advance(48 * HOURS);
    let other = other_machine(&server, &host);
    let ran = other.run(&format!("jobs resume {job} --target there")).ok();
    let note = format!("job {job} stays open for ");
    assert!(ran.stderr.contains(&note) && ran.stderr.contains("jobs cancel"), "{ran:#?}");
    same(&other, &photos, "there");
    // The job can also be fetched into another folder on this computer. It ends only on the computer where it began.
    host.run(&format!("jobs resume {job} --target more")).ok();
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    thawed_once(&server);
    assert!(host.run("jobs").ok().stdout.is_empty());
}

#[test]
fn an_order_that_has_ended_restores_nothing_and_says_so() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    let job = order(&host);
    host.run(&format!("jobs cancel {job}")).ok();
    let words = ["has ended already", "this run has restored nothing", "start the restore again"];
    host.run(&format!("jobs resume {job}")).fails(4, &words);
    host.run(&format!("--json jobs resume {job}")).exits(4);
    // The goal of these commands is already reached, so they succeed.
    for line in [format!("jobs cancel {job}"), format!("jobs {job}")] {
        assert!(host.run(&line).ok().stdout.contains("has ended already"));
    }
}

#[test]
fn a_second_order_makes_a_thaw_no_faster_and_says_so() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    order(&host);
    let thaws = server.restores().len();
    let hurried = "restore latest:photos --target fast --tier standard --detach --max-cost 1";
    let ran = host.run(hurried).exits(20);
    assert_eq!(server.restores().len(), thaws, "nothing is requested twice");
    assert!(ran.stderr.contains("--tier standard does not make it faster"), "{ran:#?}");
    let jobs = host.run("--json jobs").ok().json();
    let by = |at: usize| jobs[at]["ready_by"].as_str().expect("a time").to_owned();
    // The thaw was requested by the first order, so the second is ready no later.
    assert_eq!(by(1), by(0), "{jobs:?}");
    server.advance(47 * HOURS);
    host.run(hurried).exits(20);
    server.advance(2 * HOURS);
    host.run(hurried).ok();
}

#[test]
fn an_order_of_another_computer_needs_a_target_here() {
    let server = S3Server::start();
    let mut host = archive(&server, &[("rome", 1)]);
    host.set("ICECORE_HOST", "studio");
    let job = order(&host);
    server.advance(48 * HOURS);
    host.unset("ICECORE_HOST");
    host.run(&format!("jobs resume {job}")).fails(2, &["was started on studio", "--target DIR"]);
    host.run(&format!("jobs resume {job} --target here")).ok();
    // Whichever way this computer has got its name, it is the same one.
    write(
        &host.path("config/home.toml"),
        format!("repo = 's3://{BUCKET}/photos'\nhost = 'studio'\n"),
    );
    host.run(&format!("-P home jobs resume {job}")).ok();
}

#[test]
fn what_can_be_fetched_and_what_has_expired_is_said() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let job = order(&host);
    let shown = || host.run(&format!("jobs {job}")).ok().stdout;
    let resume = format!("icecore jobs resume {job}");
    let text = shown();
    assert!(text.contains("thawing; ") && text.contains(&resume), "{text}");
    server.advance(48 * HOURS);
    let text = shown();
    for words in ["everything can be fetched now", "the first copy expires on", &resume, "thawed"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("warm") && !text.contains("by "), "{text}");
    server.advance(60 * 24 * HOURS);
    let list = host.run("jobs").ok().stdout;
    assert!(list.contains("no: the thaw has expired"), "{list}");
    let line = host.run("--json jobs").ok().json().remove(0);
    assert_eq!((&line["ready"], &line["thaw_requested"]), (&false.into(), &true.into()), "{line}");
    let text = shown();
    for words in ["must be thawed again", "expired", &resume, "frozen"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    host.run(&format!("jobs resume {job}")).fails(21, &["has expired", "--max-cost"]);
}

#[test]
fn an_order_whose_listings_are_frozen_is_listed_like_others() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    server.move_to_class(BUCKET, "photos/meta/", "GLACIER");
    let job = order(&host);
    assert!(thawed_once(&server) > 0);
    let listed = host.run("--json jobs").ok().json().remove(0);
    assert_eq!(listed["thaw_requested"], true, "{listed}");
    assert_eq!(listed["ready"], false, "{listed}");
    let list = host.run("jobs").ok().stdout;
    assert!(list.contains("folder listings by "), "{list}");
    let shown = host.run(&format!("jobs {job}")).ok().stdout;
    let [header, row] = [0, 1].map(|line| shown.lines().nth(line).unwrap_or_default());
    assert!(header.contains("ready") && row.contains(&job), "{shown}");
    assert!(shown.contains("thawing; ") && shown.contains("icecore jobs resume"), "{shown}");
    let detail = host.run(&format!("--json jobs {job}")).ok().summary();
    assert_eq!(detail["stage"], "listings", "{detail}");
    assert_eq!(detail["thaw_requested"], true, "{detail}");
}

#[test]
fn an_order_whose_snapshot_was_rewritten_says_what_to_do() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 2)]);
    let job = order(&host);
    let warned = format!("job {job} restores snapshot ");
    for line in [" -n", ""] {
        let ran = host.run(&format!("rewrite --exclude photos/rome/IMG_01000.xmp{line}")).ok();
        let end = format!(
            "cannot continue after this: resume it first, or end it: icecore jobs cancel {job}"
        );
        assert!(ran.stderr.contains(&warned) && ran.stderr.contains(&end), "{ran:#?}");
    }
    let list = host.run("jobs").ok().stdout;
    assert!(list.contains("no: its snapshot was replaced or dropped"), "{list}");
    // `status` asks for no password, so it does not know what the restore waits for.
    let here = host.path("photos").display().to_string();
    let profile = format!("repo = 's3://{BUCKET}/photos'\nsources = ['{here}']\n");
    write(&host.path("config/home.toml"), profile);
    let status = host.run("-P home status").stdout;
    assert!(
        status.contains("1 restore has not ended: `icecore -P home jobs` lists it"),
        "{status}"
    );
    // A lost cache makes no restore forgotten.
    host.remove("cache");
    let again = host.run("-P home status").stdout;
    assert_eq!(again.lines().last(), status.lines().last(), "{again}");
    let cancel = format!("icecore jobs cancel {job}");
    let words = ["a rewrite has replaced it", "start the restore again", &cancel];
    server.advance(48 * HOURS);
    for line in [format!("jobs resume {job}"), format!("jobs {job}")] {
        host.run(&line).fails(4, &words);
    }
    host.run(&format!("jobs cancel {job}")).ok();
    assert!(host.run("jobs").ok().stdout.is_empty());
}

/// The target of such a restore is the root of the disk, but "to /" would alarm the user.
#[test]
fn an_order_to_the_original_places_says_so() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1), ("oslo", 1)]);
    let [rome, oslo] = ["rome", "oslo"].map(|name| word(&host.path("photos").join(name)));
    host.run(&format!("snapshot --history both {rome} {oslo}")).ok();
    let line =
        "restore latest --history both --to-original --overwrite always --detach --max-cost 1";
    std::fs::remove_dir_all(host.path("photos")).expect("a disk dies");
    for name in ["rome", "oslo"] {
        std::fs::create_dir_all(host.path("photos").join(name)).expect("a new disk");
    }
    host.run(line).exits(20);
    let listed = host.run("jobs").ok();
    assert!(listed.stdout.contains("to where they were"), "{listed:#?}");
    assert!(!listed.stdout.lines().any(|line| line.trim_end().ends_with("to /")), "{listed:#?}");
}

/// Tests a job some of whose thawed copies have expired.
#[test]
fn what_has_partly_expired_is_counted_priced_and_not_called_ready() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    let photos = host.state("photos");
    let job = order(&host);
    server.advance(48 * HOURS);
    let thaws = server.restores();
    let all = thaws.len();
    assert!(all > 2 && server.freeze(BUCKET, &thaws[0].key), "{thaws:?}");
    let list = host.run("jobs").ok().stdout;
    assert!(list.contains(&format!("1 of {all} must be thawed again")), "{list}");
    let line = host.run("--json jobs").ok().json().remove(0);
    assert_eq!((&line["ready"], &line["ready_by"]), (&false.into(), &Value::Null), "{line}");
    let shown = host.run(&format!("jobs {job}")).ok().stdout;
    let rest = all - 1;
    for words in [
        format!("1 of {all} objects must be thawed again, because its thawed copy has expired."),
        format!(
            "It costs less than 1 cent. The other {rest} can be read now. This asks: icecore jobs"
        ),
        "temporary copy".to_owned(),
    ] {
        assert!(shown.contains(&words), "{words}: {shown}");
    }
    let detail = host.run(&format!("--json jobs {job}")).ok().summary();
    assert_eq!(
        (&detail["cold_packs"], detail["tiers"].as_array().map(Vec::len)),
        (&1.into(), Some(2))
    );
    // The copies that are still readable were paid for, so they are fetched although the user does not agree to further
    // thaws.
    let words = [
        "1 object of this restore must still be thawed",
        "nothing was requested; ",
        "restored from what can still be read",
    ];
    host.run(&format!("jobs resume {job}")).fails(21, &words);
    assert_eq!(server.restores().len(), all);
    let left = host.run(&format!("--json jobs {job}")).ok().summary();
    assert_eq!((&left["cold_packs"], &left["warm_packs"]), (&1.into(), &0.into()), "{left}");
    host.run(&format!("jobs resume {job} --max-cost 1")).exits(20);
    server.advance(48 * HOURS);
    host.run(&format!("jobs resume {job}")).ok();
    same(&host, &photos, "out");
    assert_eq!(server.restores().len(), all + 1);
}

#[test]
fn a_later_order_is_ready_when_the_earlier_one_is() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 1)]);
    let job = order(&host);
    let first = host.run(&format!("jobs {job}")).ok().stdout;
    let by = |text: &str| {
        let (_, after) = text.split_once("will be ready by ").expect("a time");
        after.split_once(" at the latest").expect("a time").0.to_owned()
    };
    assert_eq!(move_requests_back(&host), server.restores().len());
    let earlier = host.run(&format!("jobs {job}")).ok().stdout;
    assert_ne!(by(&earlier), by(&first));
    let line = "restore latest:photos --target other --detach --max-cost 1";
    assert_eq!(by(&host.run(line).exits(20).stdout), by(&earlier));
    let checked = host.run("check --read-data --max-cost 1").exits(20);
    assert_eq!(by(&checked.stdout), by(&earlier), "{checked:#?}");
    let line = "--json restore latest:photos --target third --detach --max-cost 1";
    let hours = host.run(line).exits(20).summary()["hours"].as_u64().expect("hours");
    assert!((27..=28).contains(&hours), "{hours}");
}

/// Moves the recorded requests of thaws back by 20 hours, as if this were the next day. Returns the number of requests.
pub fn move_requests_back(host: &Host) -> usize {
    let catalog = crate::bitrot::catalog(&host.path("cache"));
    let connection = rusqlite::Connection::open(catalog).expect("a catalog");
    let mut query = connection
        .prepare("SELECT key, value FROM meta WHERE key LIKE 'thaw of %'")
        .expect("a table");
    let rows: Vec<(String, Vec<u8>)> = query
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    let count = rows.len();
    for (key, mut value) in rows {
        let seconds = i64::from_be_bytes(value[..8].try_into().expect("a time")) - 20 * 3600;
        value[..8].copy_from_slice(&seconds.to_be_bytes());
        connection
            .execute("UPDATE meta SET value = ? WHERE key = ?", (value, &key))
            .expect("an update");
    }
    count
}

/// Returns the time in "ready by … at the latest".
pub fn latest(text: &str) -> String {
    let (_, after) = text.split_once("ready by ").unwrap_or_else(|| panic!("no time in {text}"));
    after.split_once(" at the latest").expect("a time").0.to_owned()
}

#[test]
fn each_object_is_ready_by_its_own_request() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    let part = "restore latest:photos --include IMG_01000.CR3 -t part --detach --max-cost 1";
    let bulk = latest(&host.run(part).exits(20).stdout);
    let before = server.restores().len();
    // The rest is requested with the faster tier, but the restore also needs what is thawing in bulk.
    let all = "restore latest:photos -t all --tier standard --detach --max-cost 1";
    let ran = host.run(all).exits(20);
    assert!(server.restores().len() > before, "{ran:#?}");
    assert!(ran.stderr.contains("--tier standard does not make it faster"), "{ran:#?}");
    assert_eq!(latest(&ran.stdout), bulk);
    let jobs = host.run("--json jobs").ok().json();
    assert_eq!(jobs[1]["ready_by"], jobs[0]["ready_by"], "{jobs:?}");
    let job = job_of(&jobs[1])[..8].to_owned();
    assert!(host.run("jobs").ok().stdout.matches(&format!("by {bulk}")).count() == 2);
    assert_eq!(latest(&host.run(&format!("jobs {job}")).ok().stdout), bulk);
    assert_eq!(latest(&host.run(&format!("jobs resume {job}")).exits(20).stdout), bulk);
    // The objects that were requested with the faster tier are ready earlier.
    let other = "restore latest:photos --include IMG_01011.CR3 -t other --detach --max-cost 1";
    assert_ne!(latest(&host.run(other).exits(20).stdout), bulk);
}

#[test]
fn a_request_of_other_objects_does_not_date_a_restore() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    let check = "check --read-data-subset 20% --tier standard --max-cost 1";
    host.run(&format!("{check} --detach")).exits(20);
    server.advance(13 * HOURS);
    host.run(check).ok();
    let line = "restore latest:photos --tier standard --detach --max-cost 1 -t";
    let first = latest(&host.run(&format!("{line} first")).exits(20).stdout);
    let second = host.run(&format!("--json {line} second")).exits(20).summary();
    assert!(second["hours"].as_u64().expect("hours") <= 12, "{second}");
    assert_eq!(latest(&host.run(&format!("{line} second")).exits(20).stdout), first);
}

#[test]
fn a_check_during_its_thaw_costs_nothing_and_keeps_its_date() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 6)]);
    let table = include_str!("../../../engine/src/ops/cost/prices.toml");
    let dear = table
        .replace("egress_free_gb = 100", "egress_free_gb = 0")
        .replace("per_gb = 0.09 }", "per_gb = 9.0 }");
    write(&host.path("prices.toml"), dear);
    let order = "--prices prices.toml check --read-data --detach --tier standard --max-cost 5";
    let by = latest(&host.run(order).exits(20).stdout);
    let again = host.run("--prices prices.toml check --read-data").exits(20);
    assert_eq!(latest(&again.stdout), by, "{again:#?}");
    assert!(!again.stderr.contains("0 B"), "{again:#?}");
    server.advance(13 * HOURS);
    // Now they can be read, so the download has a price.
    host.run("--prices prices.toml check --read-data").fails(21, &["no photo data was read"]);
    host.run("--prices prices.toml check --read-data --max-cost 5").ok();
}

#[test]
fn a_whole_check_reads_more_than_the_part_that_waits_for_a_thaw() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    let packs = server.objects(BUCKET).iter().filter(|object| is_frozen(object)).count();
    host.run("check --read-data-subset 20% --detach --max-cost 1").exits(20);
    let part = server.restores().len();
    assert!(part > 0 && part < packs, "{part} of {packs}");

    // The whole check requests the rest, and the same command continues it.
    let line = "check --read-data --detach --max-cost 1";
    let whole = host.run(line).exits(20);
    assert!(!whole.stderr.contains("continuing"), "{whole:#?}");
    assert_eq!(server.restores().len(), packs);
    server.advance(49 * HOURS);
    let ended = host.run(line).ok();
    assert!(ended.stderr.contains("continuing"), "{ended:#?}");
    assert!(ended.stdout.contains("(100 %)"), "{ended:#?}");
    assert_eq!(server.restores().len(), packs);

    // The next one begins again. It does not read what is stored while it waits, and says so.
    server.advance(10 * 24 * HOURS);
    host.run(line).exits(20);
    shoot(&host, "oslo", 2, 3);
    host.run("snapshot photos").ok();
    server.advance(49 * HOURS);
    let ended = host.run(line).ok();
    let newer = "stored after this check began";
    assert!(ended.stdout.contains(newer) && !ended.stdout.contains("(100 %)"), "{ended:#?}");
    let next = host.run(line).exits(20);
    assert!(!next.stdout.contains(newer), "{next:#?}");
}

#[test]
fn a_larger_share_is_not_ended_by_the_smaller_one_that_waits() {
    let server = S3Server::start();
    let host = archive(&server, &[("rome", 12)]);
    let packs = server.objects(BUCKET).iter().filter(|object| is_frozen(object)).count();
    let check = |share: &str| format!("check --read-data-subset {share} --detach --max-cost 1");
    host.run(&check("20%")).exits(20);
    // A share that is no larger continues it.
    assert!(host.run(&check("10%")).exits(20).stderr.contains("continuing"));
    let all = host.run(&check("100%")).exits(20);
    assert!(!all.stderr.contains("continuing"), "{all:#?}");
    assert_eq!(server.restores().len(), packs);
    server.advance(49 * HOURS);
    let ended = host.run(&check("100%")).ok();
    assert!(ended.stdout.contains("(100 %)"), "{ended:#?}");
    assert_eq!(server.restores().len(), packs);
}

fn is_frozen(object: &ObjectInfo) -> bool {
    object.storage_class == "DEEP_ARCHIVE"
}
