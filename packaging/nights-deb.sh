#!/usr/bin/env bash
# Installs the .deb in the bare Debian of test-deb.sh and lets the installed program live through nights that are left
# alone (cli/tests/it/sixty.rs), with an archive on a disk and with one in a bucket.
#
#   sudo packaging/nights-deb.sh DEB FOLDER [NIGHTS [SEED]]
#
# FOLDER is that of test-deb.sh, which must have been run before. It gets root certificates too, as apt would install
# them with the package. NIGHTS is 60 by default. Needs root and, the first time, the network. The test itself is built
# here, so this computer's glibc must not be newer than that of Debian 12.
set -eu
[ $# -ge 2 ] && [ $# -le 4 ] || { sed -n '2,10p' "$0"; exit 2; }
deb="$(realpath "$1")"
bare="$(realpath "$2")"
nights="${3:-60}"
seed="${4:-1}"
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(cd "$here/.." && pwd -P)"
cd "$root"
[ -e "$bare/made" ] || { echo "nights-deb.sh: run packaging/test-deb.sh first" >&2; exit 1; }
it="$(cargo test -p icecore --test it --no-run --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\/it-[^"]*\)".*/\1/p' | tail -1)"
it="$(realpath "$it")"

mounted=()
finish() { for place in "${mounted[@]}"; do umount "$place"; done; }
trap finish EXIT
# The newest first.
bind() {
    mkdir -p "$bare$2"
    mount --bind "$1" "$bare$2"
    mounted=("$bare$2" "${mounted[@]+"${mounted[@]}"}")
}
mkdir -p "$bare/proc" && mount -t proc proc "$bare/proc" && mounted=("$bare/proc")
bind /dev /dev
# The test finds the project under the name that it has here.
bind "$root" "$root"
target="$(realpath target)"
case "$target" in "$root"/*) ;; *) bind "$target" "$target" ;; esac
cp "$deb" "$bare/tmp/icecore.deb"
chroot "$bare" dpkg -i /tmp/icecore.deb >/dev/null
chroot "$bare" sh -c 'command -v faketime update-ca-certificates >/dev/null && [ -e /opt/moto/done ] || {
    apt-get install -y ca-certificates faketime python3-venv
    python3 -m venv /opt/moto && /opt/moto/bin/pip install --quiet "moto[server]==5.2.*" && touch /opt/moto/done
}' >/dev/null
status=0
chroot "$bare" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root TMPDIR=/tmp CARGO_MANIFEST_DIR="$root/cli" \
    ICECORE_PROGRAM=/usr/bin/icecore ICECORE_MOTO=/opt/moto/bin/moto_server ICECORE_NIGHTS="$nights" ICECORE_SEED="$seed" \
    sh -c 'cd "$1/cli" && exec "$2" sixty:: --nocapture' nights "$root" "$it" || status=$?
chroot "$bare" dpkg --purge icecore >/dev/null
rm -f "$bare/tmp/icecore.deb"
exit $status
