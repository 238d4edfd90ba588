#!/usr/bin/env python3
"""Checks what icecore_decode.py does not need to restore: each byte of each pack, checkpoints, what the log says.

    v/bin/python icecore_verify.py ARCHIVE identity.txt
"""
import collections, struct, sys

import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from icecore_decode import (
    DAMAGE, FILE, FOLDER, HEADER, OWNER, Archive, Pack, derive, need, open_sealed, parse_log_entry, parse_table)

CRC_TABLE = []


def crc64(data):  # 4.5, CRC-64/NVME
    if not CRC_TABLE:
        for value in range(256):
            for _ in range(8):
                value = value >> 1 ^ (0x9A6C9329AC4BC9B5 if value & 1 else 0)  # the polynomial, reflected
            CRC_TABLE.append(value)
    crc, table = 2**64 - 1, CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 2**64 - 1


def padded(length):  # 4.4
    if length <= 4 << 20:
        return max(16 << 10, 1 << (length - 1).bit_length()) if length else 0
    step = 1 << length.bit_length() - 8
    return -(-length // step) * step


def parse_trailer(trailer, end):  # 4.5
    need(len(trailer) == 16, "a trailer is cut off")
    offset, length = struct.unpack("<QQ", trailer)
    need(offset >= HEADER and length >= 16 and offset + length + 32 == end, "a trailer of other lengths")
    return offset, length


def table_of(front, data):
    """The table as the pack itself has it, its rows, and the digest; checks trailer and padding."""
    offset, length = parse_trailer(open_sealed(front.key, 0, 2, data[-32:], front.context), len(data))
    table = open_sealed(front.key, 0, 1, data[offset : offset + length], front.context)
    rows = parse_table(table, offset)
    end = rows[-1].offset + rows[-1].stored if rows else HEADER
    padding = blake3(b"", key=derive("pack padding", front.shared, front.context)).digest(length=offset - end)
    need(data[end:offset] == padding, "the padding of a pack is damaged")
    need(len(data) == padded(end + len(data) - offset), "a pack is padded to another length")
    return table, rows, blake3(data[:HEADER] + data[offset:]).digest()


def verify_pack(archive, logged, data):
    front = Pack(data[:HEADER], archive, logged.id, logged.kind)
    table, rows, digest = table_of(front, data)
    need(len(data) == logged.bytes, "a pack is not as long as the log has it")
    need(table == logged.table and digest == logged.digest, "table or digest are not those of the log")
    need(crc64(data) == logged.crc, "the CRC is not that of the log")
    for row in rows:
        front.chunk(data[row.offset : row.offset + row.stored], row)


Slot = collections.namedtuple("Slot", "digest said salt signature data")  # said: version ‖ flags ‖ author, and record


def slot_of(archive, number):
    """What a slot of the log holds, once it is known whether an enrolled author has signed it (4.9, 6.1)."""
    data = archive.read(f"log/{number:016}", 64 << 20)
    digest = blake3(data).digest()
    try:
        key_of = lambda author: getattr(archive.writers.get(author), "key", None)
        parse_log_entry(data, archive.secret, archive.repository, number, key_of)
    except DAMAGE:
        return Slot(digest, None, bytes(32), bytes(3309), data)
    padded = open_sealed(derive("log entry", archive.secret, data[:68]), 0, 0, data[68:], data[:68])
    length, = struct.unpack_from("<I", padded, 3327)
    said = data[8:12] + padded[2:18], padded[3331 : 3331 + length]
    return Slot(digest, said, data[36:68], padded[18:3327], data)


def seen_after(before, digest, said):  # 6.1
    return derive("seen", before, digest, bytes([said is not None]), *(said or ()))


def verify_seen(archive):
    """What each entry of the owner had seen is what is there."""
    seen, owners = bytes(32), {entry.number: entry for entry in archive.entries if entry.author == OWNER}
    for number in (int(name) for name in archive.names("log", "[0-9]{16}")):
        if number in owners and owners[number].seen is not None:
            need(owners[number].seen == seen, f"the owner has seen another log before entry {number}")
        slot = slot_of(archive, number)
        seen = seen_after(seen, slot.digest, slot.said)


def verify_checkpoint(archive, data, first, last):  # 4.9: both parts, against the log itself
    head, count = data[:76], last - first + 1
    header = struct.pack("<8sHH16sQQ", b"ICECKPT", 1, 0, archive.repository, first, count)
    need(head[:44] == header and len(data) > 76 + 3341 * count + 16, "a checkpoint with another header")
    middle = len(data) - 3341 * count - 16
    one, two = (open_sealed(derive("checkpoint", archive.secret, head, bytes([part])), 0, 0, sealed, head)
                for part, sealed in ((1, data[76:middle]), (2, data[middle:])))
    raw, length = struct.unpack_from("<II", one)
    need(raw <= 64 << 20 and len(one) == max(1 << 14, 1 << (7 + length).bit_length()) and not any(one[8 + length :]),
         "another padding of a checkpoint")
    reader = zstandard.ZstdDecompressor().stream_reader(one[8 : 8 + length], read_across_frames=True)
    slots, at = reader.read(raw + 1), 0
    need(len(slots) == raw, "part 1 of another length")
    for index in range(count):
        digest, kind = struct.unpack_from("<32sB", slots, at)
        at, said = at + 33, None
        need(kind < 2, "a slot of another kind")
        if kind:
            length, = struct.unpack_from("<I", slots, at + 20)
            said = slots[at : at + 20], slots[at + 24 : at + 24 + length]
            at += 24 + length
        salt, signature = struct.unpack_from("<32s3309s", two, 3341 * index)
        slot = slot_of(archive, first + index)
        need((digest, said, salt, signature) == slot[:4], f"entry {first + index} in a checkpoint is not that of the log")
        if said:  # the object follows from it
            head = b"ICELOG\0\0" + said[0][:4] + archive.repository + struct.pack("<Q", first + index) + salt
            padded = b"\1\0" + said[0][4:] + signature + struct.pack("<I", len(said[1])) + said[1]
            padded = padded.ljust(max(1 << 14, 1 << (len(padded) - 1).bit_length()), b"\0")
            key = derive("log entry", archive.secret, head)
            need(slot.data == head + AESGCMSIV(key).encrypt(bytes(12), padded, head), "an entry that cannot be built")
    need(at == len(slots), "slots behind the last one")


def verify_snapshot(archive, snapshot):
    """Every chunk must be in one of the packs that the log says the snapshot needs (4.3, key 7; 6.2)."""
    def reachable(meta, chunk):
        places = archive.places.get((meta, chunk), ())
        need(any(pack.place in snapshot.needs for pack, _ in places), f"chunk {chunk.hex()} is in no pack needed")

    def walk(chunks, depth=0):
        need(depth <= 2048, "folders are nested too deep")
        for chunk in chunks:
            reachable(True, chunk)
        for entry in archive.tree(chunks):
            if entry.kind == FILE:
                archive.file_length(entry)
                for chunk in entry.chunks:
                    reachable(False, chunk)
            elif entry.kind == FOLDER:
                walk(entry.chunks, depth + 1)

    reachable(True, snapshot.record)
    walk(archive.record(snapshot).root)


def verify(archive):
    problems = []

    def attempt(what, check):
        try:
            check()
        except DAMAGE as error:
            problems.append(f"{what}: {error!r}")

    problems += [f"log entry {number}: {why}" for number, why in archive.odd.items() if number]
    attempt("the log", lambda: verify_seen(archive))
    for pack in archive.alive:
        attempt(pack.name, lambda: verify_pack(archive, pack, archive.read(pack.name, 2 << 30)))
    for name in archive.names("checkpoints", "[0-9]{16}-[0-9]{16}"):
        first, last = map(int, name.split("-"))
        if last - first + 1 in (32, 1024) and last % (last - first + 1) == 0:
            name = f"checkpoints/{name}"
            attempt(name, lambda: verify_checkpoint(archive, archive.read(name, 64 << 20), first, last))
    for snapshot in (archive.snapshots[name] for name in sorted(archive.visible)):
        attempt(f"snapshot {snapshot.id.hex()}", lambda: verify_snapshot(archive, snapshot))
    summary = f"{len(archive.entries)} log entries, {len(archive.alive)} packs, {len(archive.visible)} snapshots"
    return problems, summary


if __name__ == "__main__":
    found, summary = verify(Archive(sys.argv[1], open(sys.argv[2], encoding="utf-8").read()))
    print(*(f"DAMAGED {problem}" for problem in found), f"verified {summary}", sep="\n")
    sys.exit(bool(found))
