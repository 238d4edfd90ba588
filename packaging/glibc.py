#!/usr/bin/env python3
"""Prints the newest glibc that an ELF program needs; exit code 1 if it is newer than allowed.

    glibc.py PROGRAM 2.17

It reads what the dynamic linker reads, the section of needed versions, so that no binutils is needed. It also refuses
a program that links anything beside glibc, because an old NAS has nothing else.
"""

import struct
import sys

NEEDED_VERSIONS = 0x6FFFFFFE  # SHT_GNU_verneed
DYNAMIC = 6  # SHT_DYNAMIC
NEEDED_LIBRARY = 1  # DT_NEEDED
LIBRARIES = {
    "libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1",
    "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1",
}


def text(data, at):
    return data[at:data.index(b"\0", at)].decode()


def sections(data):
    """Lists (type, offset, size, link) of all sections."""
    assert data[:6] == b"\x7fELF\x02\x01", "not a 64-bit little-endian ELF file"
    offset, = struct.unpack_from("<Q", data, 0x28)
    size, count = struct.unpack_from("<HH", data, 0x3A)
    found = []
    for number in range(count):
        kind, = struct.unpack_from("<I", data, offset + number * size + 4)
        start, length, link = struct.unpack_from("<QQI", data, offset + number * size + 24)
        found.append((kind, start, length, link))
    return found


def versions(data):
    """Lists the names of all versions that are needed, as GLIBC_2.17."""
    found = sections(data)
    for kind, entry, _, link in found:
        if kind != NEEDED_VERSIONS:
            continue
        strings = found[link][1]
        while True:
            _, count, _, first, following = struct.unpack_from("<HHIII", data, entry)
            version = entry + first
            for _ in range(count):
                _, _, _, name, step = struct.unpack_from("<IHHII", data, version)
                yield text(data, strings + name)
                version += step
            if following == 0:
                break
            entry += following


def libraries(data):
    """Lists the names of all libraries that are linked."""
    found = sections(data)
    for kind, start, length, link in found:
        if kind == DYNAMIC:
            for entry in range(start, start + length, 16):
                tag, value = struct.unpack_from("<qQ", data, entry)
                if tag == NEEDED_LIBRARY:
                    yield text(data, found[link][1] + value)


def number(version):
    return tuple(int(part) for part in version.split("."))


def main(program, allowed):
    with open(program, "rb") as file:
        data = file.read()
    foreign = sorted(set(libraries(data)) - LIBRARIES)
    if foreign:
        sys.exit(f"{program} links {', '.join(foreign)}")
    names = sorted(name.removeprefix("GLIBC_") for name in versions(data) if name.startswith("GLIBC_"))
    if not names:
        sys.exit(f"{program} names no version of glibc: is it linked statically?")
    highest = max(names, key=number)
    if number(highest) > number(allowed):
        sys.exit(f"{program} needs glibc {highest}, newer than {allowed}")
    print(highest)


if __name__ == "__main__":
    main(*sys.argv[1:])
