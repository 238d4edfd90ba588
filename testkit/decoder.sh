#!/usr/bin/env bash
# Prints the path of a Python that has what the second decoder (engine/tests/decoder) and the mail server
# (testkit/mail_server.py) need, after installing it under target/decoder if need be. Tests find it by ICECORE_DECODER:
#   ICECORE_DECODER="$(bash testkit/decoder.sh)" cargo test
# Everything but the path goes to standard error. A finished installation is reused as it is.
set -eu

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)"
root="$(cd "$here/.." && pwd -P)"
home="$root/target/decoder"
program="$home/bin/python"
# Written last, as a copy of this script: a folder without it is left over from an installation that was
# interrupted, or by another version of this script, which may not have installed everything.
stamp="$home/installed"

if cmp -s "$here/decoder.sh" "$stamp" && [ -x "$program" ]; then
    printf '%s\n' "$program"
    exit 0
fi

say() { printf 'decoder.sh: %s\n' "$*" >&2; }

python="${PYTHON:-python3}"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' || {
    say "python 3.9 or newer is needed"
    exit 1
}
rm -rf "$home"
mkdir -p "$home"

# Runs the pip command given with the wanted releases, or else with the newest ones there are.
install() {
    "$@" 'cryptography==50.*' 'zstandard==0.25.*' 'blake3==1.*' 'aiosmtpd==1.4.*' >&2 && return 0
    say "these releases are not to be had, taking the newest ones"
    "$@" 'cryptography>=50' zstandard blake3 aiosmtpd >&2
}

if "$python" -m venv "$home" >&2 || { rm -rf "$home" && "$python" -m virtualenv "$home" >&2; }; then
    install "$program" -m pip install --quiet --disable-pip-version-check
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
PYTHONPATH="$home/lib" exec "${PYTHON:-python3}" "$@"
STARTER
    chmod +x "$program"
fi

# A half-working installation must not get the stamp.
"$program" -B "$root/engine/tests/decoder/icecore_decode.py" --help >/dev/null
cp "$here/decoder.sh" "$stamp"
printf '%s\n' "$program"
