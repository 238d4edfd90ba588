#!/usr/bin/env python3
"""Holds the second decoder against the program: golden bytes, and archives of random trees.

    run.py --golden ../vectors/v1
    run.py --program target/debug/icecore --count 50 --seed 1

Each random archive is made by the program in several snapshots of a tree that changes, most of them pruned
afterwards. The decoder then restores every snapshot that is left, and each file, kind, mode, owner, time,
link, target and extended attribute is compared with what was there; and bits are changed, which must be
found. A seed makes the same trees again.
"""
import argparse, collections, json, os, random, re, shutil, sqlite3, stat, struct, subprocess, sys, tempfile, time

from blake3 import blake3

sys.dont_write_bytecode = True
import authority
import icecore_decode as decoder
import icecore_verify as verifier

PASSWORD = b"correct horse battery staple"


# ---- golden bytes


def golden(folder):
    vectors = json.load(open(f"{folder}/vectors.json"))
    keys = vectors["keys"]
    with tempfile.TemporaryDirectory() as scratch:
        for file, name in vectors["names"].items():
            os.makedirs(os.path.dirname(f"{scratch}/repo/{name}"), exist_ok=True)
            shutil.copy(f"{folder}/{file}", f"{scratch}/repo/{name}")
        opened = [decoder.Archive(f"{scratch}/repo", keys["identity_text"]),
                  decoder.Archive(f"{scratch}/repo", password=keys["password"].encode())]
        for number, archive in enumerate(opened):
            target = f"{scratch}/{number}"
            root = os.geteuid() == 0
            assert decoder.restore(archive, "latest", target).failed == (0 if root else 1)  # the device
            for file in vectors["files"]:
                data = open(f"{target}/{file['path']}", "rb").read()
                assert (len(data), blake3(data).hexdigest()) == (file["bytes"], file["blake3"]), file
            for entry in vectors["objects"]["tree"]:
                if entry["kind"] == decoder.CHARACTER and not root:
                    continue
                found = os.lstat(os.fsencode(f"{target}/photos/") + bytes.fromhex(entry["name"]))
                sort = [stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR]
                assert stat.S_IFMT(found.st_mode) == sort[entry["kind"]], entry
                seconds, nanos = entry["mtime"]
                assert found.st_mtime_ns == seconds * 10**9 + nanos, entry
            assert not verifier.verify(archive)[0], verifier.verify(archive)
        golden_checkpoints(opened[0], folder, vectors)
        judged = authority.check(f"{scratch}/repo", keys["identity_text"], PASSWORD)
    archive, count = opened[0], collections.Counter()
    worked(archive, folder, open(f"{os.path.dirname(os.path.abspath(__file__))}/../../../format-spec.md").read())
    for case in vectors["accepted"] + vectors["damaged"]:
        data = open(f"{folder}/{case['file']}", "rb").read()
        try:
            one_object(archive, vectors, case["decoder"], data)
            outcome = "accepted"
        except decoder.DAMAGE:
            outcome = "refused"
        except NotImplementedError:
            outcome = "not known to the decoder"
        assert outcome != ("accepted" if "error" in case else "refused"), f"{case} is {outcome}"
        count[outcome] += 1
    print(f"golden: {len(vectors['files'])} files and all entries are the same; odd and damaged objects: {dict(count)}; "
          f"{judged} entries that must not count do not")


def golden_checkpoints(archive, folder, vectors):
    """Holds both parts of the checkpoint, and the damaged ones, against the log, which must be there for it."""
    read = lambda file: open(f"{folder}/{file}", "rb").read()
    verifier.verify_checkpoint(archive, read("checkpoint"), 1, 2)
    for case in vectors["damaged"]:
        if case["decoder"] == "checkpoint":
            try:
                verifier.verify_checkpoint(archive, read(case["file"]), 1, 2)
            except decoder.DAMAGE + (struct.error,):
                continue
            raise AssertionError(f"{case} is accepted")


def worked(archive, folder, page):
    """Holds the values that the specification prints in section 3.8 against what the decoder makes of them."""
    values = re.search(r"### 3.8 Worked.*?```\n(.*?)```", page, re.S).group(1)
    values = {line[:17].strip(): line[17:] for line in values.replace("\n" + " " * 17, "").splitlines() if line}
    def is_printed(name, *wanted):
        for value in wanted:
            assert value.hex() in values[name], f"{name}: {value.hex()}"
    seed, repository = decoder.Identity.from_text(values["identity"]).seed, archive.repository
    secret = decoder.check_config(archive.config, archive.identity)
    is_printed("identity seed", seed, archive.identity.seed)
    is_printed("repository id", repository)
    is_printed("dedup secret", secret)
    is_printed("owner's seed", decoder.derive("owner signing key", seed, repository))
    is_printed("owner's key", archive.config.owner_key[:16], blake3(archive.config.owner_key).digest())
    is_printed("first writer", archive.config.first.id, decoder.derive("first writer", seed, repository))
    is_printed("authority", blake3(archive.config.data[1244:5164]).digest())
    entry = open(f"{folder}/log_1", "rb").read()
    key = decoder.derive("log entry", secret, entry[:68])
    is_printed("header of log_1", entry[:68])
    is_printed("log entry key", key)
    is_printed("what it opens", decoder.open_sealed(key, 0, 0, entry[68:], entry[:68])[:18])
    shared, context = bytes.fromhex(values["X-Wing secret"]), bytes.fromhex(values["pack context"])
    front = decoder.Pack.__new__(decoder.Pack)
    front.context, front.id_key = context, archive.id_keys[False]
    front.key = decoder.derive("pack key", shared, context)
    is_printed("pack key", front.key)
    is_printed("commitment", decoder.derive("pack commitment", shared, context))
    chunk = bytes.fromhex(re.search("52ae[0-9a-f]{60}", values["its data"]).group())
    row = decoder.SimpleNamespace(slot=0, id=chunk, codec=decoder.STORED, raw=100)
    is_printed("its chunk", front.chunk(bytes.fromhex(values["frame in slot 0"]), row))


def one_object(archive, vectors, sort, data):
    """Decodes one object of the vectors as far as the decoder does."""
    if sort == "config":
        decoder.check_config(decoder.parse_config(data), archive.identity)
    elif sort == "key_slot":
        slot = bytes.fromhex(vectors["objects"]["key_slot"]["slot"])
        found = decoder.open_slot(data, archive.repository, slot, PASSWORD)
        decoder.need(found, "another repository or password")
    elif sort in ("log_1", "log_2", "log_3"):
        secret = decoder.check_config(archive.config, archive.identity)
        key_of = lambda author: archive.writers[author].key if author in archive.writers else None
        decoder.parse_log_entry(data, secret, archive.repository, int(sort[4:]), key_of)
    elif sort == "tree":
        decoder.parse_tree(data)
    elif sort in ("snapshot_record", "snapshot_record_named"):
        decoder.decode(decoder.SNAPSHOT_RECORD, data)
    elif sort == "table":
        decoder.parse_table(data, 4096)
    elif sort == "trailer":
        verifier.parse_trailer(data, 4096)
    elif sort == "cold_pack":
        logged = next(pack for pack in archive.packs.values() if pack.kind == decoder.COLD)
        verifier.verify_pack(archive, logged, data)
    elif sort == "pack":  # packs of their own, made with defects inside the seals
        front = decoder.Pack(data[: decoder.HEADER], archive, data[32:48], data[12])
        _, rows, _ = verifier.table_of(front, data)
        for row in rows:
            front.chunk(data[row.offset : row.offset + row.stored], row)
    elif sort == "checkpoint":
        verifier.verify_checkpoint(archive, data, 1, 2)
    else:
        raise NotImplementedError


# ---- random trees


class Tree:
    """A folder that grows things that programs get wrong."""

    def __init__(self, root, chance):
        self.root, self.chance, self.files, self.folders, self.count = root, chance, [], [root], 0
        os.mkdir(root)
        for _ in range(chance.randint(3, 25)):
            self.add()

    def name(self):
        chance, self.count = self.chance, self.count + 1
        number = b"%d" % self.count
        return chance.choice([
            lambda: b"IMG_%05d." % self.count + chance.choice([b"CR3", b"JPG", b"xmp"]),
            lambda: chance.choice([b"--", b" ", b".", b"..", b"~", b"\\", b"*"]) + number,
            lambda: "Köln é 写真 ".encode() + number,
            lambda: bytes(chance.choices([*range(1, 47), *range(48, 256)], k=chance.randint(1, 40))) + number,
            lambda: b"latin1-\xe9t\xe9\n" + number,
            lambda: number.ljust(255, b"n"),
        ])()

    def new(self):
        return os.path.join(self.chance.choice(self.folders), self.name())

    def noise(self, most):
        return self.chance.randbytes(int(most ** self.chance.random()))

    def add(self):
        chance, path = self.chance, self.new()
        sort = chance.choices(
            ["small", "medium", "large", "jpeg", "sqlite", "sparse", "copy", "folder", "deep", "many",
             "symlink", "hardlink", "special", "empty", "zeros"],
            [8, 5, 1, 3, 1, 3, 3, 5, 1, 1, 3, 3, 2, 2, 1])[0]
        if sort in ("folder", "deep", "many"):
            for _ in range(chance.randint(20, 60) if sort == "deep" else 1):
                os.mkdir(path)
                self.folders.append(path)
                path = path + b"/" + b"d%d" % chance.randint(0, 99)
            if sort == "many":
                for number in range(chance.randint(100, 800)):
                    self.write(self.folders[-1] + b"/%x" % number, b"<xmp>%d</xmp>" % chance.randint(0, 300))
            return
        if sort == "symlink":
            target = chance.choice([b"nowhere", b"/etc/passwd", b"\xff\xfe/..", b"x" * 3000, b"../" * 9, b"."])
            return os.symlink(target, path)
        if sort == "special":
            kinds = [stat.S_IFIFO, stat.S_IFSOCK] + [stat.S_IFCHR] * (os.geteuid() == 0)
            return os.mknod(path, chance.choice(kinds) | 0o600, os.makedev(1, 3))
        if sort in ("hardlink", "copy") and self.files:
            old = chance.choice(self.files)
            if sort == "hardlink":
                return os.link(old, path)
            data = open(old, "rb").read()
            return self.write(path, data + self.noise(10_000) if chance.random() < 0.5 else self.noise(99) + data)
        if sort == "sqlite":
            with sqlite3.connect(os.fsdecode(self.root) + ".sqlite") as base:  # it takes short paths only
                base.execute("create table t (a, b)")
                base.executemany("insert into t values (?, ?)",
                                 [(n, self.noise(2000)) for n in range(chance.randint(1, 500))])
            base.close()
            os.rename(self.root + b".sqlite", path)
            self.files.append(path)
        elif sort == "sparse":
            self.write(path, b"")
            with open(path, "r+b") as file:
                for _ in range(chance.randint(0, 6)):
                    file.seek(chance.randint(0, 1 << chance.randint(1, 28)))
                    file.write(self.noise(300_000))
                file.seek(0, 2)
                file.truncate(file.tell() + chance.choice([0, 1, 4096, 10_000_000]))
        else:
            self.write(path, {
                "medium": lambda: self.noise(3_000_000), "large": lambda: chance.randbytes(chance.randint(3, 12) << 20),
                "jpeg": lambda: b"\xff\xd8\xff\xe1\x10\x00" + b"Exif" * 1023 + b"xx\xff\xdb" + self.noise(2_000_000),
                "empty": lambda: b"", "zeros": lambda: bytes(chance.randint(1, 5_000_000)),
            }.get(sort, lambda: self.noise(2000) * chance.randint(1, 20))())

    def write(self, path, data):
        with open(path, "wb") as file:
            file.write(data)
        self.files.append(path)

    def change(self):
        """What happens between two snapshots: things go, change, and come."""
        chance = self.chance
        for path in chance.sample(self.files, int(len(self.files) * chance.choice([0, 0.1, 0.5, 0.9]))):
            if chance.random() < 0.7:
                os.remove(path)
                self.files.remove(path)
            else:
                with open(path, "r+b") as file:
                    file.seek(chance.randint(0, os.path.getsize(path)))
                    file.write(self.noise(100_000))
        for _ in range(chance.randint(0, 8)):
            self.add()

    def finish(self):
        """Gives everything odd modes, times and attributes, folders last."""
        chance = self.chance
        for folder, folders, files in os.walk(self.root, topdown=False):
            for path in [os.path.join(folder, name) for name in files + folders]:
                if not os.path.islink(path) and chance.random() < 0.2:
                    mode = chance.choice([0o644, 0o600, 0o400, 0o000, 0o755, 0o700, 0o1777, 0o2750, 0o4711])
                    os.chmod(path, mode if os.geteuid() == 0 else mode | 0o700)
                    if os.path.isfile(path) and chance.random() < 0.3:
                        try:
                            os.setxattr(path, b"user.rating", self.noise(200))
                        except OSError:
                            pass  # not on this file system
                if os.geteuid() == 0 and chance.random() < 0.05:
                    os.chown(path, chance.randint(0, 70_000), chance.randint(0, 70_000), follow_symlinks=False)
                if chance.random() < 0.3 or os.path.isdir(path):
                    then = chance.randint(-10**18, 2 * 10**18)
                    when = chance.choice([then, then, 10**18, 5 * 10**18, -1])
                    os.utime(path, ns=(when, when), follow_symlinks=False)


def describe(root):
    """Everything about a tree that a restore must bring back, by path."""
    found, inodes = {}, collections.defaultdict(list)
    for folder, folders, files in os.walk(root):
        for path in [os.path.join(folder, name) for name in files + folders]:
            status, content = os.lstat(path), None
            sort = stat.S_IFMT(status.st_mode)
            if sort == stat.S_IFLNK:
                content = os.readlink(path)
            elif sort == stat.S_IFREG:
                with open(path, "rb") as file:
                    digest = blake3()
                    head = bytearray(file.read(100))
                    if head.startswith(b"SQLite format 3\0"):
                        # What is archived is a copy by SQLite (spec section 4.6), which counts as a change of the file.
                        for place in [slice(24, 28), slice(40, 44), slice(92, 100)]:
                            head[place] = bytes(len(head[place]))
                    digest.update(bytes(head))
                    while data := file.read(1 << 20):
                        digest.update(data)
                content = (status.st_size, digest.digest())
            attributes = {name: os.getxattr(path, name, follow_symlinks=False)
                          for name in os.listxattr(path, follow_symlinks=False)}
            mode = 0 if sort == stat.S_IFLNK else status.st_mode
            short = os.path.relpath(path, root)
            found[short] = [sort, mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_rdev]
            found[short] += [content, attributes]
            if sort == stat.S_IFREG:
                inodes[status.st_ino].append(short)
    for names in inodes.values():
        for name in names:
            found[name].append(sorted(names))
    return found


class Random:
    """Random archives, one after the other, and the figures of all of them."""

    def __init__(self, program, seed):
        self.program, self.seed, self.figures = os.path.abspath(program), seed, collections.Counter()

    def run(self, folder, *line):
        environment = dict(PATH=os.environ["PATH"], HOME=folder, ICECORE_CONFIG_DIR="config", ICECORE_CACHE_DIR="cache",
                           ICECORE_REPOSITORY="repo", ICECORE_PASSWORD_MEMORY="8MiB", TZ="UTC")
        key = "ICECORE_IDENTITY" if os.path.exists(f"{folder}/identity") else "ICECORE_PASSWORD_FILE"
        environment[key] = "identity" if key == "ICECORE_IDENTITY" else "password"
        done = subprocess.run([self.program, *line], cwd=folder, env=environment, capture_output=True)
        # A random tree may lose most of its files, and noise may damage a catalog, which is then stored as it is.
        expected = b'"marked":"shrunk"' in done.stdout or b"SQLite finds it damaged" in done.stdout
        ended = done.returncode == 0 or (done.returncode == 3 and expected)
        assert ended, f"{line}: {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}"
        return done.stdout.decode()

    def archive(self, number):
        with tempfile.TemporaryDirectory(prefix=f"icecore-decoder-{number}-") as folder:
            self.within(folder, random.Random(f"{self.seed}/{number}"))

    def within(self, folder, chance):
        open(f"{folder}/password", "wb").write(PASSWORD + b"\n")
        tree = Tree(os.fsencode(f"{folder}/tree"), chance)
        taken = {}
        for number in range(chance.choice([1, 2, 3, 4, 6, 35 if chance.random() < 0.3 else 5])):
            if number:
                tree.change() if number < 6 else tree.write(tree.new(), tree.noise(3000))
            tree.finish()
            first = ["--init", "--pack-size", chance.choice(["1MiB", "4MiB", "64MiB"])] if number == 0 else []
            lines = [json.loads(line) for line in self.run(folder, "--json", "snapshot", *first, "tree").splitlines()]
            taken[lines[-1]["snapshot_id"]] = describe(tree.root)
            if number == 0:
                self.run(folder, "key", "export", "--output", "identity")
        for _ in range(chance.randint(0, 2)):
            left = self.snapshots(folder)
            if chance.random() < 0.5:
                self.run(folder, "prune", "--keep-last", str(chance.randint(1, len(left))))
            elif len(left) > 1:
                self.run(folder, "prune", "--forget", chance.choice(left))
            if chance.random() < 0.5:
                tree.change()
                lines = self.run(folder, "--json", "snapshot", "tree").splitlines()
                taken[json.loads(lines[-1])["snapshot_id"]] = describe(tree.root)
        self.decode(folder, taken, chance)

    def snapshots(self, folder):
        lines = map(json.loads, self.run(folder, "--json", "snapshots").splitlines())
        return [line["id"] for line in lines if line["message_type"] == "snapshot"]

    def decode(self, folder, taken, chance):
        if chance.random() < 0.2:
            archive = decoder.Archive(f"{folder}/repo", password=PASSWORD)
        else:
            archive = decoder.Archive(f"{folder}/repo", open(f"{folder}/identity").read())
        assert sorted(self.snapshots(folder)) == sorted(i.hex() for i in archive.visible), "other snapshots"
        problems, _ = verifier.verify(archive)
        assert not problems, problems
        for name in archive.visible:
            snapshot, target = archive.snapshots[name], f"{folder}/restored"
            assert decoder.restore(archive, name.hex(), target).failed == 0
            wanted, found = taken[name.hex()], describe(os.fsencode(target + os.path.realpath(f"{folder}/tree")))
            for path in sorted(wanted.keys() | found.keys()):
                assert wanted.get(path) == found.get(path), f"{path}: {wanted.get(path)} is now {found.get(path)}"
            sizes = [entry[6][0] for entry in wanted.values() if entry[0] == stat.S_IFREG]
            assert (snapshot.files, snapshot.bytes) == (len(sizes), sum(sizes)), "other figures"
            shutil.rmtree(target)
            self.figures += collections.Counter(snapshots=1, entries=len(wanted), files=len(sizes), bytes=sum(sizes))
        for _ in range(5):
            self.flip(folder, archive, chance)
        self.figures += collections.Counter(
            archives=1, log_entries=len(archive.entries), packs=len(archive.packs), dead_packs=len(archive.dead),
            moved_packs=sum(len(entry.moved) for entry in archive.entries),
            dropped=len(archive.snapshots) - len(archive.visible), checkpoints=len(archive.names("checkpoints", ".*")))


    def flip(self, folder, archive, chance):
        """Changes one bit somewhere: it must be found."""
        path = f"{folder}/repo/" + chance.choice(["config", *(f"log/{n + 1:016}" for n in range(len(archive.entries)))])
        pack = chance.choice([None, *archive.alive])
        path = f"{folder}/repo/{pack.name}" if pack else path
        right = open(path, "rb").read()
        wrong = bytearray(right)
        place = chance.randrange(len(right))
        wrong[place] ^= 1 << chance.randrange(8)
        try:
            if pack:
                verifier.verify_pack(archive, pack, bytes(wrong))
            else:
                open(path, "wb").write(wrong)
                found = decoder.Archive(f"{folder}/repo", open(f"{folder}/identity").read()).odd
                decoder.need(not found, "the last entry is void now, which is told")
            raise AssertionError(f"nobody sees the bit that was changed in byte {place} of {path}")
        except decoder.DAMAGE:
            open(path, "wb").write(right)
            self.figures += collections.Counter(flipped_bits_found=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--golden", help="the folder of the vectors")
    parser.add_argument("--program", help="the program that makes random archives")
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    if options.golden:
        golden(options.golden)
    if options.program:
        begun, test = time.monotonic(), Random(options.program, options.seed)
        for number in range(options.first, options.first + options.count):
            try:
                test.archive(number)
            except BaseException:
                print(f"FAILED: archive {number} of seed {options.seed}", file=sys.stderr)
                raise
        figures = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in test.figures.items())
        print(f"random: {figures}; all the same, in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
