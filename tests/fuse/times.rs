//! Times: what is set is kept to the nanosecond through sealing, remount and hydrating; what changes moves them.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use crate::common::*;

type Times = [(i64, i64); 3];

/// atime, mtime, ctime.
fn times(path: &Path) -> Times {
    times_in(&fs::symlink_metadata(path).unwrap())
}

fn times_in(meta: &fs::Metadata) -> Times {
    [(meta.atime(), meta.atime_nsec()), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec())]
}

fn set(path: &Path, atime: (i64, i64), mtime: (i64, i64)) {
    let spec = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn set_times_are_kept_through_sealing_remount_and_hydrating() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, noise(200_000, 1)).unwrap();
        let (atime, mtime) = ((1_000_000_000, 123_456_789), (1_100_000_000, 987_654_321));
        set(&path, atime, mtime);
        let wanted = times(&path);
        assert_eq!(wanted[..2], [atime, mtime]);
        mount.all_sealed();
        assert_eq!(times(&path), wanted, "after sealing");
        mount.remount();
        assert_eq!(times(&path), wanted, "after a remount");
        mount.kill();
        mount.mount();
        assert_eq!(times(&path), wanted, "after a kill");
        drop(open_rw(&path));
        assert_eq!(times(&path)[1], mtime, "opened, not written");
        mount.all_sealed();
        assert_eq!(times(&path)[1], mtime, "and sealed again");
        open_rw(&path).write_all_at(b"x", 0).unwrap();
        assert!(times(&path)[1] > wanted[2] && times(&path)[2] > wanted[2]);
        let written = times(&path);
        mount.all_sealed();
        assert_eq!(times(&path)[1..], written[1..], "after sealing what was written");
        set(&path, (UTIME_OMIT, UTIME_OMIT), (UTIME_OMIT, UTIME_OMIT));
        assert_eq!(times(&path)[1..], written[1..]);
        set(&path, (5, 6), (0, UTIME_OMIT));
        assert_eq!(times(&path)[..2], [(5, 6), written[1]]);
        set(&path, (0, UTIME_OMIT), (0, UTIME_NOW));
        assert!(times(&path)[1] > written[1] && times(&path)[0] == (5, 6));
        set(&path, (-1, 5), (-100, 7));
        assert_eq!(times(&path)[..2], [(-1, 5), (-100, 7)]);
    });
}

#[test]
fn each_change_moves_ctime_and_only_content_moves_mtime() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, noise(200_000, 2)).unwrap();
        for sealed in [false, true] {
            if sealed {
                mount.all_sealed();
            }
            type Step<'a> = (&'a str, bool, &'a dyn Fn());
            let steps: [Step<'_>; 5] = [
                ("chmod", false, &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap()),
                ("link", false, &|| fs::hard_link(&path, mount.path("link")).unwrap()),
                ("unlink of the other name", false, &|| fs::remove_file(mount.path("link")).unwrap()),
                ("write", true, &|| open_rw(&path).write_all_at(b"y", 1).unwrap()),
                ("truncate", true, &|| truncate(&path, 150_000)),
            ];
            for (what, content, step) in steps {
                let before = times(&path);
                std::thread::sleep(Duration::from_millis(12));
                step();
                let after = times(&path);
                assert!(after[2] > before[2], "{what}: ctime");
                assert_eq!(after[1] > before[1], content, "{what}: mtime");
            }
        }
        let dir = times(&mount.root());
        std::thread::sleep(Duration::from_millis(12));
        fs::remove_file(&path).unwrap();
        assert!(times(&mount.root())[1] > dir[1] && times(&mount.root())[2] > dir[2]);
    });
}

#[test]
fn stores_through_a_mapping_move_mtime() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, noise(200_000, 3)).unwrap();
        let map = Map::new(&open_rw(&path), 200_000, true);
        let before = times(&path);
        std::thread::sleep(Duration::from_millis(12));
        map.put(5000, b"stored");
        map.sync();
        eventually("the store is seen in mtime", || {
            times(&path)[1] > before[1] && times(&path)[2] > before[2]
        });
    });
}

#[test]
fn what_is_made_or_changed_later_is_not_older() {
    both(|mount| {
        let (written, made) = (mount.path("written"), mount.path("made"));
        let dir = mount.path("dir");
        fs::create_dir(&dir).unwrap();
        for round in 0..50 {
            // Looked at in between, so that the next write is stamped finer than clocks tell.
            fs::write(&written, b"1").unwrap();
            times(&written);
            fs::write(&written, b"2").unwrap();
            let before = times(&written)[1];
            fs::create_dir(&made).unwrap();
            assert!(times(&made)[1] >= before, "round {round}: a new directory");
            fs::remove_dir(&made).unwrap();
            std::os::unix::fs::symlink("written", &made).unwrap();
            assert!(times(&made)[1] >= before, "round {round}: a new link");
            fs::remove_file(&made).unwrap();
            let listed = times(&dir)[1];
            fs::create_dir(dir.join("sub")).unwrap();
            assert!(times(&dir)[1] > listed, "round {round}: a directory that has a new entry");
            fs::remove_dir(dir.join("sub")).unwrap();
            let changed = times(&written)[2];
            fs::set_permissions(&written, fs::Permissions::from_mode(0o600 + (round % 2) * 0o40)).unwrap();
            assert!(times(&written)[2] >= changed, "round {round}: a file whose mode was changed");
            let new = mount.path("new");
            let created = times_in(&fs::File::create_new(&new).unwrap().metadata().unwrap());
            set(&new, (0, UTIME_NOW), (0, UTIME_NOW));
            assert!(times(&new)[1] >= created[1], "round {round}: touch");
            fs::remove_file(&new).unwrap();
        }
    });
}
