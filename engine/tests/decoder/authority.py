"""What entries count for that the owner, writers and strangers put behind those of an archive (spec section 6.1)."""
import os, shutil, struct

from blake3 import blake3

import icecore_decode as decoder

OWNER, CONTEXT = decoder.OWNER, b"icecore v1 log entry"
STATEMENTS = dict(packs=2, snapshots=3, dropped=4, tombstones=5, orphans=7, enrolled=15, revoked=16, void=17,
                  slots=18, sound=21, lost=10)


def cbor(value):
    """The little of CBOR that the entries below need; integers are wider than they should be, which is allowed."""
    def head(major, number):
        return bytes([major << 5 | 27]) + number.to_bytes(8, "big")
    if isinstance(value, dict):
        return head(5, len(value)) + b"".join(cbor(key) + cbor(value[key]) for key in sorted(value))
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    return head(2, len(value)) + value if isinstance(value, bytes) else head(0, value)


class Log:
    """The log of an archive, with entries put behind it; each test begins with those that were there."""

    def __init__(self, repo, identity):
        self.repo, self.identity = repo, identity
        archive = self.read()
        seed, self.repository = archive.identity.seed, archive.repository
        self.secret, self.first = decoder.check_config(archive.config, archive.identity), archive.config.first.id
        self.second, self.begun, self.head = bytes(15) + b"2", len(archive.entries), archive.head
        seeds = {OWNER: decoder.derive("owner signing key", seed, self.repository), self.second: b"2" * 32,
                 self.first: decoder.derive("first writer", seed, self.repository)}
        self.signers = {author: decoder.MLDSA65PrivateKey.from_seed_bytes(one) for author, one in seeds.items()}
        pack = archive.entries[0].packs[0]
        self.pack = {0: pack.id, 1: pack.kind, 2: pack.bytes, 3: pack.digest, 4: pack.crc, 5: "", 6: pack.table}
        snapshot = archive.seen()[-1]
        self.snapshot = {0: b"s" * 16, 1: [0, 0], 2: "thief", 3: [], 4: snapshot.record, 5: 0, 6: 0, 7: [], 8: bytes(16)}
        self.clear()

    def clear(self):
        for name in os.listdir(f"{self.repo}/log"):
            if int(name) > self.begun:
                os.remove(f"{self.repo}/log/{name}")
        self.number, self.previous = self.begun, self.head

    def read(self):
        return decoder.Archive(self.repo, self.identity)

    def put(self, author, data=None, gap=0, signer=None, version=1, padding=0, **said):
        """Puts an entry behind the last one, and returns its number."""
        number = self.number + 1 + gap
        if data is None:
            header = struct.pack("<8sHH16sQ32s", b"ICELOG", version, 0, self.repository, number, os.urandom(32))
            record = {0: self.previous, 1: [0, 0], 2: [], 3: [], 4: [], 5: []}
            record = cbor(record | {STATEMENTS[key]: said[key] for key in said})
            signature = self.signers[signer or author].sign(header + author + record, CONTEXT)
            padded = struct.pack("<H16s3309sI", 1, author, signature, len(record)) + record
            padded = padded.ljust(16 << 10, b"\0") + bytes(padding)
            key = decoder.derive("log entry", self.secret, header)
            data = header + decoder.AESGCMSIV(key).encrypt(bytes(12), padded, header)
        with open(f"{self.repo}/log/{number:016}", "wb") as file:
            file.write(data)
        if not gap:
            self.number, self.previous = number, blake3(data).digest()
        return number

    def enrol(self, author, rights):
        key = self.signers[self.second].public_key().public_bytes_raw()
        return self.put(author, enrolled=[{0: self.second, 1: key, 2: "NAS", 3: rights}])


def check(repo, identity, password):
    """Returns how many entries were put and judged rightly."""
    if not decoder.MLDSA65PrivateKey:
        print("authority: this Python has no ML-DSA, so nothing can be signed")
        return 0
    log, count = Log(repo, identity), 0
    before = log.read()
    first, second, latest = log.first, log.second, before.seen()[-1].id
    wipe = dict(dropped=[latest], tombstones=[[0, 1 << 63]])

    def same(odd):
        """Nothing but the numbers given is odd, and nothing is gone."""
        nonlocal count
        found = log.read()
        assert sorted(found.odd) == sorted(odd), found.odd
        assert found.visible >= before.visible and found.dead == before.dead and latest in found.visible
        count += len(odd)
        return found

    def refused(kind, act):
        nonlocal count
        try:
            act()
        except decoder.Damage as damage:
            assert type(damage) is kind, damage
            count += 1
            return log.clear()
        raise AssertionError("nobody minds")

    # A thief of the first credential takes nothing away, and stops nobody; the owner's word counts behind it.
    odd = [log.put(first, **wipe), log.put(first, data=b"garbage"), log.put(first, packs=[log.pack]),
           log.put(first, orphans=[log.pack[0]]), log.put(OWNER, signer=first, **wipe), log.put(second),
           log.put(first, padding=16 << 10), log.enrol(first, 3), log.put(first, void=[1]), log.put(first, void=[]),
           log.put(first, orphans=[b"o" * 16]), log.put(first, sound=[1]), log.put(first, version=2),
           log.put(first, lost=[[1 << 16, [[0, 1]]]])]
    assert len(same(odd).entries) == log.begun
    log.put(OWNER, void=odd[1:])
    same(odd[:1])
    log.put(OWNER, void=odd)
    same([])
    gone = log.put(OWNER, **wipe)
    found = log.read()
    assert not found.seen() and found.dead == set(found.packs)
    log.put(OWNER, void=[gone])  # a valid entry that the owner makes void
    same([])
    log.clear()

    # Somebody who is enrolled may say what his rights are for, from there on.
    early = log.put(second, signer=second, snapshots=[log.snapshot])
    same([early])
    log.enrol(OWNER, 1)
    log.enrol(OWNER, 255)  # the same writer once more changes nothing
    odd = [early, log.put(second, **wipe)]
    taken = log.put(second, snapshots=[log.snapshot], packs=[{**log.pack, 0: b"p" * 16}])
    found = same(odd)
    assert found.seen()[-1].id == b"s" * 16 and taken << 16 in found.packs and taken << 16 not in found.dead
    # Revoked from a later entry on; then from before: its snapshot is set apart, its pack keeps its place.
    log.put(OWNER, revoked=[[second, taken + 1]])
    assert same(odd).seen()[-1].id == b"s" * 16
    log.put(OWNER, revoked=[[second, taken]])
    found = same(odd)
    assert found.seen()[-1].id == latest and found.apart == {b"s" * 16} and found.packs[taken << 16].apart
    assert found.places[True, log.snapshot[4]][0][0].apart is False, "a revoked pack is the last to be read"
    log.clear()
    log.enrol(OWNER, 7)  # no writer becomes the owner
    odd = [log.put(second, void=[1])]
    same(odd)
    log.put(second, dropped=[latest])
    assert latest not in log.read().visible
    log.clear()

    # The place of a pack that is added again names that pack, and nothing else.
    again = log.put(first, packs=[log.pack])
    log.put(OWNER, snapshots=[{**log.snapshot, 7: [[again << 16, 1]]}])
    own = {place for place, pack in before.packs.items() if pack.id == log.pack[0]}
    assert same([again]).snapshots[b"s" * 16].needs == own
    log.clear()

    # Which passwords are valid, the owner says; an old slot that is put back opens, and is refused.
    def locked():
        decoder.Archive(repo, password=password)
    locked()
    slot = bytes.fromhex(os.listdir(f"{repo}/keys")[0])
    same([log.put(first, slots=[])])
    log.put(OWNER, slots=[bytes(16), slot])
    locked()
    log.put(OWNER, slots=[bytes(16)])
    refused(decoder.Damage, locked)
    log.clear()
    # Whoever floods `keys/` locks nobody out.
    false = [f"{repo}/keys/{number:032x}" for number in range(100)]
    for name in false:
        with open(name, "wb") as file:
            file.write(b"no slot")
    locked()
    for name in false:
        os.remove(name)

    # What lies behind the end; and what is proof of damage.
    same([log.put(first, data=b"garbage", gap=7), log.put(second, gap=9, signer=second), log.put(first, gap=10)])
    log.put(OWNER, gap=8)
    refused(decoder.Damage, log.read)
    # A writer proves nothing: his entry counts, and is doubtful until the owner calls it sound, or void.
    for word, counts in (("sound", True), ("void", False)):
        log.previous = bytes(32)
        lie = log.put(first, snapshots=[log.snapshot])
        assert b"s" * 16 in same([lie]).visible
        log.put(OWNER, **{word: [lie]})
        assert (b"s" * 16 in same([]).visible) == counts
        log.clear()
    log.put(first, data=b"garbage")
    log.previous = bytes(32)
    log.put(OWNER)
    refused(decoder.Damage, log.read)
    log.put(OWNER, version=2)
    refused(decoder.Newer, log.read)
    same([log.put(first, version=2, signer=second)])  # unsigned, so that its version is nobody's word
    log.clear()
    return count
