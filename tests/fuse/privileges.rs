//! Set-user-id bits and file capabilities do not survive a write by somebody else.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;

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
fn permissions_hold_for_nobody_and_new_files_are_the_makers() {
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
    });
}
