#!/usr/bin/env bash
# Builds what is released for this machine: the program, a .tar.gz, on Linux also a .deb, and their SHA-256 sums, in
# target/packages.
#
#   packaging/build.sh
#
# On Linux the program is linked for glibc 2.17, so that it runs on an old NAS; on a Mac it is universal. The man pages
# and completions are printed by the program itself, so each kind of machine builds its own. Needs Rust, git, Python 3.9
# or newer with venv, and the network the first time: zig (the linker that knows old glibcs) and cargo-deb are installed
# below target, in the versions that are written here.
set -eu
[ $# -eq 0 ] || { sed -n '2,11p' "$0"; exit 2; }
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(cd "$here/.." && pwd -P)"
cd "$root"
glibc=2.17
tools="$root/target/packaging-tools"
parts="target/packaging"
packages="target/packages"
system="$(uname -s)"
say() { printf 'build.sh: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
sums() { if [ "$system" = Darwin ]; then shasum -a 256 "$@"; else sha256sum "$@"; fi; }

# Files in the packages are as old as the commit, and no path of this machine is in the program, so that the same commit
# and the same compiler can give the same bytes.
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
RUSTFLAGS="--remap-path-prefix=$root=/icecore --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
export SOURCE_DATE_EPOCH RUSTFLAGS
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)"

install_tools() {
    if [ ! -x "$tools/bin/cargo-zigbuild" ]; then
        python3 -m venv "$tools"
        "$tools/bin/python" -m pip install --quiet --disable-pip-version-check ziglang==0.17.1 cargo-zigbuild==0.24.1
    fi
    [ -x "$tools/bin/cargo-deb" ] || RUSTFLAGS='' cargo install --quiet --locked --root "$tools" cargo-deb@3.8.0
    export PATH="$tools/bin:$PATH"
}

# Each sets `program` and `name`.
build_for_linux() {
    local machine
    machine="$(uname -m)"
    target="$machine-unknown-linux-gnu"
    install_tools
    say "building icecore $version for $target, glibc $glibc"
    cargo zigbuild --release --locked -p icecore --target "$target.$glibc"
    program="target/$target/release/icecore"
    highest="$(python3 "$here/glibc.py" "$program" "$glibc")"
    name="icecore-$version-$target"
}
build_for_macos() {
    target=aarch64-apple-darwin
    for one in aarch64-apple-darwin x86_64-apple-darwin; do
        say "building icecore $version for $one"
        rustup target add "$one"
        MACOSX_DEPLOYMENT_TARGET=11.0 cargo build --release --locked -p icecore --target "$one"
    done
    mkdir -p "$parts"
    program="$parts/icecore"
    lipo -create -output "$program" target/{aarch64,x86_64}-apple-darwin/release/icecore
    # lipo drops the signature that the linker has made, and an M1 starts nothing without one.
    codesign --sign - --force "$program"
    name="icecore-$version-universal-apple-darwin"
}

# What goes into the packages beside the program; [package.metadata.deb] of cli/Cargo.toml names these files.
make_parts() {
    mkdir -p "$parts/man" "$parts/completions"
    "$program" man --dir "$parts/man" >/dev/null
    "$program" completions bash >"$parts/completions/icecore"
    "$program" completions zsh >"$parts/completions/_icecore"
    "$program" completions fish >"$parts/completions/icecore.fish"
    # They look for icecore in the PATH, not where it was built.
    if grep -rF "$root" "$parts/man" "$parts/completions"; then
        fail "a man page or a completion names the folder in which icecore was built"
    fi
    gzip -9n "$parts"/man/*.1
    python3 "$here/licences.py" "$target" >"$parts/LICENSES-THIRD-PARTY.txt"
    gzip -9nc "$parts/LICENSES-THIRD-PARTY.txt" >"$parts/LICENSES-THIRD-PARTY.txt.gz"
    gzip -9nc CHANGELOG.md >"$parts/changelog.gz"
}

make_tarball() {
    local folder="$parts/$name" same=()
    mkdir -p "$folder/container"
    cp "$here/Dockerfile" "$here/compose.yaml" "$folder/container/"
    cp "$program" README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$parts/LICENSES-THIRD-PARTY.txt" "$here/home.toml" \
        "$folder/"
    cp -R "$parts/man" "$parts/completions" docs format-spec.md "$folder/"
    [ "$system" = Darwin ] ||
        same=(--sort=name --owner=0 --group=0 --numeric-owner "--mode=u=rwX,go=rX" --mtime="@$SOURCE_DATE_EPOCH")
    tar "${same[@]+"${same[@]}"}" -C "$parts" -cf - "$name" | gzip -9n >"$packages/$name.tar.gz"
    made=("$name.tar.gz")
}

make_deb() {
    local kind
    case "$target" in x86_64-*) kind=amd64 ;; *) kind=arm64 ;; esac
    local deb="icecore_${version}_$kind.deb"
    # cargo-deb looks for the description from the current folder.
    (cd cli && cargo deb -q --no-build --no-strip --target "$target" --output "$root/$packages/$deb")
    made+=("$deb")
}

rm -rf "$parts" "$packages"
mkdir -p "$packages"
highest=none
case "$system" in
    Linux) build_for_linux ;;
    Darwin) build_for_macos ;;
    *) fail "packages are made on Linux and on a Mac, not on $system" ;;
esac
"$program" --version | grep -qx "icecore $version" || fail "the program does not say that it is icecore $version"
make_parts
make_tarball
[ "$system" = Darwin ] || make_deb

cd "$packages"
sums "${made[@]}" >"SHA256SUMS-$name"
cd "$root"
printf 'program: %s bytes, glibc %s, sha256 %s\n' "$(wc -c <"$program")" "$highest" "$(sums "$program" | cut -d' ' -f1)"
for file in "${made[@]}"; do printf '%s: %s bytes\n' "$file" "$(wc -c <"$packages/$file")"; done
cat "$packages/SHA256SUMS-$name"
