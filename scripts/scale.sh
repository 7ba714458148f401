#!/usr/bin/env bash
# What stores of growing size cost: mounts, names, reads, saves, commands on history, gc and check, time and memory.
#
#   sudo scripts/scale.sh [--quick] [--size F]... [--part P]... [--keep] [--table]
#
# The largest store has 1,000,000 files, 10,000 versions and 10,000,000 chunks, about a TB as its readers see it and 3 GB on
# the disk; the others have 1/10, 1/100 and next to nothing of each. --size takes one of 0, 0.01, 0.1, 1; --quick leaves
# out the largest. --part takes one of mount, names, save, history, space. Stores are made once and stay in
# .cache/scale with --keep. Prints a table of medians, and how each figure grows: the exponent of the size between the two
# largest stores, where 1 is linear. Figures are kept in .cache/scale/scale.json; --table prints what is there. Measures
# only: it fails when something cannot be measured.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/testbed.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/testbed.sh"

ARGUMENTS=()
while [ $# -gt 0 ]; do
    case $1 in
    --quick) ARGUMENTS+=(--size 0 --size 0.01 --size 0.1) ;;
    --keep | --table) ARGUMENTS+=("$1") ;;
    --size | --part) ARGUMENTS+=("$1" "${2:?$1 needs a value}") && shift ;;
    -h | --help) usage && exit ;;
    *) die "unknown argument '$1'" ;;
    esac
    shift
done

need_target
need_root "$0"
CACHE=${CKPTFS_TEST_DIR:-$REPO/.cache}/scale
mkdir -p "$CACHE"
need_free "$CACHE" 12
MAKER=$REPO/target/release/examples/scale
[ -x "$MAKER" ] || die "no program at $MAKER; build it with: cargo build --release --example scale"
python3 "$REPO/scripts/python/scale.py" "$CACHE" --binary "$CKPTFS" --maker "$MAKER" "${ARGUMENTS[@]}"
