#!/usr/bin/env bash
# Breaks the disk below a store in the ways that disks break (unreadable, failing writes and flushes, read-only, full) and
# checks what a user of the mount sees, and that everything acknowledged is there once the disk works again.
#
#   sudo scripts/disk_faults.sh [NAME]...   all cases without an argument; NAME chooses those whose name contains it
#
# Each case has a disk of its own (a loop device on tests/disk). CKPTFS_TEST_DIR=/dev/shm makes it quick. The cases are in
# scripts/python/disk_faults.py and disk_full.py. Exit 1 when a case failed; its logs are kept.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/disk.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/disk.sh"

case ${1:-} in
-h | --help) usage && exit ;;
esac
[ "$TARGET" = ckptfs ] || die "TARGET is '$TARGET'; only ckptfs is tried"
need_root "$0"
need_disks ext4 xfs btrfs
testbed_start disk_faults
need_free "$WORK" 4
timeout --kill-after=10 1800 python3 "$REPO/scripts/python/disk_faults.py" --disk "$DISK" --binary "$CKPTFS" "$WORK" "$@"
