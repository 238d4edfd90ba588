#!/usr/bin/env python3
"""Reads icecore repositories of format version 1, without icecore.

Written from format-spec.md alone, to be read beside it: numbers like (4.3) are its sections. It lists
snapshots in a local folder and restores them, and writes nothing there. icecore_verify.py checks the rest.

    python3 -m venv v && v/bin/pip install 'cryptography>=50' zstandard blake3
    v/bin/python icecore_decode.py list ARCHIVE --identity identity.txt
    v/bin/python icecore_decode.py restore ARCHIVE --password-file FILE latest:home/me/photos TARGET
"""
import argparse, datetime, os, re, resource, stat, struct, sys
from hashlib import sha3_256, shake_256
from types import SimpleNamespace

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
META, HOT, COLD = 1, 2, 3
PREFIX = {META: "meta", HOT: "hot", COLD: "packs"}
FILE, FOLDER, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(7)
STORED, ZSTD = 0, 1
HEADER = 1200  # of a pack


class Damage(ValueError):
    """The bytes are not what the specification allows."""


# What the libraries say of bytes that do not open, decompress or decode.
DAMAGE = (ValueError, OSError, InvalidTag, zstandard.ZstdError)


def need(condition, complaint):
    if not condition:
        raise Damage(complaint)


# ---- 1.2 CBOR. A reader is a function that takes a Cbor and returns a value.


class Cbor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        need(count <= len(self.data) - self.at, "a record ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def head(self, major=None):
        first = self.take(1)[0]
        found, value = first >> 5, first & 31
        need(value < 28, "indefinite or reserved lengths are no part of the format")
        if value >= 24:
            value = int.from_bytes(self.take(1 << value - 24), "big")
        need(major is None or major == found, f"CBOR type {found} where {major} belongs")
        return value if major is not None else (found, value)

    def skip(self):
        """Passes over one value; what is inside it is counted, not recursed into."""
        left = 1
        while left:
            left -= 1
            major, value = self.head()
            if major in (2, 3):
                self.take(value)
            left += {4: value, 5: 2 * value, 6: 1}.get(major, 0)


def within(value, least, most):
    need(least <= value <= most, f"{value} is not in {least} to {most}")
    return value

def uint(most=2**64 - 1, least=0):
    return lambda cbor: within(cbor.head(0), least, most)

def integer(cbor):
    major, value = cbor.head()
    need(major in (0, 1) and value < 2**63, "not an i64")
    return -1 - value if major else value

def bstr(least=0, most=2**32):
    return lambda cbor: cbor.take(within(cbor.head(2), least, most))

def text(cbor):
    return cbor.take(cbor.head(3)).decode("utf-8")

def array(item, most=2**64):
    return lambda cbor: [item(cbor) for _ in range(within(cbor.head(4), 0, min(most, len(cbor.data))))]

def elements(*items, exact=False):
    """An array whose places have meanings; others may follow unless exact."""
    def read(cbor):
        count = cbor.head(4)
        need(count >= len(items) and not (exact and count > len(items)), "an array of the wrong length")
        values = tuple(item(cbor) for item in items)
        for _ in range(count - len(items)):
            cbor.skip()
        return values
    return read


def record(**fields):
    """A map. Each field is name=(key, reader) or, if it is optional, name=(key, reader, default)."""
    by_key = {field[0]: (name, *field[1:]) for name, field in fields.items()}
    def read(cbor):
        values = {}
        for _ in range(cbor.head(5)):
            key = cbor.head(0)
            need(key < 2**63, "a map key is out of range")
            if key not in by_key:
                cbor.skip()
                continue
            name, reader, *default = by_key[key]
            need(name not in values, f"the key {key} comes twice")
            if default and cbor.data[cbor.at : cbor.at + 1] == b"\xf6":  # null: absent
                cbor.take(1)
                values[name] = default[0]
            else:
                values[name] = reader(cbor)
        for name, _, *default in by_key.values():
            need(name in values or default, f"the field {name} is missing")
            values.setdefault(name, default[0] if default else None)
        return SimpleNamespace(**values)
    return read


def decode(reader, data):
    cbor = Cbor(data)
    value = reader(cbor)
    need(cbor.at == len(data), "bytes after the end of a record")
    return value


def ids(cbor):
    joined = bstr(0, 32 << 20)(cbor)
    need(len(joined) % 32 == 0, "chunk ids are cut off")
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]

def storage_class(cbor):
    value = text(cbor)
    need(re.fullmatch("[A-Za-z0-9_]{0,64}", value), "not a storage class")
    return value


ID16, ID32, U32, U64 = bstr(16, 16), bstr(32, 32), uint(2**32 - 1), uint()
TIME, RANGE = elements(integer, uint(999_999_999)), elements(U64, U64)
SETTINGS = record(  # 4.1
    pack_class=(0, storage_class), hot_class=(1, storage_class), pack_bytes=(2, uint(512 * MIB, MIB)),
    hot_pack_bytes=(3, uint(512 * MIB, MIB)), small_file_bytes=(4, U64))
PACK_RECORD = record(  # 4.3
    id=(0, ID16), kind=(1, uint(COLD, META)), bytes=(2, uint(2 * GIB)), digest=(3, ID32), crc=(4, U64),
    storage_class=(5, storage_class), table=(6, bstr(0, 41 << 20)))
SNAPSHOT_ENTRY = record(
    id=(0, ID16), time=(1, TIME), host=(2, text), tags=(3, array(text)), record=(4, ID32), files=(5, U64),
    bytes=(6, U64), packs=(7, array(RANGE)), paths_key=(8, ID16))
LOG_ENTRY = record(
    previous=(0, ID32), time=(1, TIME), packs=(2, array(PACK_RECORD)), snapshots=(3, array(SNAPSHOT_ENTRY)),
    dropped=(4, array(ID16)), tombstones=(5, array(RANGE)), settings=(6, SETTINGS, None),
    orphans=(7, array(ID16), []), undropped=(8, array(ID16), []),
    moved=(9, array(elements(U64, array(RANGE))), []))
TREE = array(record(  # 4.6
    name=(0, bstr(1, 4096)), kind=(1, uint(BLOCK)), mode=(2, U32), uid=(3, U32), gid=(4, U32), mtime=(5, TIME),
    size=(6, U64, None), chunks=(7, ids, None), holes=(8, array(elements(U64, U64)), []),
    target=(9, bstr(0, 64 * KIB), None), xattrs=(10, array(elements(bstr(), bstr())), []),
    link=(11, elements(U64, U64, exact=True), None), device=(12, U64, None)), 65_536)
SNAPSHOT_RECORD = record(  # 4.7
    id=(0, ID16), time=(1, TIME), paths=(2, array(bstr())), root=(3, ids), host=(4, text), tags=(5, array(text)),
    program=(6, text), failed=(7, U64))


# ---- 1.1, 3: keys


def keyed(key, message):
    return blake3(message, key=key).digest()


def derive(context, *parts):
    return blake3(b"".join(parts), derive_key_context=f"icecore v1 {context}").digest()


def open_sealed(key, counter, domain, sealed, data):  # 3.3
    return AESGCMSIV(key).decrypt(struct.pack("<QI", counter, domain), sealed, data)


class Identity:
    """The X-Wing key pair of the identity: ML-KEM-768 and X25519 side by side (1.1)."""

    def __init__(self, seed):
        self.seed = seed
        expanded = shake_256(seed).digest(96)
        self.lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        self.curve = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public_key = self.lattice.public_key().public_bytes_raw() + self.curve.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext):
        lattice, point = ciphertext[:1088], ciphertext[1088:]
        shared = self.curve.exchange(X25519PublicKey.from_public_bytes(point))
        secret = self.lattice.decapsulate(lattice) + shared + point + self.public_key[1184:]
        return sha3_256(secret + b"\\.//^\\").digest()

    @staticmethod
    def from_text(page):
        """3.1: the first line that looks like one, in bech32m."""
        lines = (line.strip() for line in page.splitlines())
        line = next((line for line in lines if line.lower().startswith("icecore-identity-")), "")
        need(line and line in (line.lower(), line.upper()), "no identity, or in mixed case")
        prefix, _, data = line.lower().rpartition("1")
        need(prefix == "icecore-identity-" and len(data) == 58, "this is no identity")
        values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(letter) for letter in data]
        need(-1 not in values, "a letter that no identity has")
        check = 1
        for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values:
            top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
            for bit, word in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= word if top >> bit & 1 else 0
        need(check == 0x2BC830A3, "the identity is mistyped")
        bits = sum(value << 5 * (51 - i) for i, value in enumerate(values[:52]))
        need(bits & 15 == 0, "the identity is mistyped")
        return Identity((bits >> 4).to_bytes(32, "big"))


# ---- 4: objects


def preamble(data, magic, length):  # 1.3, 7
    need(len(data) >= length, "an object is cut off")
    found, version, flags = struct.unpack_from("<8sHH", data)
    need(found == magic.ljust(8, b"\0"), "an object of another sort")
    need(version != 0, "version 0")
    need(version == 1 and flags == 0, "made by a newer program: this one cannot read it")


def parse_config(data):  # 4.1; the MAC is checked later
    need(len(data) <= 16 * KIB, "config is too large")
    preamble(data, b"ICECORE", 1264)
    least, average, most, block, length = struct.unpack_from("<5I", data, 1244)
    even = least % 2 == average % 2 == most % 2 == 0
    need(even and 64 <= least <= MIB and 256 <= average <= 4 * MIB and KIB <= most <= 16 * MIB
         and least <= average <= most and 512 <= block <= MIB, "chunking parameters are out of range")
    need(length <= 4096 and len(data) == 1264 + length + 32, "config has the wrong length")
    settings = decode(SETTINGS, data[1264 : 1264 + length])
    return SimpleNamespace(repository=data[12:28], public_key=data[28:1244], settings=settings, data=data)


def check_config(config, identity):
    need(identity.public_key == config.public_key, "this identity is not that of the repository")
    secret = derive("dedup secret", identity.seed, config.repository)
    mac = keyed(derive("config", secret), config.data[:-32])
    need(mac == config.data[-32:], "config was changed")
    return secret


def open_slot(data, repository, slot, password):  # 4.2, 3.5; None: another repository's, or a wrong password
    need(len(data) <= 1024, "a key slot is too large")
    preamble(data, b"ICEKEY", 178)
    if data[12:28] != repository:
        return None
    memory, passes, lanes = struct.unpack_from("<3I", data, 52)
    length = struct.unpack_from("<H", data, 128)[0]
    need(length <= 255 and len(data) == 210 + length, "a key slot has the wrong length")
    need(blake3(data[:-32]).digest() == data[-32:], "a key slot is damaged")
    need(data[28:44] == slot, "a key slot under another name")
    need(max(8, 8 * lanes) <= memory <= MIB and 1 <= passes <= 16 and 1 <= lanes <= 16, "Argon2id: out of limits")
    data[130 : 130 + length].decode("utf-8")  # the label
    kek = Argon2id(salt=data[64:96], length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(password)
    if derive("slot commitment", kek) != data[96:128]:
        return None
    return Identity(open_sealed(derive("slot key", kek), 0, 0, data[130 + length : -32], data[: 130 + length]))


def parse_table(table, end):  # 4.5; end: no frame may reach beyond it
    need(len(table) % 41 == 0 and len(table) <= 41 << 20, "a table is cut off or too long")
    rows, offset = [], HEADER
    for slot in range(len(table) // 41):
        chunk, raw, stored, codec = struct.unpack_from("<32sIIB", table, 41 * slot)
        need(codec in (STORED, ZSTD), "an unknown codec: made by a newer program")
        need(raw <= 64 * MIB, "a chunk is too large")
        need(stored == raw + 16 if codec == STORED else 16 <= stored <= raw + 16, "a frame of the wrong length")
        need(offset + stored <= end, "frames beyond the end of a pack")
        rows.append(SimpleNamespace(id=chunk, slot=slot, offset=offset, raw=raw, stored=stored, codec=codec))
        offset += stored
    need(len({row.id for row in rows}) == len(rows), "a chunk twice in a table")
    return rows


def parse_log_entry(data, secret, repository, number):  # 4.3
    need(len(data) <= 64 * MIB, "a log entry is too large")
    preamble(data, b"ICELOG", 68)
    need(data[12:28] == repository and data[28:36] == struct.pack("<Q", number), "a log entry in the wrong place")
    padded = open_sealed(derive("log entry", secret, data[:68]), 0, 0, data[68:], data[:68])
    need(len(padded) >= 4, "a log entry without a record")
    length = struct.unpack_from("<I", padded)[0]
    need(length <= len(padded) - 4, "a log record is cut off")
    need(not any(padded[4 + length :]), "bytes in the padding of a log entry")
    entry = decode(LOG_ENTRY, padded[4 : 4 + length])
    for pack in entry.packs:
        pack.rows = parse_table(pack.table, pack.bytes)
    need(len({pack.id for pack in entry.packs}) == len(entry.packs), "a log entry adds a pack twice")
    return entry


def parse_tree(data, last=b""):  # 4.6; last: the name before the first
    entries = decode(TREE, data)
    for entry in entries:
        need(entry.name not in (b".", b"..") and b"/" not in entry.name and b"\0" not in entry.name, "a forbidden name")
        need(entry.name > last, "names are not in order")
        last, at = entry.name, 0
        need(sum(len(name) + len(value) for name, value in entry.xattrs) <= 16 * MIB, "attributes are too large")
        for offset, length in entry.holes if entry.kind == FILE else ():
            need(length and offset >= at and offset + length <= (entry.size or 0), "holes are out of order")
            at = offset + length
        need(entry.kind != FILE or None not in (entry.size, entry.chunks), "a file without size or chunks")
        need(entry.kind != SYMLINK or entry.target is not None, "a link without a target")
        need(entry.kind not in (CHARACTER, BLOCK) or entry.device is not None, "a device without a number")
    return entries


class Pack:
    """The front of a pack: what opens its frames (4.5)."""

    def __init__(self, header, identity, repository, pack_id, kind):
        preamble(header, b"ICEPACK", HEADER)
        need(header[12] in PREFIX, "an unknown kind of pack: made by a newer program")
        need(header[12] == kind and header[13:16] == bytes(3), "a pack of another kind")
        need(header[16:32] == repository and header[32:48] == pack_id, "a pack in the wrong place")
        self.kind, self.context = kind, header[:48]
        shared = identity.decapsulate(header[48:1168])
        need(derive("pack commitment", shared, self.context) == header[1168:HEADER], "the key of a pack is damaged")
        self.key = derive("pack key", shared, self.context)
        self.padding_key = derive("pack padding", shared, self.context)  # for icecore_verify.py

    def chunk(self, frame, row, id_keys):  # 3.3, 3.4, 9.6
        data = self.context + struct.pack("<I32sBI", row.slot, row.id, row.codec, row.raw)
        content = open_sealed(self.key, row.slot, 0, frame, data)
        if row.codec == ZSTD:  # one byte more than told is asked for, and never more than that is made
            content = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read(row.raw + 1)
        need(len(content) == row.raw, "a chunk of the wrong length")
        need(keyed(id_keys[self.kind == META], content) == row.id, "a chunk of other content")
        return content


# ---- 6, 9: the archive


class Archive:
    def __init__(self, folder, page=None, password=None):
        self.folder, self.opened, self.readers = os.fsencode(folder), {}, {}
        self.config = parse_config(self.read("config", 16 * KIB))
        self.repository = self.config.repository
        self.identity = Identity.from_text(page) if page else self.unlock(password)
        secret = check_config(self.config, self.identity)
        self.id_keys = derive("chunk id of data", secret), derive("chunk id of metadata", secret)
        self.packs, self.dead, self.snapshots, self.visible = [], set(), {}, set()
        self.settings, self.head, self.entries = self.config.settings, blake3(self.config.data).digest(), []
        numbers = [int(name) for name in self.names("log") if re.fullmatch("[0-9]{16}", name) and int(name)]
        need(numbers == list(range(1, len(numbers) + 1)), "an entry of the log is missing")  # 6.1
        orphans = set()
        for number in numbers:
            data = self.read(f"log/{number:016}", 64 * MIB)
            entry = parse_log_entry(data, secret, self.repository, number)
            need(entry.previous == self.head, f"log entry {number} does not follow the one before it")
            self.head = blake3(data).digest()
            self.apply(entry, orphans)
        self.places = {}  # 9.4: (in a meta pack, chunk id) to [(ordinal, row)]
        for ordinal, pack in enumerate(self.packs):
            for row in pack.rows if ordinal not in self.dead else ():
                self.places.setdefault((pack.kind == META, row.id), []).append((ordinal, row))

    def names(self, folder):
        path = os.path.join(self.folder, folder.encode())
        return sorted(map(os.fsdecode, os.listdir(path))) if os.path.exists(path) else []

    def read(self, name, most):
        with open(os.path.join(self.folder, name.encode()), "rb") as file:
            data = file.read(most + 1)
        need(len(data) <= most, f"{name} is too large")
        return data

    def unlock(self, password):  # 9.2
        slots = [name for name in self.names("keys") if re.fullmatch("[0-9a-f]{32}", name)]
        need(len(slots) <= 64, "too many key slots")
        for name in slots:
            try:
                found = open_slot(self.read(f"keys/{name}", 1024), self.repository, bytes.fromhex(name), password)
                if found:
                    return found
            except DAMAGE as damage:
                print(f"keys/{name}: {damage!r}", file=sys.stderr)
        raise Damage("the password opens no key slot")

    def apply(self, entry, orphans):  # 6.2, in this order
        known = {pack.id for pack in self.packs}
        need(not any(pack.id in known for pack in entry.packs), "a pack is added a second time")
        self.packs += entry.packs
        def ordinals(ranges):
            return {i for first, count in ranges for i in range(first, min(first + count, len(self.packs)))}
        self.dead |= ordinals(entry.tombstones)
        orphans |= set(entry.orphans)
        self.dead |= {i for i, pack in enumerate(self.packs) if pack.id in orphans}
        for snapshot in entry.snapshots:
            if snapshot.id not in self.snapshots:
                snapshot.needs = ordinals(snapshot.packs)
                self.snapshots[snapshot.id] = snapshot
                self.visible.add(snapshot.id)
        self.visible -= set(entry.dropped)
        self.visible |= set(entry.undropped) & set(self.snapshots)
        moves = {source: ordinals(ranges) for source, ranges in entry.moved}
        for snapshot in (self.snapshots[i] for i in self.visible):
            gone = snapshot.needs & set(moves)
            snapshot.needs = (snapshot.needs - gone).union(*(moves[i] for i in gone))
        self.settings = entry.settings or self.settings
        self.entries.append(entry)

    def chunk(self, chunk_id, meta):  # 9.6: any pack that is alive serves
        problem = Damage(f"chunk {chunk_id.hex()} is in no pack")
        for ordinal, row in self.places.get((meta, chunk_id), ()):
            pack = self.packs[ordinal]
            try:
                with open(os.path.join(self.folder, self.name_of(pack).encode()), "rb") as file:
                    if ordinal not in self.opened:
                        header = file.read(HEADER)
                        self.opened[ordinal] = Pack(header, self.identity, self.repository, pack.id, pack.kind)
                    file.seek(row.offset)
                    return self.opened[ordinal].chunk(file.read(row.stored), row, self.id_keys)
            except DAMAGE as error:
                problem = Damage(f"{self.name_of(pack)}: {error!r}")
        raise problem

    def name_of(self, pack):
        return f"{PREFIX[pack.kind]}/{pack.id.hex()}"

    def tree(self, chunks):
        entries = []
        for chunk in chunks or ():
            entries += parse_tree(self.chunk(chunk, True), entries[-1].name if entries else b"")
        return entries

    def find(self, name):
        """A snapshot by the beginning of its id, or the latest one."""
        seen = sorted((self.snapshots[i] for i in self.visible), key=lambda s: s.time)
        found = seen[-1:] if name == "latest" else [s for s in seen if s.id.hex().startswith(name)]
        need(len(found) == 1, f"{len(found)} snapshots are called {name!r}")
        return found[0]

    def record(self, snapshot):
        found = decode(SNAPSHOT_RECORD, self.chunk(snapshot.record, True))
        need(found.id == snapshot.id, "the record of another snapshot")  # 4.7
        return found

    def file_length(self, entry):
        """Checks that the chunks of a file add up before they are read (4.6)."""
        places = [self.places.get((False, chunk)) for chunk in entry.chunks]
        need(all(places), f"chunks of {entry.name!r} are in no pack")
        data = entry.size - sum(length for _, length in entry.holes)
        need(sum(place[0][1].raw for place in places) == data, f"the chunks of {entry.name!r} do not add up")


# ---- 9.7 to 9.10: restoring. Folders are held open, and nothing is reached through a link.


class Restore:
    def __init__(self, archive, target):
        self.archive, self.links, self.files, self.bytes = archive, {}, 0, 0
        os.makedirs(target, exist_ok=True)
        need(not os.listdir(target), f"{target} is not empty")
        self.root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)

    def folder(self, entries, at, path=(), depth=0):
        need(depth <= 2048, "folders are nested too deep")
        for entry in entries:
            self.entry(entry, at, path + (entry.name,), depth)

    def entry(self, entry, at, path, depth=0):
        name = entry.name
        if entry.kind == FILE:
            self.archive.file_length(entry)
            same = (entry.link, entry.size, tuple(entry.chunks), tuple(entry.holes))
            if entry.link and same in self.links:
                os.link(b"/".join(self.links[same]), name, src_dir_fd=self.root, dst_dir_fd=at, follow_symlinks=False)
            else:
                self.file(entry, at)
                self.links[same] = path
            self.files, self.bytes = self.files + 1, self.bytes + entry.size
        elif entry.kind == FOLDER:
            os.mkdir(name, 0o700, dir_fd=at)
            inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            self.folder(self.archive.tree(entry.chunks), inside, path, depth + 1)
            self.attributes(entry, inside)
            os.close(inside)
        elif entry.kind == SYMLINK:
            os.symlink(entry.target, name, dir_fd=at)
        else:
            sort = {FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
            try:
                os.mknod(name, sort[entry.kind] | 0o600, entry.device or 0, dir_fd=at)
            except PermissionError:
                return print(f"left out, needs root: {os.fsdecode(b'/'.join(path))!r}", file=sys.stderr)
        if os.geteuid() == 0 and entry.kind not in (FILE, FOLDER):
            os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        if entry.kind not in (FILE, FOLDER, SYMLINK):
            os.chmod(name, entry.mode & 0o7777, dir_fd=at)
        seconds, nanos = entry.mtime
        times = (seconds * 10**9 + nanos,) * 2
        os.utime(name, ns=times, dir_fd=at, follow_symlinks=False)

    def file(self, entry, at):
        output = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
        with open(output, "wb") as file:
            holes, position = list(entry.holes), 0
            for chunk in entry.chunks:
                data = memoryview(self.archive.chunk(chunk, False))
                while len(data):
                    while holes and holes[0][0] == position:
                        position += holes.pop(0)[1]
                    count = min(len(data), holes[0][0] - position if holes else len(data))
                    file.seek(position)
                    file.write(data[:count])
                    data, position = data[count:], position + count
            file.truncate(entry.size)
            file.flush()
            self.attributes(entry, output)

    def attributes(self, entry, output):
        if os.geteuid() == 0:
            os.chown(output, entry.uid, entry.gid)
        for name, value in entry.xattrs:
            try:
                os.setxattr(output, name, value)
            except OSError as error:
                print(f"an attribute of {os.fsdecode(entry.name)!r} was left out: {error}", file=sys.stderr)
        os.chmod(output, entry.mode & 0o7777)


def restore(archive, which, target):
    name, _, path = which.partition(":")
    entries, found = archive.tree(archive.record(archive.find(name)).root), None
    for part in filter(None, os.fsencode(path).split(b"/")):
        need(found is None or found.kind == FOLDER, f"{path} is not in the snapshot")
        found = next((entry for entry in entries if entry.name == part), None)
        need(found is not None, f"{path} is not in the snapshot")
        entries = archive.tree(found.chunks) if found.kind == FOLDER else [found]
    run = Restore(archive, target)
    run.folder(entries, run.root)
    return f"restored {run.files} files, {run.bytes} bytes"


def show(archive):
    for snapshot in sorted((archive.snapshots[i] for i in archive.visible), key=lambda s: s.time):
        when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=snapshot.time[0])
        paths = [os.fsdecode(path) for path in archive.record(snapshot).paths]
        print(snapshot.id.hex(), f"{when}Z", ascii(snapshot.host), snapshot.files, "files", snapshot.bytes, "bytes",
              ascii(paths), ascii(snapshot.tags))
    print(f"log: {len(archive.entries)} entries, the last is {archive.head.hex()}")


def deep():
    """Allows for folders in folders: each level takes two calls and an open folder."""
    sys.setrecursionlimit(20_000)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    parser = argparse.ArgumentParser(description="Reads icecore repositories without icecore.")
    parser.add_argument("command", choices=["list", "restore"])
    parser.add_argument("repository")
    parser.add_argument("what", nargs="*", help="restore: SNAPSHOT[:PATH] TARGET")
    key = parser.add_mutually_exclusive_group(required=True)
    for option in ("--identity", "--password-file", "--password"):
        key.add_argument(option)
    options = parser.parse_intermixed_args()
    deep()
    try:
        page = open(options.identity, encoding="utf-8").read() if options.identity else None
        password = os.fsencode(options.password or "")
        if options.password_file:
            password = open(options.password_file, "rb").readline().rstrip(b"\r\n")
        archive = Archive(options.repository, page, password)
        if options.command == "restore":
            need(len(options.what) == 2, "restore needs SNAPSHOT[:PATH] and TARGET")
            print(restore(archive, *options.what))
        else:
            show(archive)
    except DAMAGE as error:
        return f"error: {error!r}"


if __name__ == "__main__":
    sys.exit(main())
