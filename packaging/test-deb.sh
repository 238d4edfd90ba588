#!/usr/bin/env bash
# Installs the .deb in a bare Debian, sets up a backup there as a plain user, and removes the package again.
#
#   sudo packaging/test-deb.sh DEB FOLDER
#
# DEB is target/packages/icecore_*_amd64.deb of packaging/build.sh. FOLDER gets a Debian 12 with man, three shells and
# cron; it is used again the next time. Needs root, debootstrap and the network.
set -eu
[ $# -eq 2 ] || { sed -n '2,7p' "$0"; exit 2; }
deb="$(realpath "$1")"
bare="$(realpath -m "$2")"
say() { printf 'test-deb.sh: %s\n' "$*"; }

if [ ! -e "$bare/made" ]; then
    rm -rf "$bare"
    debootstrap --variant=minbase --include=bash-completion,cron,fish,man-db,zsh \
        bookworm "$bare" http://deb.debian.org/debian >"$bare.log" 2>&1
    chroot "$bare" useradd --create-home --shell /bin/bash maria
    : >"$bare/made"
fi
proc=0
finish() { [ "$proc" = 0 ] || umount "$bare/proc"; }
trap finish EXIT
mount -t proc proc "$bare/proc" && proc=1
# Bash needs it for <(…), as completions have it.
ln -sfn /proc/self/fd "$bare/dev/fd"

# All that a package could leave behind; not what dpkg and man-db write of every package.
files() {
    (cd "$bare" && find . -xdev \( -path ./proc -o -path ./home -o -path ./var/lib/dpkg -o -path ./var/log \
        -o -path ./var/cache/man -o -path ./var/spool/cron -o -path ./tmp \) -prune -o -print | LC_ALL=C sort)
}
# Of a run that was interrupted.
chroot "$bare" dpkg --purge icecore >/dev/null 2>&1 || true
rm -rf "$bare"/home/maria/* "$bare"/home/maria/.config "$bare"/home/maria/.local "$bare"/home/maria/.cache
rm -rf "$bare/srv/disk"
files >"$bare.before"

cp "$deb" "$bare/tmp/icecore.deb"
chroot "$bare" dpkg -i /tmp/icecore.deb
chroot "$bare" dpkg -L icecore | sed -n '/./p' | wc -l | sed 's/$/ files and folders/'

cat >"$bare/tmp/trial.sh" <<'TRIAL'
set -eu
trap 'echo "FAILED in line $LINENO of the trial"' ERR
cd
fail() { echo "FAILED: $*"; exit 1; }
has() { grep -q -- "$1" || fail "no '$1' in $2"; }
man icecore 2>/dev/null | col -b | has "Glacier\|photo" "man icecore"
man icecore-key-export >/dev/null || fail "man icecore-key-export"
man -w icecore-setup icecore-restore >/dev/null
# It is written for shells that do not stop at errors.
set +eu
trap - ERR
source /usr/share/bash-completion/bash_completion
_completion_loader icecore
[ $? = 124 ] || fail "bash does not load the completion"
COMP_LINE="icecore snapsh" COMP_POINT=14 COMP_WORDS=(icecore snapsh) COMP_CWORD=1
_icecore
set -eu
trap 'echo "FAILED in line $LINENO of the trial"' ERR
echo "bash: ${COMPREPLY[*]}"
[[ " ${COMPREPLY[*]} " == *" snapshots "* ]] || fail "bash does not complete"
zsh -c 'autoload -Uz compinit; compinit -D -u; print -r -- "zsh: $_comps[icecore]"' | tee zsh.txt
has icecore zsh <zsh.txt
fish -c 'complete -C "icecore snapsh"' | tee fish.txt
has snapshots fish <fish.txt
rm zsh.txt fish.txt
ls /usr/share/doc/icecore /usr/share/doc/icecore/examples

mkdir -p Pictures/2024
head -c 20000000 /dev/urandom >Pictures/2024/IMG_0042.CR3
cp /usr/share/doc/icecore/examples/home.toml example.toml
icecore -P ./example.toml profile check
export ICECORE_PASSWORD="nine dark lakes below the ice"
icecore setup --yes --source ~/Pictures --to /srv/disk/photos --identity-page ~/identity.html --with cron --snapshot
unset ICECORE_PASSWORD
crontab -l | has "icecore.*run --if-due" "the crontab"
head -c 1000000 /dev/urandom >Pictures/2024/IMG_0043.CR3
icecore snapshots --help >/dev/null
icecore -P home run
icecore status
env ICECORE_PASSWORD="nine dark lakes below the ice" icecore -P home restore latest:home/maria/Pictures --target back
diff -r Pictures back
icecore schedule remove --yes || icecore -P home schedule remove --yes
crontab -l 2>/dev/null | grep icecore && fail "the crontab still calls icecore"
echo "as maria: well"
TRIAL
install -d -m 755 "$bare/srv/disk"
chroot "$bare" chown maria /srv/disk
chroot "$bare" env -i TERM=dumb PATH=/usr/bin:/bin:/usr/sbin:/sbin su - maria -c 'bash /tmp/trial.sh'

chroot "$bare" dpkg --purge icecore
rm "$bare/tmp/icecore.deb" "$bare/tmp/trial.sh"
rm -rf "$bare/srv/disk"
files >"$bare.after"
diff "$bare.before" "$bare.after" || { say "FAILED: the package leaves these files behind"; exit 1; }
[ ! -e "$bare/usr/bin/icecore" ]
say "well: installed, used and removed"
