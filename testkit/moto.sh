#!/usr/bin/env bash
# Prints the path of a moto_server executable, after installing it under target/moto if need be.
#
# moto is an S3 stand-in written by others, with storage classes, cold reads and enforced keys: a
# second opinion beside the test server of this package. Tests find it by ICECORE_MOTO:
#   ICECORE_MOTO="$(bash testkit/moto.sh)" cargo test
# Everything but the path goes to standard error. A finished installation is reused as it is.
set -eu

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(cd "$here/.." && pwd -P)"
home="$root/target/moto"
program="$home/bin/moto_server"
# Written last: a folder without it is left over from an installation that was interrupted.
stamp="$home/installed"

if [ -e "$stamp" ] && [ -x "$program" ]; then
    printf '%s\n' "$program"
    exit 0
fi

say() { printf 'moto.sh: %s\n' "$*" >&2; }

python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
    say "python 3.9 or newer is needed"
    exit 1
}
rm -rf "$home"
mkdir -p "$home"

# Runs the pip command given with the wanted release, or else with the newest one there is.
install() {
    "$@" 'moto[server]==5.2.*' >&2 && return 0
    say "moto 5.2 is not to be had, taking the newest 5"
    "$@" 'moto[server]==5.*' >&2
}

if "$python" -m venv "$home" >&2 || { rm -rf "$home" && "$python" -m virtualenv "$home" >&2; }; then
    install "$home/bin/python" -m pip install --quiet --disable-pip-version-check
else
    # A Python without ensurepip and virtualenv: the packages into a folder, and a starter for them.
    say "no virtual environment to be had, installing into a plain folder"
    rm -rf "$home"
    mkdir -p "$home/bin"
    install "$python" -m pip install --quiet --disable-pip-version-check --target "$home/lib"
    cat >"$program" <<'STARTER'
#!/usr/bin/env bash
set -eu
home="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
PYTHONPATH="$home/lib" exec "${PYTHON:-python3}" -c 'from moto.server import main; main()' "$@"
STARTER
    chmod +x "$program"
fi

# A half-working installation must not get the stamp.
"$program" --help >/dev/null
: >"$stamp"
printf '%s\n' "$program"
