//! A daemon that is killed: nothing answered is lost, and clients that go on writing keep their bytes.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use crate::common::*;

#[test]
fn a_client_that_survives_the_daemon_writes_on_and_is_sealed_only_when_it_closes() {
    for size in [1 << 20, 10] {
        let mount = Mount::new("on");
        let path = mount.path("model.pt");
        let bytes = noise(3 << 20, 1);
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes[..size]).unwrap();
        mount.kill();
        mount.mount();
        file.write_all(&bytes[size..2 << 20]).unwrap();
        assert_bytes(&path, &bytes[..2 << 20]);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(mount.number("/sealing/sealed_files"), 0, "sealed below a writer");
        file.write_all(&bytes[2 << 20..]).unwrap();
        drop(file);
        eventually("it is sealed", || mount.number("/sealing/sealed_files") == 1);
        assert_bytes(&path, &bytes);
        mount.no_faults();
    }
}

#[test]
fn a_small_settled_file_that_a_surviving_client_grows_is_sealed() {
    let mount = Mount::new("on");
    let path = mount.path("log");
    fs::write(&path, b"begin").unwrap();
    mount.settle();
    let mut file = File::options().append(true).open(&path).unwrap();
    mount.kill();
    mount.mount();
    mount.status();
    let bytes = noise(500_000, 2);
    file.write_all(&bytes).unwrap();
    drop(file);
    eventually("it is sealed", || mount.number("/sealing/sealed_files") == 1);
    assert_bytes(&path, &[b"begin", &bytes[..]].concat());
}

#[test]
fn a_file_that_a_surviving_client_holds_is_truncated_in_place() {
    let mount = Mount::new("on");
    let path = mount.path("f");
    let mut file = File::create(&path).unwrap();
    file.write_all(&noise(200_000, 3)).unwrap();
    mount.kill();
    mount.mount();
    drop(File::create(&path).unwrap());
    file.write_all_at(b"from before", 0).unwrap();
    assert_bytes(&path, b"from before");
}

#[test]
fn everything_answered_is_there_after_a_kill() {
    both(|mount| {
        let at = |name: &str| mount.path(name);
        let big = noise(300_000, 4);
        fs::write(at("sealed"), &big).unwrap();
        mount.all_sealed();
        fs::write(at("hot"), b"hot bytes").unwrap();
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/b/tmp"), b"renamed").unwrap();
        fs::write(at("a/old"), b"replaced").unwrap();
        fs::rename(at("a/b/tmp"), at("a/old")).unwrap();
        fs::hard_link(at("hot"), at("a/link")).unwrap();
        symlink("a/b", at("latest")).unwrap();
        fs::set_permissions(at("hot"), fs::Permissions::from_mode(0o2711)).unwrap();
        fs::write(at("gone"), b"x").unwrap();
        fs::remove_file(at("gone")).unwrap();
        let open = File::create(at("open")).unwrap();
        open.write_all_at(b"in the page cache", 0).unwrap();
        for round in 0..3 {
            mount.kill();
            mount.mount();
            assert_bytes(&at("sealed"), &big);
            assert_bytes(&at("hot"), b"hot bytes");
            assert_bytes(&at("a/link"), b"hot bytes");
            assert_bytes(&at("a/old"), b"renamed");
            assert_bytes(&at("open"), b"in the page cache");
            let meta = fs::metadata(at("hot")).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o2711, 2));
            assert_eq!(fs::read_link(at("latest")).unwrap().to_str().unwrap(), "a/b");
            assert_eq!(fs::read_dir(at("a/b")).unwrap().count(), 0);
            assert_eq!(fs::metadata(at("a")).unwrap().nlink(), 3);
            let mut names: Vec<_> =
                fs::read_dir(mount.root()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            assert_eq!(names, ["a", "hot", "latest", "open", "sealed"], "round {round}");
        }
        drop(open);
        mount.settle();
    });
}

#[test]
fn a_replaced_or_unlinked_open_file_leaves_nothing_behind_after_a_kill() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, noise(100_000, 5)).unwrap();
        let held = File::open(&path).unwrap();
        fs::write(mount.path("new"), b"new").unwrap();
        fs::rename(mount.path("new"), &path).unwrap();
        fs::write(mount.path("g"), noise(100_000, 6)).unwrap();
        let other = open_rw(&mount.path("g"));
        fs::remove_file(mount.path("g")).unwrap();
        mount.kill();
        drop((held, other));
        mount.mount();
        assert_bytes(&path, b"new");
        eventually("one hot file is left", || mount.number("/hot_files") == 1);
        let shards = || (0..256).map(|n| mount.store().join(format!("hot/{n:02x}")));
        let files = || shards().flat_map(|shard| fs::read_dir(shard).unwrap()).count();
        eventually("one hot file is left in the folder", || files() == 1);
    });
}

#[test]
fn a_writer_that_is_killed_leaves_what_it_had_written() {
    both(|mount| {
        let path = mount.path("half");
        let script = "exec >\"$0\"; printf half; kill -9 $$; printf more";
        let done = Command::new("sh").args(["-c", script]).arg(&path).status().unwrap();
        assert_eq!(done.signal(), Some(libc::SIGKILL));
        assert_bytes(&path, b"half");
        mount.remount();
        assert_bytes(&path, b"half");
    });
}
