#!/usr/bin/env bash
# A store on each kind of filesystem: ext4, xfs, btrfs, tmpfs, overlayfs (on ext4), overlayfs-2 (over another overlayfs) and
# GlusterFS (a volume on loopback, two clients as two hosts). What works, what falls back by itself, and why.
#
#   sudo scripts/filesystems.sh [KIND]...            all kinds without an argument
#   sudo UPDATE=1 scripts/filesystems.sh             writes the table into docs/filesystems.md instead of printing it
#
# A kind that is not available here is an error, with what to install. Nothing that it made is left. The trials are in
# scripts/python/filesystems.py. Exit 1 when one failed; its logs are kept.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/disk.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/disk.sh"

case ${1:-} in
-h | --help) usage && exit ;;
esac
[ "$TARGET" = ckptfs ] || die "TARGET is '$TARGET'; only ckptfs is tried"
need_root "$0"
[ $# -gt 0 ] || set -- ext4 xfs btrfs tmpfs overlayfs overlayfs-2 glusterfs
[ -z "${UPDATE:-}" ] || [ $# = 7 ] || die "UPDATE=1 writes a table of all kinds; run it without arguments"
need_filesystems "$@"
testbed_start filesystems
need_free "$WORK" 4
timeout --kill-after=10 1800 python3 "$REPO/scripts/python/filesystems.py" --binary "$CKPTFS" \
    ${UPDATE:+--out "$REPO/docs/filesystems.md"} "$WORK" "$@"
