//! mount(8), umount(8) and /etc/fstab, for real: each test has a mount namespace of its own, in which it installs the
//! helpers and writes the table, so that nothing of the machine is changed.

use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, UnmountFlags};
use tempfile::TempDir;

use crate::common::*;

/// What every script finds: helpers that it may install, programs by PATH, $store and $mnt.
const BEGIN: &str = r#"
set -eu
cd "$DIR"
mkdir private mnt
mount -t tmpfs tmpfs private
mkdir private/upper private/work
sbin=$(readlink -f /sbin)
mount -t overlay -o lowerdir="$sbin",upperdir="$DIR/private/upper",workdir="$DIR/private/work" overlay "$sbin"
ln -s "$CKPTFS" "$sbin/ckptfs"
store=$DIR/store mnt=$DIR/mnt
install_helper() { ln -sf "$CKPTFS" "$sbin/mount.fuse.ckptfs"; }
rm -f "$sbin/mount.fuse.ckptfs"
fstab() { printf '%s\n' "$1" >private/fstab; mount --bind private/fstab /etc/fstab; }
not() { if "$@"; then echo "it should not be: $*" >&2; exit 1; fi; } # (`!` alone ends no script)
is_mounted() { mountpoint -q "$mnt"; }
ends() { # umount(8) returns when the mount is gone; then the daemon makes all durable and ends
    for _ in $(seq 100); do ! grep -q '"closed":true' "$store/lock" || return 0; sleep 0.1; done
    return 1
}
fails() { # CODE COMMAND...: what it says goes to private/said, one line
    wanted=$1 code=0
    shift
    "$@" 2>private/said || code=$?
    [ "$code" = "$wanted" ] || { echo "$* ended with $code, not $wanted: $(cat private/said)" >&2; exit 1; }
    [ "$(wc -l <private/said)" = 1 ] || { echo "not one line: $(cat private/said)" >&2; exit 1; }
}
says() { grep -qF -e "$1" private/said || { echo "'$1' is not in: $(cat private/said)" >&2; exit 1; }; }
trap 'umount -i -l "$mnt" 2>/dev/null || true' EXIT
set -x
"#;

/// Runs a script apart from the machine.
#[track_caller]
fn apart(script: &str) {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    open_to_all(dir.path());
    let done: Output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &format!("{BEGIN}{script}")])
        .env("DIR", dir.path().canonicalize().unwrap())
        .env("CKPTFS", env!("CARGO_BIN_EXE_ckptfs"))
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    assert!(done.status.success(), "these tests need root and overlayfs: {}", said(&done));
}

fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn mount_and_umount_work_with_our_helper() {
    apart(
        r#"
        install_helper
        rm -f "$sbin"/mount.fuse "$sbin"/mount.fuse3
        mount -t fuse.ckptfs "$store" "$mnt" -o settle=1s,allow_other,noatime
        is_mounted
        echo kept >mnt/f
        findmnt -n -o FSTYPE,SOURCE "$mnt" | grep -q "^fuse.ckptfs *$store"
        umount "$mnt"
        not is_mounted
        ends
        mount -v -n -s -t fuse.ckptfs -o nfsvers=4,ro "$store" "$mnt" 2>private/said >private/out
        says "'nfsvers'"
        grep -qx "$store mounted on $mnt" private/out
        grep -qx kept mnt/f
        not touch mnt/g
        # Only what is named goes; the daemon stays for the other.
        mkdir other
        mount --bind mnt other
        umount other
        is_mounted
        exec 3<mnt/f
        fails 32 umount "$mnt"
        says "busy"
        exec 3<&-
        umount -l "$mnt"
        not is_mounted
        "#,
    );
}

#[test]
fn without_our_helper_the_one_of_fuse3_does_it() {
    apart(
        r#"
        mount -t fuse.ckptfs "$store" "$mnt" -o settle=1s,nodev,nosuid
        echo kept >mnt/f
        findmnt -n -o OPTIONS "$mnt" | grep -q nosuid
        umount "$mnt"
        not is_mounted
        ends
        fails 1 mount -t fuse.ckptfs "$store" "$mnt" -o setle=1s
        says "'settle'"
        "#,
    );
}

#[test]
fn a_line_of_fstab_mounts_with_all_that_admins_write_there() {
    apart(
        r#"
        install_helper
        fstab "$store $mnt fuse.ckptfs noauto,nofail,_netdev,rw,allow_other,x-systemd.automount,x-systemd.requires-mounts-for=/data,comment=a,settle=1s 0 0"
        mount "$mnt"
        echo kept >mnt/f
        umount "$mnt"
        mount "$store"
        grep -qx kept mnt/f
        # A second time: it is there already.
        fails 32 mount "$mnt"
        says "mounted"
        umount "$mnt"
        fstab "$store $mnt fuse.ckptfs defaults,ro 0 0"
        mount -a -t fuse.ckptfs
        mount -a -t fuse.ckptfs
        [ "$(grep -c " $mnt fuse.ckptfs" /proc/self/mounts)" = 1 ]
        umount -a -t fuse.ckptfs
        not is_mounted
        "#,
    );
}

#[test]
fn an_ordinary_user_mounts_and_unmounts_a_line_with_user() {
    apart(
        r#"
        install_helper
        mknod -m 666 private/fuse c 10 229
        mount --bind private/fuse /dev/fuse
        mkdir store
        chown 65534:65534 store mnt
        fstab "$store $mnt fuse.ckptfs user,noauto,settle=1s 0 0"
        as_nobody() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
        as_nobody mount "$mnt"
        as_nobody sh -c 'echo mine >mnt/f'
        options=$(findmnt -n -o OPTIONS "$mnt")
        for word in nosuid nodev noexec user_id=65534; do echo "$options" | grep -q "$word"; done
        [ "$(stat -c %u store/format)" = 65534 ]
        as_nobody umount "$mnt"
        not is_mounted
        ends
        "#,
    );
}

#[test]
fn what_goes_wrong_has_the_exit_code_of_mount_and_one_line() {
    apart(
        r#"
        install_helper
        touch mnt/hidden
        fails 32 mount -t fuse.ckptfs "$store" "$mnt"
        says "nonempty"
        rm mnt/hidden
        fails 1 mount -t fuse.ckptfs "$store" "$mnt" -o setle=1s
        says "'settle'"
        fails 1 mount -t fuse.ckptfs "$store" "$mnt" -o hot_cache=lots
        says "'lots'"
        # Nothing but a rehearsal.
        mount -f -t fuse.ckptfs "$store" "$mnt" -o settle=1s
        fails 1 mount -f -t fuse.ckptfs "$store" "$mnt" -o setle=1s
        not is_mounted
        not test -e store
        mount -t fuse.ckptfs "$store" "$mnt"
        fails 1 mount -o remount,ro "$mnt"
        says "unmount it"
        mkdir second
        fails 32 mount -t fuse.ckptfs "$store" "$DIR/second"
        says "ckptfs unmount $mnt"
        # A killed daemon: umount takes its mount away, mount cleans it.
        pid() { sed 's/.*"pid":\([0-9]*\).*/\1/' store/lock; }
        kill_it() { kill -9 "$(pid)"; while [ -e "/proc/$(pid)/exe" ]; do sleep 0.05; done; }
        kill_it
        umount "$mnt"
        not is_mounted
        mount -t fuse.ckptfs "$store" "$mnt"
        kill_it
        mount -t fuse.ckptfs "$store" "$mnt"
        [ -z "$(ls -A mnt)" ]
        umount "$mnt"
        "#,
    );
}

/// A place that mounts on first use, as `x-systemd.automount` makes it; this test is its automounter.
struct OnFirstUse {
    dir: TempDir,
    at: PathBuf,
    /// The place itself, under what is mounted on it.
    place: File,
    hears: PipeReader,
    _asks: PipeWriter,
}

impl OnFirstUse {
    fn new() -> OnFirstUse {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = dir.path().canonicalize().unwrap().join("mnt");
        fs::create_dir(&at).unwrap();
        let (hears, asks) = std::io::pipe().unwrap();
        let group = rustix::process::getpgrp().as_raw_nonzero();
        let options = format!("fd={},pgrp={group},minproto=5,maxproto=5,direct", asks.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("test", &at, "autofs", MountFlags::empty(), Some(options.as_c_str()))
            .expect("this test needs root and a kernel with autofs");
        let place = File::open(&at).unwrap();
        OnFirstUse { dir, at, place, hears, _asks: asks }
    }

    /// Mounts a store there, in the automounter's process group or in another; whether that succeeds in time.
    fn mounts(&self, in_group: bool) -> bool {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckptfs"));
        command.args(["mount", "-o", "settle=1s"]).arg(self.dir.path().join("store")).arg(&self.at);
        if !in_group {
            command.process_group(0);
        }
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // One that has ended hears nothing.
        let _ended = child.kill().is_err();
        child.wait().unwrap().success()
    }

    /// What systemd does once its mount(8) has ended: whoever waits goes on.
    fn let_in(&mut self) {
        let mut packet = [0; 304];
        let len = self.hears.read(&mut packet).unwrap();
        let token = u32::from_ne_bytes(packet[8..12].try_into().unwrap());
        // SAFETY: AUTOFS_IOC_READY takes a number; the file is one of the place.
        let done = unsafe { libc::ioctl(self.place.as_raw_fd(), 0x9360, libc::c_ulong::from(token)) };
        assert!(len >= 12 && done == 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for OnFirstUse {
    fn drop(&mut self) {
        while rustix::mount::unmount(&self.at, UnmountFlags::DETACH).is_ok() {}
    }
}

#[test]
fn a_place_that_mounts_on_first_use_is_not_looked_into() {
    let place = OnFirstUse::new();
    assert!(place.mounts(false), "it waits for itself, or fails");
    fs::write(place.at.join("f"), b"x").unwrap();
}

#[test]
fn who_waits_for_a_place_that_mounts_on_first_use_does_not_keep_it_from_being_mounted() {
    let mut place = OnFirstUse::new();
    let waits = Command::new("ls").arg(&place.at).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
    let wait = format!("/proc/{}/wchan", waits.id());
    eventually("somebody waits for the mount", || fs::read_to_string(&wait).unwrap().contains("autofs"));
    let mounted = place.mounts(true);
    place.let_in();
    let listed = waits.wait_with_output().unwrap();
    assert!(mounted && listed.status.success(), "it waits for itself, or fails");
    fs::write(place.at.join("f"), b"x").unwrap();
}
