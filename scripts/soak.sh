#!/usr/bin/env bash
# The long forms of the suites that look for rare losses: a night's work, or before a release. Some hours on 2 cores after
# the program is built:
#
#   sudo ./scripts/soak.sh [SUITE]...   all without an argument
#
#   crash        1,000 kills of the daemon (scripts/crash.sh), about 50 minutes
#   powercut     that the script finds what is wrong, then 100 cuts, prefix and torn, on ext4 and xfs, and 25 on btrfs
#                (scripts/powercut.sh), about 20 minutes
#   disks        failing, full and read-only disks (scripts/disk_faults.sh), about 15 minutes
#   points       a crash at every named point and at every sync of a workload (tests/crash), about 20 minutes
#   damage       400 damaged stores (tests/damage), about 5 minutes
#   fuzz         10 minutes for each target (scripts/fuzz.sh); needs a nightly compiler and cargo-fuzz
#
# All suites run, whatever fails before; the end names those that failed. SEED=n repeats the choices of a run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

SUITES=(crash powercut disks points damage fuzz)
FAILED=()

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

suite_crash() { scripts/crash.sh 1000; }

suite_powercut() {
    scripts/powercut.sh --calibrate
    scripts/powercut.sh 100 ext4 xfs
    scripts/powercut.sh 25 btrfs
}

suite_disks() { scripts/disk_faults.sh; }

suite_points() { cargo test --locked --test crash -- --ignored every_point; }

suite_damage() { CKPTFS_DAMAGE_TRIALS=400 cargo test --locked --test damage random; }

suite_fuzz() { scripts/fuzz.sh --seconds 600; }

# A shell of its own for each: its `set -e` ends the suite and not the run.
run_suite() {
    local began=$SECONDS status=0
    step "$1"
    set +e
    (
        set -euo pipefail
        "suite_$1"
    ) </dev/null
    status=$?
    set -e
    [ "$status" = 0 ] || FAILED+=("$1")
    say "$1: status $status after $((SECONDS - began)) s"
}

CHOSEN=()
for word in "$@"; do
    case $word in
    -h | --help) usage && exit ;;
    *)
        [[ " ${SUITES[*]} " == *" $word "* ]] || die "'$word' is none of: ${SUITES[*]}"
        CHOSEN+=("$word")
        ;;
    esac
done
[ ${#CHOSEN[@]} -gt 0 ] || CHOSEN=("${SUITES[@]}")
[ "$(id -u)" = 0 ] || die "disks are made and mounted; run: sudo env \"PATH=\$PATH\" ./scripts/soak.sh"
cd "$REPO"
need_rust
need_fuse
build_program
export CKPTFS
for suite in "${CHOSEN[@]}"; do run_suite "$suite"; done
[ ${#FAILED[@]} = 0 ] || die "failed: ${FAILED[*]}"
say "all passed: ${CHOSEN[*]}"
