#!/usr/bin/env bash
# Runs a released program in a chroot of the oldest Debian that can be had, as its own kernel and as Linux 4.4 and 3.10.
#
#   sudo packaging/old-debian.sh PROGRAM FOLDER [SUITE…]
#
# PROGRAM is target/x86_64-unknown-linux-gnu/release/icecore of packaging/build.sh. FOLDER gets a Debian of the first
# SUITE that debootstrap can make (default: jessie, stretch, buster, bullseye, bookworm; the first three are at
# archive.debian.org); it is used again the next time. Needs root, debootstrap, Python 3 and the network.
set -eu
[ $# -ge 2 ] || { sed -n '2,8p' "$0"; exit 2; }
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
program="$(realpath "$1")"
bare="$(realpath -m "$2")"
shift 2
[ $# -gt 0 ] || set -- jessie stretch buster bullseye bookworm
say() { printf 'old-debian.sh: %s\n' "$*"; }

# What is on archive.debian.org is signed by keys that Debian has removed.
make_debian() {
    local mirror=http://deb.debian.org/debian keys=/usr/share/keyrings/debian-archive-keyring.gpg
    case "$1" in
        jessie | stretch | buster)
            mirror=http://archive.debian.org/debian
            keys=/usr/share/keyrings/debian-archive-removed-keys.gpg
            ;;
    esac
    rm -rf "$bare"
    debootstrap --variant=minbase --keyring="$keys" "$1" "$bare" "$mirror" >"$bare.log" 2>&1
}
if [ ! -e "$bare/made" ]; then
    for suite in "$@"; do
        if make_debian "$suite"; then
            echo "$suite" >"$bare/made"
            break
        fi
        say "no $suite: $(tail -1 "$bare.log")"
    done
    [ -e "$bare/made" ] || exit 1
fi
install -m 755 "$program" "$bare/usr/bin/icecore"

cat >"$bare/trial.sh" <<'TRIAL'
set -eu
export HOME=/trial ICECORE_PASSWORD="nine dark lakes below the ice" ICECORE_REPOSITORY=/trial/archive
rm -rf "$HOME"
mkdir -p "$HOME/photos/2024"
cd "$HOME"
head -c 30000000 /dev/urandom >photos/2024/IMG_0001.CR3
echo "<x:xmpmeta/>" >photos/2024/IMG_0001.xmp
ln -s IMG_0001.CR3 photos/2024/best
icecore --version
icecore -q init --parity 10
icecore -q snapshot photos
head -c 5000000 /dev/urandom >photos/2024/IMG_0002.CR3
icecore snapshot photos
icecore -q restore "latest:$HOME/photos" --target back
diff -r photos back
icecore check --read-data
cat >home.toml <<PROFILE
repo = "$ICECORE_REPOSITORY"
sources = ["$HOME/photos"]
[run]
every = "24h"
PROFILE
icecore -q -P ./home.toml run
icecore -P ./home.toml status
TRIAL
proc=0
# shellcheck disable=SC2329
finish() { [ "$proc" = 0 ] || umount "$bare/proc"; }
trap finish EXIT
mount -t proc proc "$bare/proc" && proc=1

say "Debian $(cat "$bare/made"), $(chroot "$bare" ldd --version 2>&1 | head -1)"
failed=0
for kernel in own 4.4 3.10; do
    as=()
    [ "$kernel" = own ] || as=(python3 "$here/old-kernel.py" "$kernel")
    say "kernel: $kernel"
    if "${as[@]}" chroot "$bare" /bin/sh /trial.sh; then
        say "kernel $kernel: well"
    else
        say "kernel $kernel: FAILED"
        failed=1
    fi
done
exit "$failed"
