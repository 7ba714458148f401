#!/usr/bin/env bash
# From a fresh checkout to a mount with a trained model on it, on Debian or Ubuntu with Rust:
#
#   ./scripts/run.sh [STORE [MOUNTPOINT]]        default: .cache/demo/store, .cache/demo/checkpoints
#
# Installs what is missing, builds and mounts; trains a small PyTorch model whose script knows nothing of ckptfs and saves
# over one file, kills it in the middle of a save, resumes it from the newest good version, and prints all versions and
# what they cost. It may be run again, and leaves the mount in place; each run ends the history of the one before. As
# root, or another user with CAP_SYS_ADMIN, saves use kernel passthrough.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib/setup.sh"

usage() { sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

# Only ours: a mount of something else at this place is left alone.
is_mounted() {
    [ "$(findmnt -n -o FSTYPE --mountpoint "$1" 2>/dev/null)" = fuse.ckptfs ]
}

mount_store() {
    if is_mounted "$MOUNTPOINT"; then
        if "$CKPTFS" status "$MOUNTPOINT" >/dev/null; then
            say "$MOUNTPOINT is mounted already"
            return
        fi
    fi
    mkdir -p "$STORE" "$MOUNTPOINT"
    "$CKPTFS" mount "$STORE" "$MOUNTPOINT"
}

goodbye() {
    say ""
    say "The mount stays:  $MOUNTPOINT  (store: $STORE)"
    say "  look at it      $CKPTFS status $MOUNTPOINT"
    say "  its versions    ls $MOUNTPOINT/demo/.snapshots"
    say "  unmount         $CKPTFS unmount $MOUNTPOINT"
    say "  mount again     $CKPTFS mount $STORE $MOUNTPOINT"
}

main() {
    case ${1:-} in
    -h | --help)
        usage
        exit 0
        ;;
    -*) die "unknown option $1; the use is: ./scripts/run.sh [STORE [MOUNTPOINT]]" ;;
    esac
    [ $# -le 2 ] || die "too many arguments; the use is: ./scripts/run.sh [STORE [MOUNTPOINT]]"
    STORE=$(realpath -m "${1:-$REPO/.cache/demo/store}")
    MOUNTPOINT=$(realpath -m "${2:-$REPO/.cache/demo/checkpoints}")

    step "what the machine needs"
    need_rust
    need_packages gcc libc6-dev fuse3 python3 python3-venv util-linux
    need_fuse
    need_python demo
    step "build"
    build_program
    step "mount"
    mount_store
    step "train, kill, resume from history, seal"
    "$PYTHON" "$REPO/scripts/python/demo.py" --program "$CKPTFS" --store "$STORE" --mountpoint "$MOUNTPOINT" \
        --work "$REPO/.cache/demo"
    goodbye
}

main "$@"
