//! Daemons that abort at a crash point, or whose disk fails a sync: what users find after the next mount.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use ckptfs::base::fault::Point;

use crate::common::*;

/// Mounts again with `fault`, does `work`, waits for the daemon's end, and mounts once more.
#[track_caller]
fn dies(mount: &Mount, point: Point, work: impl FnOnce()) {
    assert!(mount.unmount().status.success());
    let done = mount.mount_to_fail(&format!("abort@{}", point.name()));
    assert!(done.status.success(), "{}", said(&done));
    let pid = mount.pid();
    work();
    let gone = || !is_running(pid);
    eventually("the daemon aborts", gone);
    mount.mount();
}

#[test]
fn a_daemon_that_aborts_while_it_seals_loses_nothing() {
    let points =
        [Point::PackSynced, Point::PackRenamed, Point::SealPacked, Point::SealRecorded, Point::SealEvicted];
    for (point, seed) in points.into_iter().zip(1..) {
        eprintln!("-- {}", point.name());
        let mount = Mount::new("on");
        fs::write(mount.path("before"), b"from before").unwrap();
        let bytes = noise(300_000, seed);
        dies(&mount, point, || fs::write(mount.path("data"), &bytes).unwrap());
        assert_bytes(&mount.path("data"), &bytes);
        assert_bytes(&mount.path("before"), b"from before");
        eventually("it is sealed after all", || {
            mount.number("/sealing/sealed_files") > 0 || mount.number("/hot_files") == 1
        });
        assert_bytes(&mount.path("data"), &bytes);
        mount.no_faults();
    }
}

#[test]
fn a_daemon_that_aborts_while_it_makes_a_version_makes_it_after_the_next_mount_once() {
    let points = [
        Point::VersionBegun,
        Point::VersionPacked,
        Point::VersionRecorded,
        Point::VersionFreed,
        Point::VersionDurable,
    ];
    for (point, seed) in points.into_iter().zip(1..) {
        eprintln!("-- {}", point.name());
        let mount = Mount::new("on");
        fs::create_dir(mount.path("run")).unwrap();
        let bytes = npy(seed, 200_000);
        dies(&mount, point, || fs::write(mount.path("run/model.npy"), &bytes).unwrap());
        let versions = mount.path("run/.snapshots");
        eventually("the version is there", || versions.join("000001").is_dir());
        assert_bytes(&versions.join("000001/model.npy"), &bytes);
        assert_bytes(&mount.path("run/model.npy"), &bytes);
        mount.settle();
        assert!(!versions.join("000002").exists(), "it was made twice");
        mount.no_faults();
    }
}

#[test]
fn retention_removes_nothing_before_the_newer_version_is_durable() {
    for point in [Point::VersionPacked, Point::VersionRecorded, Point::VersionDurable] {
        eprintln!("-- {}", point.name());
        let mount = Mount::with(&["settle=0s", "hot_cache=0", "max_to_keep=1"]);
        let run = mount.path("run");
        fs::create_dir(&run).unwrap();
        fs::write(run.join("model.npy"), npy(1, 200_000)).unwrap();
        let versions = run.join(".snapshots");
        eventually("the first version is there", || versions.join("000001").is_dir());
        mount.settle();
        assert!(mount.unmount().status.success());
        let done = mount.mount_to_fail(&format!("abort@{}", point.name()));
        assert!(done.status.success(), "{}", said(&done));
        let pid = mount.pid();
        fs::write(run.join("model.npy"), npy(2, 200_000)).unwrap();
        eventually("the daemon aborts", || !is_running(pid));
        let log = ckptfs(&["log", "--json", mount.store().to_str().unwrap()]);
        let log: serde_json::Value = serde_json::from_slice(&log.stdout).unwrap();
        let found = log["versions"].as_array().unwrap();
        assert!(found.iter().any(|version| version["number"] == 1), "{log}");
        mount.mount();
        eventually("the second one is there", || versions.join("000002").is_dir());
        assert_bytes(&versions.join("000002/model.npy"), &npy(2, 200_000));
        // The next version asks again where the kill came between.
        fs::write(run.join("model.npy"), npy(3, 200_000)).unwrap();
        eventually("the policy acts", || {
            versions.join("000003").is_dir() && !versions.join("000001").exists()
        });
    }
}

#[test]
fn after_a_failed_fsync_reads_go_on_writing_stops_and_the_next_mount_has_everything() {
    let mount = Mount::new("on");
    fs::write(mount.path("sealed"), noise(200_000, 1)).unwrap();
    mount.all_sealed();
    assert!(mount.unmount().status.success());
    let done = mount.mount_to_fail("eio@fsync:hot");
    assert!(done.status.success(), "{}", said(&done));
    let mut file = File::create(mount.path("new")).unwrap();
    file.write_all(b"answered").unwrap();
    assert_eq!(file.sync_all().unwrap_err().raw_os_error(), Some(libc::EIO));
    drop(file);
    let refused = File::create(mount.path("later")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS));
    assert_bytes(&mount.path("sealed"), &noise(200_000, 1));
    assert_bytes(&mount.path("new"), b"answered");
    let health = mount.status()["health"].as_str().unwrap().to_owned();
    assert!(health.contains("fsync") && health.contains("hot"), "{health}");
    mount.kill();
    mount.mount();
    assert_bytes(&mount.path("new"), b"answered");
    assert_bytes(&mount.path("sealed"), &noise(200_000, 1));
    fs::write(mount.path("later"), b"writable again").unwrap();
    mount.no_faults();
}

/// With passthrough the kernel itself syncs each write, and the daemon only the names, when the file is opened.
#[test]
fn opens_and_writes_of_synchronous_files_fail_where_their_sync_does() {
    for (flag, fails) in [(0, false), (libc::O_SYNC, true), (libc::O_DSYNC, true)] {
        for (passthrough, fault) in [("on", "eio@fdatasync:hot"), ("off", "eio@fdatasync:hot:2")] {
            let mount = Mount::new(passthrough);
            fs::write(mount.path("f"), b"before").unwrap();
            open_rw(&mount.path("f")).sync_all().unwrap();
            assert!(mount.unmount().status.success());
            let done = mount.mount_to_fail(fault);
            assert!(done.status.success(), "{}", said(&done));
            let open = File::options().write(true).custom_flags(flag).open(mount.path("f"));
            assert_eq!(open.is_err(), fails && passthrough == "on");
            let written = open.and_then(|mut file| file.write_all(b"synced"));
            assert_eq!(written.err().and_then(|error| error.raw_os_error()), fails.then_some(libc::EIO));
            mount.kill();
            mount.mount();
            mount.no_faults();
        }
    }
}

#[test]
fn a_fault_that_there_is_not_is_refused_with_those_that_there_are() {
    let mount = Mount::new("on");
    assert!(mount.unmount().status.success());
    let done = mount.mount_to_fail("abort@pack.renmed");
    let text = said(&done);
    assert!(
        !done.status.success() && text.contains("pack.renmed") && text.contains("pack.renamed"),
        "{text}"
    );
    mount.mount();
}
