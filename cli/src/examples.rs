//! Examples of each command, for its help and its manual page.

/// Pairs of a purpose and the command line for it.
pub type Examples = &'static [(&'static str, &'static str)];

/// Examples of each command, by its name.
pub const EXAMPLES: &[(&str, Examples)] = &[
    (
        "setup",
        &[
            ("set up a backup step by step", "icecore setup"),
            (
                "the same from a script",
                "icecore setup --yes --source ~/Pictures --to /mnt/nas/archive --identity-page page.html",
            ),
            (
                "another profile, into a bucket; only show what would be done",
                "icecore -P cloud setup -n --yes --source ~/Pictures --to s3://my-bucket/photos --identity-page page.html",
            ),
        ],
    ),
    (
        "init",
        &[
            ("an archive on a NAS or a disk", "icecore --repo /mnt/nas/archive init --parity 10"),
            ("an archive in S3 Glacier Deep Archive", "icecore --repo s3://my-bucket/photos init"),
        ],
    ),
    (
        "snapshot",
        &[
            ("back up two folders", "icecore snapshot ~/Pictures /mnt/nas/raw"),
            ("leave out exports", "icecore snapshot --exclude '*/exports/' ~/Pictures"),
            (
                "every night, from cron: print warnings and errors only",
                "icecore -q snapshot ~/Pictures",
            ),
        ],
    ),
    (
        "snapshots",
        &[
            ("list all snapshots", "icecore snapshots"),
            ("only those of one computer", "icecore snapshots --host studio"),
        ],
    ),
    (
        "ls",
        &[
            (
                "list a folder of the newest snapshot",
                "icecore ls -l latest:/home/maria/Pictures/2024",
            ),
            ("list everything in it", "icecore ls -R latest"),
        ],
    ),
    ("find", &[("find raw files by name in all snapshots", "icecore find '*.CR3' 'IMG_0042.*'")]),
    ("history", &[("list all versions of a file", "icecore history ~/Pictures/2024/best.xmp")]),
    (
        "tag",
        &[
            ("tag the newest snapshot", "icecore tag add latest best"),
            ("remove a tag from it", "icecore tag remove latest best"),
        ],
    ),
    (
        "rewrite",
        &[(
            "show what erasing a folder does and costs",
            "icecore rewrite -n --exclude ~/Pictures/miller",
        )],
    ),
    ("diff", &[("what changed last night", "icecore diff latest~1 latest")]),
    ("dump", &[("view one photo", "icecore dump latest:/home/maria/Pictures/a.jpg > a.jpg")]),
    (
        "restore",
        &[
            (
                "restore one photo",
                "icecore restore latest:/home/maria/Pictures/a.CR3 --target ./one",
            ),
            ("everything", "icecore restore latest --target ./back"),
            (
                "restore missing files to their original place",
                "icecore restore latest --to-original",
            ),
            (
                "see the waiting time and the price first",
                "icecore restore latest --target ./back --plan",
            ),
            (
                "request the thaw now, restore later",
                "icecore restore latest --target ./back --detach --max-cost 5",
            ),
        ],
    ),
    (
        "jobs",
        &[
            ("list the restores that are waiting", "icecore jobs"),
            ("download the data that is thawed", "icecore jobs resume 8cdf4af8"),
        ],
    ),
    (
        "check",
        &[
            ("is everything there?", "icecore check"),
            ("could a thief of this host destroy it?", "icecore check --posture"),
            ("read part of it back each week", "icecore check --read-data-subset 5% --max-cost 2"),
            (
                "repair damage from the library",
                "icecore check --read-data --repair --seed ~/Pictures",
            ),
        ],
    ),
    ("audit", &[("may this card be formatted?", "icecore audit /media/card")]),
    (
        "prune",
        &[
            (
                "show what would be dropped",
                "icecore prune -n --keep-daily 7 --keep-monthly 12 --keep-yearly 10",
            ),
            ("undelete a dropped snapshot", "icecore prune --undelete 4f1c02ab"),
        ],
    ),
    (
        "mirror",
        &[
            ("a second copy on another disk", "icecore mirror /mnt/nas/archive /media/disk/copy"),
            ("in a bucket, priced first", "icecore mirror -n /mnt/nas/archive s3://my-bucket/copy"),
        ],
    ),
    (
        "drill",
        &[
            ("restore a photo and compare it", "icecore drill"),
            ("does the identity page open the archive?", "icecore drill --identity-page page.html"),
        ],
    ),
    (
        "rebuild-index",
        &[("the catalog is damaged, or an old copy was put back", "icecore rebuild-index")],
    ),
    ("stats", &[("how large the archive is", "icecore stats")]),
    (
        "schedule",
        &[
            ("start due runs every hour", "icecore schedule install"),
            ("what is installed?", "icecore schedule show"),
            ("start no more runs", "icecore schedule remove"),
        ],
    ),
    ("promote", &[("the archive is lost", "icecore --repo s3://my-bucket/copy promote")]),
    ("settings", &[("keep dropped snapshots for a month", "icecore settings --undelete-days 30")]),
    ("accept", &[("accept the newest snapshot", "icecore accept latest")]),
    (
        "accept-file",
        &[
            ("list the files that have changed by themselves", "icecore accept-file"),
            ("accept one", "icecore accept-file ~/Pictures/2024/IMG_0042.CR3"),
        ],
    ),
    (
        "retire",
        &[("list all histories", "icecore retire"), ("end a history", "icecore retire old-laptop")],
    ),
    (
        "cost",
        &[
            ("the monthly bill", "icecore cost"),
            ("the price of a restore", "icecore cost --restore latest:/home/maria/Pictures/2024"),
        ],
    ),
    (
        "key",
        &[
            ("print the identity page", "icecore key export --output identity.txt"),
            ("change the password", "icecore key passwd"),
            ("list the passwords", "icecore key list"),
            ("add a password for somebody else", "icecore key add --label maria"),
            ("remove a password", "icecore key remove 4f1c02ab"),
            ("who may write?", "icecore key writers"),
            ("let this computer write", "icecore key enrol"),
            ("a laptop was stolen", "icecore key revoke laptop --since 36h"),
            ("the entries that `check` names are harmless", "icecore key dismiss 41 42"),
        ],
    ),
    (
        "run",
        &[
            ("the job of the profile home, now", "icecore -P home run"),
            ("every hour, from cron: what is due", "icecore -q run --if-due"),
        ],
    ),
    (
        "status",
        &[
            ("is everything backed up? The exit code answers as well", "icecore status"),
            (
                "figures for Prometheus",
                "icecore status --prometheus /var/lib/node_exporter/icecore.prom",
            ),
        ],
    ),
    ("notify", &[("do notifications arrive?", "icecore -P home notify test")]),
    ("log", &[("the last runs", "icecore log"), ("the log of the last one", "icecore log --text")]),
    (
        "profile",
        &[
            ("what does the profile home set?", "icecore -P home profile show"),
            ("is it written correctly?", "icecore -P home profile check"),
        ],
    ),
    (
        "policy",
        &[
            ("the IAM policy of the backup host", "icecore policy backup > backup.json"),
            ("the policy of a user who restores", "icecore policy restore > restore.json"),
            ("the policy of a user who prunes", "icecore policy prune > prune.json"),
            (
                "the policy of a host that keeps a second copy",
                "icecore policy mirror > mirror.json",
            ),
            ("the policy of the bucket", "icecore policy bucket > bucket.json"),
            ("the rules of the bucket", "icecore policy lifecycle > lifecycle.json"),
        ],
    ),
    (
        "completions",
        &[(
            "for bash",
            "icecore completions bash > ~/.local/share/bash-completion/completions/icecore",
        )],
    ),
    (
        "man",
        &[(
            "all pages, so that man icecore-restore works",
            "icecore man --dir ~/.local/share/man/man1",
        )],
    ),
];

/// Returns an example of a command such as `icecore key dismiss` with arguments: with `missing` if that is an option.
pub fn of(command: &str, missing: &str) -> Option<&'static str> {
    let option = missing.split(' ').next().filter(|word| word.starts_with("--"));
    let mut lines = EXAMPLES.iter().flat_map(|(_, examples)| *examples).map(|(_, line)| *line);
    lines.find(|line| {
        let rest = line.strip_prefix(command);
        rest.is_some_and(|rest| rest.starts_with(' ')) && line.contains(option.unwrap_or_default())
    })
}

/// Examples of the page of icecore itself.
pub const FIRST_EXAMPLES: Examples = &[
    ("set up a backup step by step", "icecore setup"),
    ("back up a folder", "icecore --repo /mnt/nas/archive snapshot ~/Pictures"),
    ("restore everything", "icecore --repo /mnt/nas/archive restore latest --target ./back"),
];
