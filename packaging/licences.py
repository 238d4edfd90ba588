#!/usr/bin/env python3
"""Prints the licences of everything that is linked into the program, for the packages.

    licences.py x86_64-unknown-linux-gnu

MIT and the like ask that their notice goes where the program goes. The texts are those of the sources that Cargo has
fetched; a text that several crates share is printed once.
"""

import json
import pathlib
import re
import subprocess
import sys

FILES = re.compile(r"^(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)
# C sources inside crates, with their licence files.
INSIDE = {"zstd-sys": ["zstd/LICENSE"]}
SQLITE = "SQLite (inside libsqlite3-sys) is in the public domain: https://www.sqlite.org/copyright.html"


def linked(metadata):
    """Returns the packages that are linked into icecore: no build scripts, no tests, no procedural macros."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    start = next(id for id, package in packages.items() if package["name"] == "icecore")
    seen, waiting = set(), [start]
    while waiting:
        id = waiting.pop()
        if id in seen:
            continue
        kinds = {kind for target in packages[id]["targets"] for kind in target["kind"]}
        if "proc-macro" in kinds:
            continue
        seen.add(id)
        for dependency in nodes[id]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                waiting.append(dependency["pkg"])
    return sorted((packages[id] for id in seen if packages[id]["source"]), key=lambda package: package["name"])


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(file for file in folder.iterdir() if FILES.match(file.name) and file.is_file())
    files += [folder / name for name in INSIDE.get(package["name"], [])]
    if not files and package["license_file"]:
        files = [folder / package["license_file"]]
    return [file.read_text(errors="replace").strip() for file in files]


def main(target):
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target]
    packages = linked(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))
    shared, users, without = {}, {}, []
    print("icecore contains these programs and libraries, each under the licence beside its name.\n")
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or 'see below'}")
        found = texts(package)
        for text in found:
            # The same but for line breaks.
            same = shared.setdefault("".join(text.split()).lower(), text)
            users.setdefault(same, []).append(name)
        if not found:
            without.append((name, package))
    print(f"\n{SQLITE}")
    print("Rust's standard library: MIT OR Apache-2.0, https://github.com/rust-lang/rust")
    if without:
        print("\nThese come without a file of their own; by their authors, under the licence named above:")
        for name, package in without:
            print(f"{name}: {', '.join(package['authors']) or package['repository']}")
    for text, names in users.items():
        print(f"\n{'=' * 78}\n{', '.join(names)}\n{'=' * 78}\n\n{text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
