#!/usr/bin/env bash
# ckptfs beside what people would take instead: plain files, bindfs, zstd, btrfs with compression, the same with
# duperemove, restic, borg. All get the same saves of real trainings, in one run: how long a save blocks, CPU seconds,
# bytes on the disk, time to get the newest and the oldest save back.
#
#   sudo scripts/compare.sh [--quick] [--saves N] [--rounds N]     5 saves a training, the medians of 3 rounds
#
# Prints a table and writes compare.md and compare.json into .cache/compare. Installs the Debian packages that are missing.
# The trainings run once, for about ten minutes, and stay in .cache/series; --quick has tiny ones, which show that all of
# it works and nothing else. Other work on the machine spoils the figures.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/disk.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/disk.sh"

SAVES=5
ROUNDS=3
SERIES=$REPO/.cache/series
SIZE=()
while [ $# -gt 0 ]; do
    case $1 in
    --quick) SAVES=3 ROUNDS=1 SERIES=$REPO/.cache/series-small SIZE=(--small) ;;
    --saves) SAVES=${2:?--saves needs a number} && shift ;;
    --rounds) ROUNDS=${2:?--rounds needs a number} && shift ;;
    -h | --help) usage && exit ;;
    *) die "unknown argument '$1'" ;;
    esac
    shift
done
if [ "$SAVES" -lt 2 ] || [ "$ROUNDS" -lt 1 ]; then die "at least 2 saves and 1 round"; fi

# Nothing is kept, whatever ended it: the message says what failed, and a store of gigabytes is in the way.
compare_end() {
    local status=$?
    trap - EXIT
    rm -rf --one-file-system "$WORK"
    exit "$status"
}

need_root "$0"
need_fuse
need_filesystems btrfs
need_packages bindfs borgbackup duperemove fuse3 python3 restic zstd
need_python test
need_free "$REPO" 12
mkdir -p "$REPO/.cache/compare"
testbed_start compare
trap compare_end EXIT
# With a trap the shell waits until the side that is being measured has been taken down.
trap 'exit 143' TERM
say "making the series that are not in $SERIES yet"
"$PYTHON" "$REPO/scripts/python/series.py" "$SERIES" adamw-far adamw-near bf16-finetune lora "${SIZE[@]}"
"$PYTHON" "$REPO/scripts/python/compare.py" "$SERIES" "$WORK" --binary "$CKPTFS" --saves "$SAVES" --rounds "$ROUNDS" \
    --out "$REPO/.cache/compare"
