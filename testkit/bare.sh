#!/usr/bin/env bash
# Runs the tests in a bare Debian, as root and then as a plain user, with another time zone, language, umask and
# temporary folder than usual: no test may depend on the machine that it runs on.
#
#   sudo testkit/bare.sh FOLDER [TEST-ARGUMENTS…]
#
# FOLDER becomes the root of a Debian that debootstrap makes, the first time; it takes some 6 GB. The Rust toolchain
# is that of this machine, seen read-only. Needs root, debootstrap and the network.
set -eu
[ $# -ge 1 ] || { sed -n '2,9p' "$0"; exit 2; }
bare="$(realpath -m "$1")"
shift
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
rust="$(rustc --print sysroot)"
cargo="${CARGO_HOME:-$HOME/.cargo}"

if [ ! -e "$bare/made" ]; then
    debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,python3,python3-venv bookworm "$bare"
    : >"$bare/made"
fi
mounted=()
finish() {
    for folder in "${mounted[@]}"; do umount -l "$folder"; done
    # It was lent to each user in turn.
    chown -R "$(id -u):$(id -g)" "$cargo/registry"
}
trap finish EXIT
show() {
    mkdir -p "$bare$2"
    mount --bind "$1" "$bare$2"
    mounted=("$bare$2" "${mounted[@]}")
}
show /proc /proc
show /dev /dev
# Without it there are no terminals.
show /dev/pts /dev/pts
show "$rust" /opt/rust
# Not only for reading: Cargo unpacks there what it fetches.
show "$cargo/registry" /opt/cargo/registry
# The registries may be behind a certificate that only this machine knows.
show /etc/ssl/certs /etc/ssl/certs
cp /etc/resolv.conf "$bare/etc/resolv.conf"

# Each user has a copy of what is committed.
run() {
    local user="$1" home="$2"
    shift 2
    rm -rf "$bare$home/icecore"
    mkdir -p "$bare$home/tmp with spaces"
    git -C "$here" archive --prefix=icecore/ HEAD | tar -x -C "$bare$home"
    mkdir -p "$bare/srv/target"
    chroot "$bare" chown -R "$user" "$home" /opt/cargo /srv/target
    chroot "$bare" env -i su -s /bin/bash -c "
        umask 027
        export PATH=/opt/rust/bin:/usr/bin:/bin HOME='$home' CARGO_HOME=/opt/cargo CARGO_TARGET_DIR=/srv/target
        export CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0
        export PIP_CERT=/etc/ssl/certs/ca-certificates.crt
        export TZ=Pacific/Chatham LANG=tr_TR.UTF-8 TMPDIR='$home/tmp with spaces'
        cd '$home/icecore' && bash test.sh \"\$@\"" -- "$user" bash "$@"
}
chroot "$bare" id tester >/dev/null 2>&1 || chroot "$bare" useradd --no-create-home --home-dir /srv/tester tester
# What fails as root does not keep the plain user from being tried.
failed=0
run root /srv/root "$@" || failed=1
run tester /srv/tester "$@" || failed=1
exit "$failed"
