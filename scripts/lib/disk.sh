# shellcheck shell=bash
# For scripts that bring their own disks: packages of the filesystems, and the disk that notes its writes. Sourced, never
# run, instead of testbed.sh, which it holds.

CKPTFS_GIVEN=${CKPTFS:-}
# shellcheck source-path=SCRIPTDIR source=setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
CKPTFS=${CKPTFS_GIVEN:-$CKPTFS}
# shellcheck source-path=SCRIPTDIR source=testbed.sh
. "$(dirname "${BASH_SOURCE[0]}")/testbed.sh"
# Read by the scripts that source this.
# shellcheck disable=SC2034
DISK=$REPO/target/release/examples/disk

# need_disks KIND...: filesystems of these kinds can be made and mounted, and the noting disk is built.
need_disks() {
    local kind packages=(util-linux e2fsprogs)
    for kind in "$@"; do
        case $kind in
        ext4) ;;
        xfs) packages+=(xfsprogs) ;;
        btrfs) packages+=(btrfs-progs) ;;
        *) die "'$kind' is none of: ext4, xfs, btrfs" ;;
        esac
        # A module is loaded by the first mount; where there are none the list is complete.
        grep -qw "$kind" /proc/filesystems || modprobe "$kind" 2>/dev/null ||
            die "this kernel has no $kind; leave it out"
    done
    need_packages "${packages[@]}"
    [ -e /dev/loop-control ] ||
        die "loop devices are missing; load them with: modprobe loop (in a container: --privileged)"
    need_rust
    (cd "$REPO" && cargo build --quiet --release --locked --example disk)
}
