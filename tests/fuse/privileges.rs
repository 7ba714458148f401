//! Set-user-id bits and file capabilities do not survive a write by somebody else.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use rustix::io::Errno;

use crate::common::*;

/// `cap_net_raw+ep`, version 2.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn prepare(path: &Path) {
    fs::write(path, noise(200_000, 1)).unwrap();
    mark(path);
}

fn mark(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o6777)).unwrap();
    setxattr(path, "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o6777);
}

#[track_caller]
fn cleared(path: &Path, how: &str) {
    assert_eq!(fs::metadata(path).unwrap().mode() & 0o7777, 0o777, "after {how}");
    let capability = getxattr(path, "security.capability", &mut [0; 64][..]);
    assert_eq!(capability.err(), Some(Errno::NODATA), "after {how}");
}

#[test]
fn changes_by_nobody_clear_set_user_id_and_capabilities() {
    both(|mount| {
        let path = mount.path("f");
        type Change<'a> = (&'a str, &'a (dyn Fn() + Sync));
        let changes: [Change<'_>; 5] = [
            ("a write", &|| open_rw(&path).write_all_at(b"x", 0).unwrap()),
            ("a write to a write-only handle", &|| {
                File::options().write(true).open(&path).unwrap().write_all_at(b"x", 0).unwrap();
            }),
            ("O_TRUNC", &|| drop(File::options().write(true).truncate(true).open(&path).unwrap())),
            ("truncate", &|| truncate(&path, 100)),
            ("ftruncate", &|| open_rw(&path).set_len(50).unwrap()),
        ];
        for (how, change) in changes {
            for sealed in [false, true] {
                prepare(&path);
                if sealed {
                    mount.all_sealed();
                }
                as_nobody(change);
                cleared(&path, how);
                fs::remove_file(&path).unwrap();
            }
        }
        prepare(&path);
        let _held = open_rw(&path);
        as_nobody(|| open_rw(&path).write_all_at(b"x", 0).unwrap());
        cleared(&path, "a write beside an open handle");
        mark(&path);
        std::os::unix::fs::chown(&path, Some(1000), None).unwrap();
        cleared(&path, "chown");
    });
}

#[test]
fn permissions_hold_for_nobody_and_new_files_are_the_makers_with_his_umask() {
    both(|mount| {
        let path = mount.path("secret");
        fs::write(&path, b"root only").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(mount.path("shared")).unwrap();
        fs::set_permissions(mount.path("shared"), fs::Permissions::from_mode(0o2777)).unwrap();
        as_nobody(|| {
            assert_eq!(File::open(&path).unwrap_err().raw_os_error(), Some(libc::EACCES));
            let mine = mount.path("shared/mine");
            fs::write(&mine, b"x").unwrap();
            let meta = fs::metadata(&mine).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (NOBODY, 0), "the group of a set-group-id directory");
            fs::set_permissions(&mine, fs::Permissions::from_mode(0o200)).unwrap();
            File::options().write(true).open(&mine).unwrap().write_all_at(b"y", 0).unwrap();
        });
        assert_bytes(&mount.path("shared/mine"), b"y");
        let script = "umask 027; cd \"$0\"; touch file; mkdir folder";
        assert!(Command::new("sh").args(["-c", script]).arg(mount.root()).status().unwrap().success());
        let mode = |name: &str| fs::metadata(mount.path(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("file"), mode("folder")), (0o640, 0o750), "the umask of the maker");
    });
}

#[test]
fn without_allow_other_only_who_mounted_sees_the_mount() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (store, mnt) = (dir.path().join("store"), dir.path().join("mnt"));
    fs::create_dir(&mnt).unwrap();
    let done = ckptfs(&["mount", text(&store), text(&mnt)]);
    assert!(done.status.success(), "{}", said(&done));
    fs::set_permissions(&mnt, fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(mnt.join("f"), b"mine").unwrap();
    fs::set_permissions(mnt.join("f"), fs::Permissions::from_mode(0o666)).unwrap();
    let seen = as_nobody(|| {
        let tries = [
            fs::read_dir(&mnt).map(drop),
            fs::metadata(mnt.join("f")).map(drop),
            fs::read(mnt.join("f")).map(drop),
            fs::write(mnt.join("g"), b"x"),
        ];
        tries.map(|done| done.err().and_then(|error| error.raw_os_error()))
    });
    let mine = fs::read(mnt.join("f"));
    // Unmounted before anything may fail: nothing else takes this mount away.
    eventually("it unmounts", || ckptfs(&["unmount", text(&mnt)]).status.success());
    assert_eq!(seen, [Some(libc::EACCES); 4]);
    assert_eq!(mine.unwrap(), b"mine");
}
