#!/usr/bin/env bash
# POSIX behaviour of a mount, judged by suites that others wrote: pjdfstest (names, permissions, times, errors), fsx
# (the bytes of one file under every kind of read and write), and loads that verify what they do (stress-ng, fio, dbench,
# bonnie++, fs_mark); and by twin.py for what fsx cannot do: a file that is sealed and reopened between rounds.
#
#   sudo scripts/posix.sh [--quick] [pjdfstest|readonly|fsx|sealed|load]...   all five without an argument
#   sudo TARGET=native scripts/posix.sh                                calibrates: the disk below must pass too
#
# Exit 0: every test passed but those in tests/posix/exclude.txt, which failed. Nothing executed is a failure.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/testbed.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/testbed.sh"
# shellcheck source-path=SCRIPTDIR source=lib/posix_load.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/posix_load.sh"

PJDFSTEST_VERSION=0.2.2
FSX_VERSION=0.3.2
FSX_PROFILES=(basic mmap sector large)
FSX_OPERATIONS=100000
# An operation of the `large` profile moves 1 MiB: a fifth of the operations moves five times the bytes of the others.
FSX_LARGE_SHARE=5
SEALED_ROUNDS=20
SEALED_OPERATIONS=5000
SEED=${SEED:-1}
# Settings of passthrough; other targets have none.
MODES=(on off)
# Suites that failed, so that the others still run.
FAILED=()

# install CRATE VERSION: into .cache/tools, once.
install() {
    "$TOOLS/bin/$1" --version 2>/dev/null | grep -qF "$2" && return
    need cargo rustup
    say "installing $1 $2 into .cache/tools"
    cargo install --quiet --locked --root "$TOOLS" "$1@$2" ||
        die "$1 $2 could not be installed; without a network, put the program into .cache/tools/bin"
}

run_pjdfstest() {
    local out=$WORK/pjdfstest.txt other=$WORK/other
    install pjdfstest "$PJDFSTEST_VERSION"
    mkdir -p "$other"
    # EXDEV needs a second filesystem.
    mount -t tmpfs -o size=16m ckptfs-test "$other"
    OTHER_MOUNTS+=("$other")
    testbed_mount allow_other,suid,dev
    chmod 755 "$MOUNT"
    # Its own status says "something failed"; which, and whether that was expected, is for the verdict.
    NO_COLOR=1 "$TOOLS/bin/pjdfstest" -c "$REPO/tests/posix/pjdfstest.toml" -p "$MOUNT" -s "$other" >"$out" 2>&1 || true
    testbed_unmount
    python3 "$REPO/scripts/python/pjdfstest_verdict.py" "$out" "$REPO/tests/posix/exclude.txt" ||
        FAILED+=(pjdfstest)
}

# run_readonly: what pjdfstest skips, because it would remount.
run_readonly() {
    rm -rf "$STORE"
    mkdir "$STORE"
    testbed_mount allow_other
    python3 "$REPO/scripts/python/readonly.py" "$MOUNT" --prepare
    testbed_unmount
    testbed_mount allow_other,ro
    python3 "$REPO/scripts/python/readonly.py" "$MOUNT"
    testbed_unmount
}

# run_fsx PASSTHROUGH: every profile on a hot file.
run_fsx() {
    local profile file log operations
    install fsx "$FSX_VERSION"
    testbed_mount "allow_other,settle=1s,passthrough=$1"
    passthrough_expected "$1"
    for profile in "${FSX_PROFILES[@]}"; do
        file=$MOUNT/fsx-$profile-$1
        log=$WORK/fsx-$profile-$1.txt
        operations=$FSX_OPERATIONS
        [ "$profile" != large ] || operations=$((FSX_OPERATIONS / FSX_LARGE_SHARE))
        "$TOOLS/bin/fsx" -S "$SEED" -N "$operations" -f "$REPO/tests/posix/fsx/$profile.toml" -P "$WORK" "$file" \
            >"$log" 2>&1 || {
            tail -n 20 "$log"
            die "fsx $profile, passthrough $1, seed $SEED: the file is not what was written; log in $log"
        }
        say "fsx $profile, passthrough $1: $operations operations, no difference ($(stat -c %s "$file") bytes left)"
    done
    testbed_unmount
}

# run_sealed PASSTHROUGH: rounds of operations; between them everything is sealed and nothing stays hot.
run_sealed() {
    local round state=$WORK/twin-$1
    mkdir -p "$state"
    for round in $(seq "$SEALED_ROUNDS"); do
        testbed_mount "allow_other,settle=100ms,hot_cache=0,passthrough=$1"
        passthrough_expected "$1"
        python3 "$REPO/scripts/python/twin.py" "$MOUNT/twin-$1" "$state" --seed "$SEED" --round "$round" \
            --operations "$SEALED_OPERATIONS" ||
            die "sealed files, passthrough $1, round $round, seed $SEED: see above; the twin is in $state"
        testbed_unmount --wait
    done
    say "sealed and reopened, passthrough $1: $SEALED_ROUNDS rounds of $SEALED_OPERATIONS operations, no difference"
}

main() {
    local parts=() part mode
    for part in "$@"; do
        case $part in
        --quick)
            FSX_OPERATIONS=10000
            SEALED_ROUNDS=4
            SEALED_OPERATIONS=1000
            LOAD_SECONDS=2
            LOAD_MIB=32
            ;;
        -h | --help) usage && return ;;
        pjdfstest | readonly | fsx | sealed | load) parts+=("$part") ;;
        *) usage && die "unknown argument '$part'" ;;
        esac
    done
    [ ${#parts[@]} -gt 0 ] || parts=(pjdfstest readonly fsx sealed load)
    need_root "$0"
    [ "$TARGET" = ckptfs ] || MODES=(auto)
    testbed_start posix
    for part in "${parts[@]}"; do
        case $part in
        # Never in a condition: there `set -e` does not hold, and a mount that failed would go unseen.
        pjdfstest | readonly) "run_$part" ;;
        *) for mode in "${MODES[@]}"; do "run_$part" "$mode"; done ;;
        esac
    done
    [ ${#FAILED[@]} = 0 ] || die "failed: ${FAILED[*]}"
    say "posix: all passed on $TARGET"
}

main "$@"
