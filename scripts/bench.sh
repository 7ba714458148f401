#!/usr/bin/env bash
# What a mount costs against the native folder of the same disk beside it, measured in one run, one after the other, A B
# A B: saves, saves with fsync, reads from the page cache, small files, and the daemon's peak memory. Without
# passthrough the yardstick is bindfs, the plainest FUSE filesystem.
#
#   sudo scripts/bench.sh [--quick] [--size MIB] [--rounds N]     1024 MiB, the median of 5 rounds after a warm-up
#   sudo scripts/bench.sh SECTION [--quick] [--rounds N] [--only WORDS]     one of those below; only rows with these words
#   sudo scripts/bench.sh all [--quick]     the table above and every section; about 50 minutes, with --quick 8
#   sudo scripts/bench.sh codec [--big] [DIR]     ratio and speed of the codecs on training series, and whole stores
#
# Sections (minutes on 2 cores and a disk of 1 GB/s; with --quick):
#   save      (25; 3) the calls of torch, safetensors and TensorFlow that save 100 MB, 1 GB and 4 GB, eight processes at once,
#             without passthrough beside bindfs, and while the save before is sealed
#   training  (6; 2) step times with all cores busy, while a mount seals and encodes anew
#   sealing   (4; 1) GB for a second of CPU, lag from close to sealed, bytes written to the disk for a byte saved
#   restore   (10; 1) the newest version while hot, whole files and a part of one from packs, the first byte
#   names     (12; 2) rates, untar, git, bindfs beside it; removal of 1,000 checkpoints; a version of 100,000 files
#
# Prints a table and writes .cache/bench/bench.json, or SECTION.json, with the machine in it. Measures only; it fails when
# something cannot be measured, never because of speed: the bars are printed beside. Nothing else should run meanwhile.
# Needs the size in memory, and as much again so that pages stay cached; `save` and `restore` 12 GiB of memory and 16 GiB
# of disk. Sections use the Python packages of requirements/test.txt. A row of a section can be called for by its words:
# --only " 4 GB".
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

# shellcheck source-path=SCRIPTDIR source=lib/bench_sections.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/bench_sections.sh"
case ${1:-} in
save | training | sealing | restore | names)
    bench_section "$@"
    exit
    ;;
all)
    # Each in a process of its own, so that nothing of one is mounted while the next is measured.
    shift
    "$0" "$@"
    for section in "${SECTIONS[@]}"; do "$0" "$section" "$@"; done
    exit
    ;;
esac

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
