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

# need_filesystems KIND...: filesystems of these kinds can be made and mounted.
need_filesystems() {
    local kind type packages=(util-linux e2fsprogs)
    for kind in "$@"; do
        type=$kind
        case $kind in
        ext4 | tmpfs) ;;
        xfs) packages+=(xfsprogs) ;;
        btrfs) packages+=(btrfs-progs) ;;
        overlayfs | overlayfs-2) type=overlay ;;
        glusterfs) type=fuse packages+=(glusterfs-server xfsprogs) ;;
        *) die "'$kind' is none of: ext4, xfs, btrfs, tmpfs, overlayfs, overlayfs-2, glusterfs" ;;
        esac
        # A module is loaded by the first mount; where there are none the list is complete.
        grep -qw "$type" /proc/filesystems || modprobe "$type" 2>/dev/null ||
            die "this kernel has no $type, which $kind needs; leave it out"
    done
    need_packages "${packages[@]}"
    [ -e /dev/loop-control ] ||
        die "loop devices are missing; load them with: modprobe loop (in a container: --privileged)"
}

# need_disks KIND...: as above, and the noting disk is built.
need_disks() {
    need_filesystems "$@"
    need_rust
    (cd "$REPO" && cargo build --quiet --release --locked --example disk)
}
