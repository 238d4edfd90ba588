#!/usr/bin/env python3
"""Reads icecore repositories of format version 1, without icecore.

Written from format-spec.md alone, to be read beside it: numbers like (4.3) are its sections. It lists
snapshots in a local folder and restores them, and writes nothing there. icecore_verify.py checks the rest.

    python3 -m venv v && v/bin/pip install 'cryptography>=50' zstandard blake3
    v/bin/python icecore_decode.py list ARCHIVE --identity identity.txt
    v/bin/python icecore_decode.py restore ARCHIVE --password-file FILE latest:home/me/photos TARGET
"""
import argparse, bisect, datetime, functools, os, re, resource, stat, struct, sys, unicodedata
from hashlib import sha3_256, shake_256
from types import SimpleNamespace

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey, MLDSA65PublicKey
except ImportError:  # an older release: reading works, and who has said what in the log is not proven
    MLDSA65PrivateKey = MLDSA65PublicKey = None

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
META, HOT, COLD = 1, 2, 3  # kinds of packs
PREFIX = {META: "meta", HOT: "hot", COLD: "packs"}
FILE, FOLDER, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(7)  # kinds of entries
STORED, ZSTD, HEADER = 0, 1, 1200  # codecs, and the bytes before the frames of a pack
MEMORY_MOST = MIB  # KiB that a password may take
OWNER, ADD, PRUNE, EVERYTHING = bytes(16), 1, 2, 7  # the author that is the owner, and rights (6.1)

sys.setrecursionlimit(20_000)  # each folder in a folder takes some calls, and an open folder
open_most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (10_240 if open_most == resource.RLIM_INFINITY else open_most, open_most))

class Damage(ValueError):
    """The bytes are not what the specification allows."""
class Newer(Damage):
    """A newer program may know more (7)."""
    author = None  # of a log entry
DAMAGE = (ValueError, OSError, ArithmeticError, InvalidSignature, InvalidTag, zstandard.ZstdError)  # the libraries' too

def need(condition, complaint, sort=Damage):
    if not condition:
        raise sort(complaint)

# ---- 1.2: CBOR. A reader is a function that takes a Cbor and returns a value.
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

    def skip(self, left=1):
        """Passes over values; what is inside them is counted, not recursed into."""
        while left:
            major, value = self.head()
            self.take(value if major in (2, 3) else 0)
            left += {4: value, 5: 2 * value, 6: 1}.get(major, 0) - 1

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
def text(cbor, form="(?s:.*)"):
    value = cbor.take(cbor.head(3)).decode("utf-8")
    need(re.fullmatch(form, value), "a text that is not of the form wanted")
    return value
def array(item, most=2**64):
    return lambda cbor: [item(cbor) for _ in range(within(cbor.head(4), 0, min(most, len(cbor.data))))]

def elements(*items, exact=False):
    """An array whose places have meanings; others may follow unless exact."""
    def read(cbor):
        count = within(cbor.head(4), len(items), len(items) if exact else 2**64)
        values = tuple(item(cbor) for item in items)
        cbor.skip(count - len(items))
        return values
    return read

def record(**fields):
    """A map. Each field is name=(key, reader) or, if it is optional, name=(key, reader, default)."""
    by_key = {field[0]: (name, *field[1:]) for name, field in fields.items()}
    def read(cbor):
        values = {}
        for _ in range(cbor.head(5)):
            key = within(cbor.head(0), 0, 2**63 - 1)
            name, reader, *default = by_key.get(key, (f"unknown {key}", Cbor.skip))
            need(name not in values, f"the key {key} comes twice")
            null = default and cbor.data[cbor.at : cbor.at + 1] == b"\xf6"  # as if it were absent
            values[name] = (cbor.skip(), default[0])[1] if null else reader(cbor)
        for name, _, *default in by_key.values():
            need(name in values or default, f"the field {name} is missing")
            values.setdefault(name, *default)
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

HISTORY = functools.partial(text, form=r"[^\0-\x1f\x7f-\x9f]{1,255}")
STORAGE_CLASS = functools.partial(text, form="[A-Za-z0-9_]{0,64}")
ID16, ID32, U32, U64 = bstr(16, 16), bstr(32, 32), uint(2**32 - 1), uint()
TIME, RANGE = elements(integer, uint(999_999_999)), elements(U64, U64)
IDS, LOST = array(ID16), array(elements(U64, array(RANGE)))
SETTINGS = record(  # 4.1
    pack_class=(0, STORAGE_CLASS), hot_class=(1, STORAGE_CLASS), pack_bytes=(2, uint(512 * MIB, MIB)),
    hot_pack_bytes=(3, uint(512 * MIB, MIB)), small_file_bytes=(4, U64), parity_percent=(5, uint(50, 1), None),
    undelete_days=(6, uint(3650), None))
PACK_RECORD = record(  # 4.3
    id=(0, ID16), kind=(1, uint(COLD, META)), bytes=(2, uint(2 * GIB)), digest=(3, ID32), crc=(4, U64),
    storage_class=(5, STORAGE_CLASS), table=(6, bstr(0, 41 << 20)))
SNAPSHOT_ENTRY = record(
    id=(0, ID16), time=(1, TIME), host=(2, text), tags=(3, array(text)), record=(4, ID32), files=(5, U64),
    bytes=(6, U64), packs=(7, array(RANGE)), paths_key=(8, ID16), history=(9, HISTORY, None), marked=(10, U64, None),
    sources=(11, array(elements(ID16, U64, U64)), []))
WRITER = record(id=(0, ID16), key=(1, bstr(1952, 1952)), label=(2, text), rights=(3, uint(255)))
LOG_ENTRY = record(
    previous=(0, ID32), time=(1, TIME), packs=(2, array(PACK_RECORD)), snapshots=(3, array(SNAPSHOT_ENTRY)),
    dropped=(4, IDS), tombstones=(5, array(RANGE)), settings=(6, SETTINGS, None), orphans=(7, IDS, []),
    undropped=(8, IDS, []), moved=(9, LOST, []), lost=(10, LOST, []), found=(11, LOST, []), accepted=(12, IDS, None),
    replaced=(13, array(elements(ID16, ID16)), None), tagged=(14, array(elements(ID16, array(text))), None),
    enrolled=(15, array(WRITER), None), revoked=(16, array(elements(ID16, U64)), None), void=(17, array(U64), None),
    slots=(18, array(ID16, 64), None), seen=(20, ID32, None), sound=(21, array(U64), None))
TREE = array(record(  # 4.6
    name=(0, bstr(1, 4096)), kind=(1, uint(BLOCK)), mode=(2, U32), uid=(3, U32), gid=(4, U32), mtime=(5, TIME),
    size=(6, U64, 0), chunks=(7, ids, []), holes=(8, array(elements(U64, U64)), []),
    target=(9, bstr(0, 64 * KIB), b""), xattrs=(10, array(elements(bstr(), bstr())), []),
    link=(11, elements(U64, U64, exact=True), None), device=(12, U64, 0), mark=(13, U64, 0)), 65_536)
SNAPSHOT_RECORD = record(  # 4.7
    id=(0, ID16), time=(1, TIME), paths=(2, array(bstr())), root=(3, ids), host=(4, text), tags=(5, array(text)),
    program=(6, text), failed=(7, U64), places=(8, array(elements(bstr(), bstr())), []), history=(9, HISTORY, None),
    base=(10, bstr(), None))

# ---- 1.1, 3: keys
def derive(context, *parts):
    return blake3(b"".join(parts), derive_key_context=f"icecore v1 {context}").digest()
def open_sealed(key, counter, domain, sealed, data):  # 3.3
    return AESGCMSIV(key).decrypt(struct.pack("<QI", counter, domain), sealed, data)

class Identity:
    """The X-Wing key pair of the identity: ML-KEM-768 and X25519 side by side (1.1)."""
    def __init__(self, seed):
        self.seed, expanded = seed, shake_256(seed).digest(96)
        self.lattice = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])  # d and z of FIPS 203
        self.curve = X25519PrivateKey.from_private_bytes(expanded[64:])
        self.public_key = self.lattice.public_key().public_bytes_raw() + self.curve.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext):
        point = ciphertext[1088:]
        shared = self.curve.exchange(X25519PublicKey.from_public_bytes(point))
        secrets = self.lattice.decapsulate(ciphertext[:1088]) + shared
        return sha3_256(secrets + point + self.public_key[1184:] + b"\\.//^\\").digest()

    @staticmethod
    def from_text(page):  # 3.1: the first place that begins as one does and has a right checksum, in bech32m
        text = re.sub(r"<[^>]*>|[\s_\u00ad\u2010-\u2015\u2212\u200b\ufeff-]", "", page).lower()
        for place in re.finditer("(?=[i1l|]cec[o0]re[i1l|]dent[i1l|]ty[i1l|](.{58}))", text):
            data = place.group(1).translate(str.maketrans("obi1|", "08lll"))
            values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(letter) for letter in data]
            prefix, check = "icecore-identity-", 1
            for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values:
                top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
                for bit, word in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                    check ^= word if top >> bit & 1 else 0
            bits = sum(value << 5 * (51 - i) for i, value in enumerate(values[:52]))
            if min(values) >= 0 and check == 0x2BC830A3 and bits & 15 == 0:
                return Identity((bits >> 4).to_bytes(32, "big"))
        raise Damage("no identity, or it is mistyped")

# ---- 4: objects
def preamble(data, magic, length, flags=0):  # 1.3, 7
    need(len(data) >= length and data[:8] == magic.ljust(8, b"\0"), "an object is cut off, or of another sort")
    need(data[8:10] == b"\1\0" and data[10] & ~flags == data[11] == 0, "version or flags are unknown: a newer program may know them")

def parse_config(data):  # 4.1; the MAC is checked later
    preamble(data, b"ICECORE", 5184)
    least, average, most, block, length = struct.unpack_from("<5I", data, 5164)
    need(least % 2 == average % 2 == most % 2 == 0 and 64 <= least <= MIB and 256 <= average <= 4 * MIB
         and KIB <= most <= 16 * MIB and least <= average <= most and 512 <= block <= MIB, "chunking: out of limits")
    need(length <= 4096 and len(data) == 5184 + length + 32, "config has the wrong length")
    settings = decode(SETTINGS, data[5184:-32])
    first = SimpleNamespace(id=data[3196:3212], key=data[3212:5164], rights=ADD)
    return SimpleNamespace(repository=data[12:28], public_key=data[28:1244], owner_key=data[1244:3196], first=first,
                           settings=settings, data=data)

def check_config(config, identity):
    need(identity.public_key == config.public_key, "this identity is not that of the repository")
    parts = identity.seed, config.repository
    need(derive("first writer id", *parts)[:16] == config.first.id, "config names another first writer")
    for context, key in (("owner signing key", config.owner_key), ("first writer", config.first.key)):  # 3.2
        ours = MLDSA65PrivateKey and MLDSA65PrivateKey.from_seed_bytes(derive(context, *parts)).public_key()
        need(not ours or ours.public_bytes_raw() == key, f"config has another {context}")
    secret = derive("dedup secret", *parts)
    mac = blake3(config.data[:-32], key=derive("config", secret)).digest()
    need(mac == config.data[-32:], "config was changed")
    return secret

def open_slot(data, repository, slot, password):  # 4.2, 3.5; None: another repository's, or a wrong password
    need(len(data) <= 1024, "a key slot is too large")
    preamble(data, b"ICEKEY", 178)
    if data[12:28] != repository:
        return None
    memory, passes, lanes, length = struct.unpack_from("<3I64xH", data, 52)
    need(length <= 255 and len(data) == 210 + length and blake3(data[:-32]).digest() == data[-32:], "a damaged slot")
    need(data[28:44] == slot, "a key slot under another name")
    need(memory <= MEMORY_MOST, f"its password takes {memory // KIB} MiB of memory: --allow-memory {-(-memory // MIB)}")
    need(max(8, 8 * lanes) <= memory <= 64 * MIB and 1 <= passes <= 16 and 1 <= lanes <= 16, "Argon2id: out of limits")
    data[130 : 130 + length].decode("utf-8")  # the label
    kek = Argon2id(salt=data[64:96], length=32, iterations=passes, lanes=lanes, memory_cost=memory).derive(password)
    if derive("slot commitment", kek) == data[96:128]:
        return Identity(open_sealed(derive("slot key", kek), 0, 0, data[130 + length : -32], data[: 130 + length]))

def parse_table(table, end):  # 4.5; end: no frame may reach beyond it
    need(len(table) % 41 == 0 and len(table) <= 41 << 20, "a table is cut off or too long")
    rows, offset = [], HEADER
    for slot in range(len(table) // 41):
        chunk, raw, stored, codec = struct.unpack_from("<32sIIB", table, 41 * slot)
        need(codec in (STORED, ZSTD), "an unknown codec: made by a newer program", Newer)
        need((raw + 16 if codec == STORED else 16) <= stored <= raw + 16, "a frame of the wrong length")
        need(raw <= 64 * MIB and offset + stored <= end, "a chunk is too large")
        rows.append(SimpleNamespace(id=chunk, slot=slot, offset=offset, raw=raw, stored=stored, codec=codec))
        offset += stored
    need(len({row.id for row in rows}) == len(rows), "a chunk twice in a table")
    return rows

def parse_log_entry(data, secret, repository, number, key_of):  # 4.3; key_of tells the key of an author
    need(len(data) >= 68 and data[:8] == b"ICELOG\0\0" and data[8:10] != b"\0\0", "no log entry")
    need(data[12:28] == repository and data[28:36] == struct.pack("<Q", number), "a log entry in the wrong place")
    padded = open_sealed(derive("log entry", secret, data[:68]), 0, 0, data[68:], data[:68])
    scheme, author, signature, length = struct.unpack_from("<H16s3309sI", padded.ljust(3331, b"\0"))
    end = 3331 + length
    need(scheme == 1 and len(padded) == max(16 * KIB, 1 << (end - 1).bit_length()) and not any(padded[end:]),
         "another scheme or padding")
    key, record = key_of(author), padded[3331:end]
    need(key is not None, "its author is not enrolled")
    if MLDSA65PublicKey:  # 3.7
        message = data[:68] + author + record
        MLDSA65PublicKey.from_public_bytes(key).verify(signature, message, b"icecore v1 log entry")
    # Only now: anybody can write a number, and nobody may stop who reads by it (6.1).
    try:
        need(data[8:10] == b"\1\0" and data[10] & ~1 == data[11] == 0, "version or flags of a newer program", Newer)
        entry = decode(LOG_ENTRY, record)
        tables = [parse_table(pack.table, pack.bytes) for pack in entry.packs]
    except Newer as newer:
        newer.author = author
        raise
    need(all(len(writer.label.encode()) <= 255 for writer in entry.enrolled or ()), "a label is too long")
    entry.number, entry.author = number, author
    for index, pack in enumerate(entry.packs):
        pack.rows, pack.name = tables[index], f"{PREFIX[pack.kind]}/{pack.id.hex()}"
        pack.place = number << 16 | index  # 6.2
    takes = entry.dropped or entry.undropped or entry.tombstones or entry.orphans
    entry.needed = bool(entry.packs or entry.snapshots) * ADD | bool(takes) * PRUNE
    owners = (entry.accepted, entry.replaced, entry.tagged, entry.enrolled, entry.revoked, entry.void, entry.settings,
              entry.slots, entry.sound)
    if entry.lost or entry.found or entry.moved or any(said is not None for said in owners):
        entry.needed = EVERYTHING
    return entry

def parse_tree(data, last=b""):  # 4.6; last: the name before the first
    entries = decode(TREE, data)
    for entry in entries:
        need(entry.name not in (b".", b"..") and not set(entry.name) & set(b"/\0"), "a forbidden name")
        need(entry.name > last, "names are not in order")
        last, at = entry.name, 0
        need(sum(len(name) + len(value) for name, value in entry.xattrs) <= 16 * MIB, "attributes are too large")
        for offset, length in entry.holes:
            need(length and offset >= at and offset + length <= entry.size, "holes are out of order")
            at = offset + length
    return entries

class Pack:
    """The front of a pack: what opens its frames (4.5)."""
    def __init__(self, header, archive, pack_id, kind):
        preamble(header, b"ICEPACK", HEADER)
        self.context = header[:12] + bytes([kind, 0, 0, 0]) + archive.repository + pack_id
        need(header[:48] == self.context, "a pack of another kind, or in the wrong place")
        self.shared = archive.identity.decapsulate(header[48:1168])
        need(derive("pack commitment", self.shared, self.context) == header[1168:HEADER], "a pack without its key")
        self.id_key = archive.id_keys[kind == META]
        self.key = derive("pack key", self.shared, self.context)

    def chunk(self, frame, row):  # 3.3, 3.4, 9.6
        data = self.context + struct.pack("<I32sBI", row.slot, row.id, row.codec, row.raw)
        content = open_sealed(self.key, row.slot, 0, frame, data)
        if row.codec == ZSTD:  # one byte more than told is asked for, and never more than that is made
            content = zstandard.ZstdDecompressor().stream_reader(content, read_across_frames=True).read(row.raw + 1)
        need(len(content) == row.raw, "a chunk of the wrong length")
        need(blake3(content, key=self.id_key).digest() == row.id, "a chunk of other content")
        return content

# ---- 6, 9: the archive
class Archive:
    def __init__(self, folder, page=None, password=None):
        self.folder, self.opened, self.slot, self.slots = folder, {}, None, None
        self.config = parse_config(self.read("config", 16 * KIB))
        self.repository = self.config.repository
        self.identity = Identity.from_text(page) if page is not None else self.unlock(password)
        secret = check_config(self.config, self.identity)
        self.id_keys = derive("chunk id of data", secret), derive("chunk id of metadata", secret)
        self.writers = {OWNER: SimpleNamespace(key=self.config.owner_key, rights=EVERYTHING)}
        self.writers[self.config.first.id] = self.config.first
        self.packs, self.by_id, self.order, self.dead, self.orphans = {}, {}, [], set(), set()
        self.entries, self.snapshots, self.visible, self.apart, self.dropped = [], {}, set(), set(), set()
        self.again = {}  # places of void entries that name the packs of others (6.1)
        self.settings, self.head, self.odd = self.config.settings, blake3(self.config.data).digest(), {}
        self.secret = secret
        self.read_log(secret)
        need(None in (self.slot, self.slots) or self.slot in self.slots, "the owner has removed this password")  # 4.2
        self.places = {}  # 9.4: (in a meta pack, chunk id) to [(pack, row)], those of revoked writers last
        self.alive = [pack for place, pack in self.packs.items() if place not in self.dead]
        for pack in sorted(self.alive, key=lambda pack: pack.apart):
            for row in pack.rows:
                self.places.setdefault((pack.kind == META, row.id), []).append((pack, row))

    def has_mark(self):  # 4.11
        if not os.path.isfile(os.path.join(self.folder, "log", "mirror")):
            return False
        try:
            mark = self.read("log/mirror", 4096)
        except OSError:
            return True
        except ValueError:  # it is too long
            return False
        names_it = mark[12:28] == self.repository
        decodes = len(mark) == 60 and mark[:12] == b"ICEMIRR\0\1\0\0\0" and blake3(mark[:28]).digest() == mark[28:]
        return names_it if decodes else names_it or mark[:8] == b"ICEMIRR\0"

    def read_log(self, secret):  # 6.1
        numbers = [int(name) for name in self.names("log", "[0-9]{16}") if int(name)]
        self.is_mirror = self.has_mark()
        known, revoked, void, doubtful, sound, last = set(), {}, set(), set(), set(), 0
        for number in numbers:
            data = self.read(f"log/{number:016}", 64 * MIB)
            try:
                entry = parse_log_entry(data, secret, self.repository, number,
                                        lambda author: getattr(self.writers.get(author), "key", None))
            except Newer as error:
                if error.author == OWNER:
                    raise
                entry, self.odd[number] = None, f"void: {error!r}"
            except DAMAGE as error:  # void, or damaged: an entry behind it tells
                entry, self.odd[number] = None, f"void: {error!r}"
            proves = entry is not None and entry.author == OWNER  # only his word is proof of damage
            if number > last + 1 and self.is_mirror:  # what follows has not arrived yet (6.7)
                break
            if number > last + 1:  # the log ends at the gap, if nothing shows that it is damage
                need(not proves, f"entry {last + 1} of the log is missing, and entry {number} is there")
                self.odd[number] = "behind the end of the log"
                continue
            follows = entry is None or entry.previous == self.head
            need(follows or not proves, f"log entry {number} does not follow the one before it")
            last, self.head = number, blake3(data).digest()
            added = [pack.id for pack in entry.packs] if entry else []
            if entry and entry.needed & ~self.writers[entry.author].rights:
                self.odd[number] = "void: its author may not say what it says"
            elif entry and (len(added) > 65_536 or (known | set(added)) & set(entry.orphans) or number >= 1 << 47):
                self.odd[number] = "void: it calls a pack of the log an orphan, or is too large"
            elif len(added) != len(set(added)) or known & set(added):
                self.odd[number] = "void: it adds a pack twice"
                self.again.update((pack.place, pack.id) for pack in entry.packs if pack.id in known)
            elif entry:
                known |= set(added)
                self.entries.append(entry)
                if not follows:
                    doubtful.add(number)
                    self.odd[number] = "doubtful: it names another entry as the one before it"
                for writer in entry.enrolled or ():
                    writer.rights &= ADD | PRUNE
                    self.writers.setdefault(writer.id, writer)
                if number not in void:
                    void |= set(entry.void or ())
                    sound |= set(entry.sound or ())
                    for writer, begin in entry.revoked or ():
                        revoked[writer] = min(begin, revoked.get(writer, begin))
        revoked.pop(OWNER, None)
        for entry in self.entries:  # once it is known of all what the owner says of them
            self.apply(entry, entry.number in void or entry.number >= revoked.get(entry.author, 1 << 64))
        self.odd = {number: why for number, why in self.odd.items() if number not in void | doubtful & sound}
        if not MLDSA65PublicKey: self.odd[0] = "this Python has no ML-DSA: who has written the entries is not proven"

    def names(self, folder, pattern):
        path = os.path.join(self.folder, folder)
        return sorted(filter(re.compile(pattern).fullmatch, os.listdir(path))) if os.path.exists(path) else []

    def read(self, name, most):
        with open(os.path.join(self.folder, name), "rb") as file:
            data = file.read(most + 1)
        need(len(data) <= most, f"{name} is too large")
        return data

    def unlock(self, password):  # 9.2
        slots, forms, opened = self.names("keys", "[0-9a-f]{32}"), [password], []
        if not password.isascii():  # 3.5; what is no UTF-8 is tried as it is
            text = password.decode("utf-8", "surrogateescape")
            forms += [unicodedata.normalize(form, text).encode("utf-8", "surrogateescape") for form in ("NFC", "NFD")]
        if len(slots) > 64:  # in turn the oldest and the newest (4.2)
            slots.sort(key=lambda name: os.stat(os.path.join(self.folder, "keys", name)).st_mtime)
            slots = [slots[-1 - at // 2 if at % 2 else at // 2] for at in range(64)]
        for name, form in ((name, form) for form in forms for name in slots):
            try:
                data = self.read(f"keys/{name}", 1024)
                if found := open_slot(data, self.repository, bytes.fromhex(name), form):
                    opened.append((struct.unpack_from("<q", data, 44), data[28:44], found))
            except DAMAGE as damage:
                print(f"keys/{name}: {damage!r}", file=sys.stderr)
        need(opened, "the password opens no key slot")
        _, self.slot, found = max(opened, key=lambda one: one[:2])  # the newest (4.2)
        return found

    def apply(self, entry, apart):  # 6.2, in this order
        for pack in entry.packs:
            pack.apart = apart
            self.by_id[pack.id] = self.packs[pack.place] = pack
            self.order.append(pack.place)
        def expand(ranges):  # the packs that are there, of a range of places
            find = functools.partial(bisect.bisect_left, self.order)
            own = {place for first, count in ranges for place in self.order[find(first) : find(first + count)]}
            return own | {self.by_id[pack].place for place, pack in self.again.items() if place >> 16 < entry.number
                          and any(first <= place < first + count for first, count in ranges)}
        for snapshot in (snapshot for snapshot in entry.snapshots if snapshot.id not in self.snapshots):
            snapshot.needs = expand(snapshot.packs)
            snapshot.place, self.snapshots[snapshot.id] = len(self.snapshots), snapshot
            (self.apart if apart else self.visible).add(snapshot.id)
        self.dead |= {self.by_id[orphan].place for orphan in self.orphans if orphan in self.by_id}
        self.orphans |= set(entry.orphans)
        if apart:
            return
        self.dead |= expand(entry.tombstones)
        for new, old in entry.replaced or ():
            if {new, old} <= set(self.snapshots):
                self.snapshots[new].place = self.snapshots[old].place
                self.visible.discard(old)
                self.dropped.add(old)
        for snapshot, tags in entry.tagged or ():
            if snapshot in self.snapshots:
                self.snapshots[snapshot].tags = tags
        self.dropped |= set(entry.dropped) & set(self.snapshots)
        self.dropped -= set(entry.undropped)
        self.visible -= set(entry.dropped)
        self.visible |= set(entry.undropped) & set(self.snapshots) - self.apart
        moves = {place: expand(ranges) for source, ranges in entry.moved for place in expand([(source, 1)])}
        for snapshot in self.seen() if moves else ():
            gone = snapshot.needs & set(moves)
            snapshot.needs = (snapshot.needs - gone).union(*(moves[i] for i in gone))
        self.settings = entry.settings or self.settings
        self.slots = self.slots if entry.slots is None else entry.slots

    def chunk(self, chunk_id, meta):  # 9.6: any pack that is alive serves
        problem = Damage(f"chunk {chunk_id.hex()} is in no pack")
        for pack, row in self.places.get((meta, chunk_id), ()):
            try:
                with open(os.path.join(self.folder, pack.name), "rb") as file:
                    if pack.id not in self.opened:
                        self.opened[pack.id] = Pack(file.read(HEADER), self, pack.id, pack.kind)
                    file.seek(row.offset)
                    return self.opened[pack.id].chunk(file.read(row.stored), row)
            except DAMAGE as error:
                problem = Damage(f"{pack.name}: {error!r}")
        raise problem

    def tree(self, chunks):
        entries = []
        for chunk in chunks:
            entries += parse_tree(self.chunk(chunk, True), entries[-1].name if entries else b"")
        return entries

    def seen(self):  # in the order of the log
        return sorted((self.snapshots[i] for i in self.snapshots if i in self.visible), key=lambda s: s.place)

    def find(self, name):
        """A snapshot by the beginning of its id, or the latest one."""
        found = [snapshot for snapshot in self.seen() if name == "latest" or snapshot.id.hex().startswith(name)]
        need(found and (len(found) == 1 or name == "latest"), f"{len(found)} snapshots are called {name!r}")
        return found[-1]

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
        self.archive, self.links, self.files, self.bytes, self.failed = archive, {}, 0, 0, 0
        os.makedirs(target, exist_ok=True)
        need(not os.listdir(target), f"{target} is not empty")
        self.root, self.is_root = os.open(target, os.O_RDONLY | os.O_DIRECTORY), os.geteuid() == 0

    def folder(self, entries, at, path=()):
        need(len(path) <= 2048, "folders are nested too deep")
        for entry in entries:
            self.attempt(path + (entry.name,), self.entry, entry, at, path + (entry.name,))

    def attempt(self, path, action, *arguments):
        try:
            action(*arguments)
        except DAMAGE as error:
            self.failed += 1
            print(f"FAILED {ascii(os.fsdecode(b'/'.join(path)))}: {error!r}", file=sys.stderr)

    def entry(self, entry, at, path):
        name = entry.name
        if entry.kind == FILE:
            same = (entry.link, entry.size, tuple(entry.chunks), tuple(entry.holes))
            if entry.link and same in self.links:  # 4.6
                os.link(self.links[same], name, src_dir_fd=self.root, dst_dir_fd=at, follow_symlinks=False)
            else:
                self.file(entry, at)
            self.links[same] = b"/".join(path)
            if entry.mark == 2: print(f"TORN {ascii(os.fsdecode(b'/'.join(path)))}: changed while read", file=sys.stderr)
            self.files, self.bytes = self.files + 1, self.bytes + entry.size
        elif entry.kind == FOLDER:
            os.mkdir(name, 0o700, dir_fd=at)
            inside = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            self.attempt(path, lambda: self.folder(self.archive.tree(entry.chunks), inside, path))
            os.close(inside)
        elif entry.kind == SYMLINK:
            os.symlink(entry.target, name, dir_fd=at)
        else:
            sort = {FIFO: stat.S_IFIFO, SOCKET: stat.S_IFSOCK, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK}
            os.mknod(name, sort[entry.kind] | 0o600, entry.device, dir_fd=at)
        if self.is_root:
            os.chown(name, entry.uid, entry.gid, dir_fd=at, follow_symlinks=False)
        for key, value in entry.xattrs if hasattr(os, "setxattr") else ():  # Linux only
            this = b"/proc/self/fd/%d/%s" % (at, name)  # there is no call that takes an open folder
            self.attempt(path, lambda: os.setxattr(this, key, value, follow_symlinks=False))
        if entry.kind != SYMLINK:  # after the owner, which takes bits away
            os.chmod(name, entry.mode & 0o7777, dir_fd=at)
        os.utime(name, ns=(entry.mtime[0] * 10**9 + entry.mtime[1],) * 2, dir_fd=at, follow_symlinks=False)

    def file(self, entry, at):
        self.archive.file_length(entry)
        output = os.open(entry.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=at)
        try:
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
        except DAMAGE:
            os.unlink(entry.name, dir_fd=at)  # no part may pass for the whole
            raise

def restore(archive, which, target):
    name, _, path = which.partition(":")
    entries = archive.tree(archive.record(archive.find(name)).root)
    for part in filter(None, os.fsencode(path).split(b"/")):  # 9.8
        found = next((entry for entry in entries if entry.name == part), None)
        need(found is not None, f"{path} is not in the snapshot")
        entries = archive.tree(found.chunks) if found.kind == FOLDER else [found]
    run = Restore(archive, target)
    run.folder(entries, run.root)
    return run

def show(archive):
    for snapshot in archive.seen():
        when = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=min(max(snapshot.time[0], -6e10), 2.5e11))
        what = ascii([snapshot.host, *map(os.fsdecode, archive.record(snapshot).paths), *snapshot.tags])
        print(f"{snapshot.id.hex()} {when}Z {snapshot.files} files, {snapshot.bytes} bytes, {what}")
    for name in archive.apart - archive.dropped:
        print(f"{name.hex()} set apart: its writer is revoked")
    print(f"log: {len(archive.entries)} entries, the head is {archive.head.hex()}")

def main():
    parser = argparse.ArgumentParser(description="Reads icecore repositories without icecore.")
    parser.add_argument("command", choices=["list", "restore"])
    parser.add_argument("repository")
    parser.add_argument("what", nargs="*", help="restore: SNAPSHOT[:PATH] TARGET")
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument("--identity", metavar="FILE")
    key.add_argument("--password-file", metavar="FILE", help="the password is its first line")
    parser.add_argument("--allow-memory", metavar="GIB", type=int, default=1, help="that a password may take")
    options = parser.parse_intermixed_args()
    globals()["MEMORY_MOST"] = options.allow_memory * MIB
    try:
        page = open(options.identity, encoding="utf-8").read() if options.identity else None
        password = open(options.password_file, "rb").readline().rstrip(b"\r\n") if options.password_file else None
        archive = Archive(options.repository, page, password)
        for number, why in archive.odd.items():
            print(f"log entry {number}: {why}" if number else why, file=sys.stderr)
        if options.command == "restore":
            need(len(options.what) == 2, "restore needs SNAPSHOT[:PATH] and TARGET")
            run = restore(archive, *options.what)
            print(f"restored {run.files} files, {run.bytes} bytes; failed: {run.failed}")
            return min(run.failed, 1)
        show(archive)
    except DAMAGE as error:
        return f"error: {error!r}"
if __name__ == "__main__":
    sys.exit(main())
