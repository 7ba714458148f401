# shellcheck shell=bash
# A throw-away mount for a test script to work on. Sourced, never run.
#
# The order is: testbed_start (work folder, and a trap that cleans up), testbed_mount, work, testbed_unmount.
# Whatever ends the script, the trap unmounts; the work folder is removed after success and kept, and named, after a
# failure. Only what was mounted here is unmounted, and no process is ended but through its mount.
#
# TARGET says what is mounted: ckptfs, or, to calibrate a suite, `native` (a folder of the disk below) or `bindfs` (a
# plain FUSE filesystem). A test that fails on the native folder too says nothing about ckptfs.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Read by the scripts that source this.
# shellcheck disable=SC2034
TOOLS=$REPO/.cache/tools
TARGET=${TARGET:-ckptfs}
CKPTFS=${CKPTFS:-$REPO/target/release/ckptfs}
WORK=
STORE=
MOUNT=
BINDFS_PID=
# Other folders that a script mounted something on; unmounted at the end.
OTHER_MOUNTS=()

say() { printf '%s\n' "$*"; }

# usage: the comment at the head of the script.
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# need COMMAND PACKAGE: the script cannot go on without COMMAND.
need() {
    command -v "$1" >/dev/null || die "$1 is missing; install it with: apt-get install $2"
}

need_root() {
    [ "$(id -u)" = 0 ] || die "$1 needs root (users are switched, devices are made); run it with sudo"
}

# need_free FOLDER GIB: stop before the disk is full rather than in the middle.
need_free() {
    local free_kib
    free_kib=$(df --output=avail -k "$1" | tail -n 1)
    [ "$free_kib" -ge $(($2 * 1024 * 1024)) ] ||
        die "$1 has $((free_kib / 1024 / 1024)) GiB free, this needs $2 GiB; free some, or set CKPTFS_TEST_DIR to a folder on a larger disk"
}

need_target() {
    case $TARGET in
    ckptfs)
        [ -x "$CKPTFS" ] || die "no ckptfs program at $CKPTFS; build it with: cargo build --release (or set CKPTFS to one)"
        need fusermount3 fuse3
        ;;
    bindfs) need bindfs bindfs ;;
    native) ;;
    *) die "TARGET is '$TARGET'; it must be ckptfs, bindfs or native" ;;
    esac
    need python3 python3
}

# testbed_start NAME: makes WORK, STORE and MOUNT.
testbed_start() {
    local parent=${CKPTFS_TEST_DIR:-$REPO/.cache/test}
    need_target
    mkdir -p "$parent"
    WORK=$(mktemp -d "$parent/$1.XXXXXX")
    chmod 755 "$WORK"
    STORE=$WORK/store
    MOUNT=$WORK/mnt
    mkdir "$STORE" "$MOUNT"
    trap testbed_end EXIT
}

testbed_mounted() { mountpoint -q "$MOUNT" 2>/dev/null || grep -q " $MOUNT fuse" /proc/self/mounts; }

# testbed_mount OPTIONS: usable when it returns. The other targets know `ro` of them, and are open to all in any case.
testbed_mount() {
    case $TARGET in
    ckptfs) "$CKPTFS" mount "$STORE" "$MOUNT" -o "$1" ;;
    bindfs) bindfs_mount "$1" ;;
    native) native_mount "$1" ;;
    esac
    testbed_mounted || die "nothing is mounted at $MOUNT although $TARGET said so"
}

native_mount() {
    mount --bind "$STORE" "$MOUNT"
    [[ ",$1," != *,ro,* ]] || mount -o remount,bind,ro "$MOUNT"
}

bindfs_mount() {
    local options=allow_other,suid,dev
    [[ ",$1," != *,ro,* ]] || options+=,ro
    bindfs -f -o "$options" "$STORE" "$MOUNT" &
    BINDFS_PID=$!
    for _ in $(seq 100); do
        testbed_mounted && return
        sleep 0.05
    done
    die "bindfs did not mount within 5 s"
}

# testbed_unmount [--wait]: with --wait, everything is sealed first.
# shellcheck disable=SC2120
testbed_unmount() {
    case $TARGET in
    ckptfs) "$CKPTFS" unmount "$MOUNT" "$@" ;;
    bindfs)
        fusermount3 -u "$MOUNT"
        wait "$BINDFS_PID" || die "bindfs ended with status $?"
        ;;
    native) umount "$MOUNT" ;;
    esac
}

# passthrough_expected ON|OFF: a run that quietly tested the other path would prove nothing.
passthrough_expected() {
    [ "$TARGET" = ckptfs ] || return 0
    local on
    on=$("$CKPTFS" status "$MOUNT" --json |
        python3 -c 'import json, sys; print("on" if json.load(sys.stdin)["passthrough"]["on"] else "off")')
    [ "$on" = "$1" ] || die "passthrough is $on on this mount, the test is about $1"
}

testbed_end() {
    local status=$? other
    trap - EXIT
    for other in "${OTHER_MOUNTS[@]}"; do
        ! mountpoint -q "$other" || umount "$other" || status=1
    done
    if testbed_mounted; then
        # shellcheck disable=SC2119
        testbed_unmount >/dev/null 2>&1 || umount -l "$MOUNT" || status=1
    fi
    if [ "$status" = 0 ]; then
        rm -rf --one-file-system "$WORK"
    else
        say "failed; everything is kept in $WORK"
    fi
    exit "$status"
}
