#!/usr/bin/env bash
# What a mount costs against the native folder of the same disk beside it, measured in one run, one after the other, A B
# A B: saves, saves with fsync, reads from the page cache, small files, and the daemon's peak memory. Without
# passthrough the yardstick is bindfs, the plainest FUSE filesystem.
#
#   sudo scripts/bench.sh [--quick] [--size MIB] [--rounds N]     1024 MiB, the median of 5 rounds after a warm-up
#   sudo scripts/bench.sh codec [--big] [DIR]     ratio and speed of the codecs on training series, and whole stores
#
# Prints a table and writes .cache/bench/bench.json. Measures only; it fails when something cannot be measured. Needs the
# size in memory, and as much again so that pages stay cached.
#
# `codec` makes the series in DIR (.cache/series) unless they are there; --big adds one with a base of 1 GiB. It prints
# tables and targets, also into .cache/bench/codec.md; docs/codec.md says what each column is.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/testbed.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/testbed.sh"

if [ "${1:-}" = codec ]; then
    shift
    # shellcheck source-path=SCRIPTDIR source=lib/bench_codec.sh
    . "$(dirname "${BASH_SOURCE[0]}")/lib/bench_codec.sh"
    bench_codec "$@"
    exit
fi

SIZE_MIB=1024
ROUNDS=5
while [ $# -gt 0 ]; do
    case $1 in
    --quick) SIZE_MIB=256 ROUNDS=3 ;;
    --size) SIZE_MIB=${2:?--size needs MiB} && shift ;;
    --rounds) ROUNDS=${2:?--rounds needs a number} && shift ;;
    -h | --help) usage && exit ;;
    *) die "unknown argument '$1'" ;;
    esac
    shift
done

need_root "$0"
need bindfs bindfs
testbed_start bench
# A native folder, two mounts and bindfs, each with one file and what a background has not sealed and freed yet.
need_free "$WORK" $((SIZE_MIB * 16 / 1024 + 2))
mkdir -p "$REPO/.cache/bench"
python3 "$REPO/scripts/python/bench.py" "$WORK" --binary "$CKPTFS" --target "$TARGET" --size-mib "$SIZE_MIB" \
    --rounds "$ROUNDS" --json "$REPO/.cache/bench/bench.json"
