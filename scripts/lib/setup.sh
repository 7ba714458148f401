# shellcheck shell=bash
# What run.sh and test.sh need from the machine: Debian packages, a Python environment, the program. Sourced, never run.
#
# Each function first looks whether its thing is there, so a second run installs nothing. Where something cannot be
# installed (not root and no sudo, no apt, or --no-install) the script ends with the one command that would do it.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=$REPO/.venv
# Read by the scripts that source this.
# shellcheck disable=SC2034
PYTHON=$VENV/bin/python
CKPTFS=$REPO/target/release/ckptfs
INSTALL=yes

say() { printf '%s\n' "$*"; }

step() { printf '\n== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have_package() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
    local missing=() package as=()
    command -v dpkg-query >/dev/null ||
        die "this is not Debian or Ubuntu; install what these packages hold, then run what this script runs: $*"
    for package in "$@"; do
        have_package "$package" || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if [ "$INSTALL" = no ] || ! sudo_works; then
            die "packages are missing; install them with: sudo apt-get install ${missing[*]}"
        fi
        as=(sudo)
    fi
    [ "$INSTALL" = yes ] || die "packages are missing; install them with: apt-get install ${missing[*]}"
    say "installing ${missing[*]}"
    "${as[@]}" apt-get update -qq
    "${as[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# A password may be asked for on a terminal, never elsewhere.
sudo_works() {
    command -v sudo >/dev/null || return 1
    if [ -t 0 ]; then sudo -v; else sudo -n true 2>/dev/null; fi
}

need_rust() {
    command -v cargo >/dev/null && return
    die "cargo is missing; install Rust 1.89 or newer with: apt-get install rustup && rustup default stable"
}

# Mounting needs the device. Whether it may be opened is for the program to say.
need_fuse() {
    [ -c /dev/fuse ] ||
        die "/dev/fuse is missing; load it with: modprobe fuse (in a container: --device /dev/fuse --cap-add SYS_ADMIN)"
}

# need_free FOLDER GIB: stops before the disk is full rather than in the middle.
need_free() {
    local free_kib
    free_kib=$(df --output=avail -k "$1" | tail -n 1)
    [ "$free_kib" -ge $(($2 * 1024 * 1024)) ] ||
        die "$1 has $((free_kib / 1024 / 1024)) GiB free and this needs $2 GiB"
}

# need_python LIST: makes .venv and installs requirements/LIST.txt, whose hashes pip checks.
need_python() {
    local list=$REPO/requirements/$1.txt stamp
    stamp=$VENV/.installed-$1-$(sha256sum <"$list" | cut -c1-16)
    [ ! -e "$stamp" ] || return 0
    [ "$INSTALL" = yes ] ||
        die "Python packages are missing; install them with: python3 -m venv .venv && .venv/bin/pip install -r requirements/$1.txt"
    need_free "$REPO" 8
    [ -x "$PYTHON" ] || python3 -m venv "$VENV"
    say "installing the Python packages of requirements/$1.txt into .venv (about 3 GB, a few minutes, once)"
    "$VENV/bin/pip" install --quiet --disable-pip-version-check --no-input --require-hashes -r "$list" ||
        die "pip could not install requirements/$1.txt; Python 3.11, 3.12 or 3.13 on x86-64 and a network are needed"
    touch "$stamp"
}

build_program() {
    (cd "$REPO" && cargo build --release --locked)
    [ -x "$CKPTFS" ] || die "cargo build --release did not make $CKPTFS"
}
