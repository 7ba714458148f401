//! The bounds of a mount: many writers, many open files, very large and very long, and what is said where there is no more.
//!
//! What takes longer than some seconds is ignored by default; `scripts/test.sh --all` runs it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Mode, OFlags, XattrFlags, getxattr, listxattr, mkdirat, openat, setxattr, statat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::common::*;

/// A mount that makes versions when told.
fn by_hand(options: &[&str]) -> Mount {
    Mount::with(&[&["settle=1h", "hot_cache=0"], options].concat())
}

#[track_caller]
fn snapshot(dir: &Path, tag: &str) {
    fs::create_dir(dir.join(".snapshots").join(tag)).unwrap();
}

/// The daemon's memory in KiB: now (`VmRSS`), or at most (`VmHWM`).
fn memory_kib(mount: &Mount, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(what)).unwrap().to_owned();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn sixty_four_writers_at_once_lose_nothing() {
    both(|mount| {
        let bytes = |n: u64| noise(1 << 20, n);
        std::thread::scope(|scope| {
            for n in 0..64 {
                scope.spawn(move || {
                    let (tmp, name) = (mount.path(&format!("{n}.tmp")), mount.path(&format!("{n}.bin")));
                    for round in 0..3 {
                        let mut file = File::create(&tmp).unwrap();
                        bytes(n + 64 * round)
                            .chunks(100_000)
                            .for_each(|piece| file.write_all(piece).unwrap());
                        file.sync_all().unwrap();
                        fs::rename(&tmp, &name).unwrap();
                    }
                });
            }
        });
        mount.remount();
        (0..64).for_each(|n| assert_bytes(&mount.path(&format!("{n}.bin")), &bytes(n + 128)));
    });
}

/// Lets this process open as many files as its hard limit allows.
fn raise_own_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    limit.maximum.unwrap_or(u64::MAX)
}

#[test]
fn ten_thousand_files_are_open_at_once() {
    let most = raise_own_limit();
    assert!(
        most > 11_000,
        "this test opens 10,000 files; the hard limit is {most}: raise it (ulimit -Hn 20000)"
    );
    let mount = by_hand(&[]);
    fs::create_dir(mount.path("many")).unwrap();
    let open: Vec<File> = (0..10_000)
        .map(|n| {
            File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .open(mount.path(&format!("many/{n}")))
                .unwrap()
        })
        .collect();
    for (n, file) in open.iter().enumerate() {
        file.write_all_at(&n.to_le_bytes(), 0).unwrap();
    }
    for (n, file) in open.iter().enumerate().step_by(97) {
        assert_seen(file, &n.to_le_bytes());
    }
    assert_eq!(mount.status()["health"], "ok");
    drop(open);
    mount.remount();
    (0..10_000_usize)
        .step_by(97)
        .for_each(|n| assert_bytes(&mount.path(&format!("many/{n}")), &n.to_le_bytes()));
    mount.no_faults();
}

#[test]
fn too_many_open_files_are_refused_with_one_line_and_the_daemon_goes_on() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let few = |args: &[&str]| {
        Command::new("prlimit")
            .args(["--nofile=400:400", env!("CARGO_BIN_EXE_ckptfs")])
            .args(args)
            .output()
            .unwrap()
    };
    let mount = Mount::at(dir, &["settle=0s", "hot_cache=0"], &few);
    let mut open = Vec::new();
    let refused = loop {
        match File::create(mount.path(&open.len().to_string())) {
            Ok(file) => open.push(file),
            Err(error) => break error,
        }
        assert!(open.len() < 400);
    };
    assert!(open.len() > 200, "only {} files", open.len());
    assert_eq!(refused.raw_os_error(), Some(libc::ENFILE));
    for _ in 0..100 {
        assert_eq!(File::create(mount.path("more")).unwrap_err().raw_os_error(), Some(libc::ENFILE));
        assert_eq!(File::open(mount.path("0")).unwrap_err().raw_os_error(), Some(libc::ENFILE));
    }
    // What is open works, names change, and what was closed is sealed, all at the limit.
    let closed = open.split_off(open.len() - 20);
    for (n, file) in closed.iter().enumerate() {
        file.write_all_at(&noise(300_000, n as u64), 0).unwrap();
        file.sync_all().unwrap();
    }
    drop(closed);
    let again: Vec<_> = (0..20).map_while(|n| File::create(mount.path(&format!("again-{n}"))).ok()).collect();
    assert!(again.len() >= 10, "{}", again.len());
    fs::rename(mount.path("0"), mount.path("moved")).unwrap();
    eventually("what was closed is sealed", || mount.number("/sealing/sealed_files") >= 20);
    assert_eq!(mount.status()["health"], "ok");
    drop((open, again));
    eventually("files are opened again", || File::create(mount.path("later")).is_ok());
    let log = fs::read_to_string(mount.store().join("ckptfs.log")).unwrap();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(lines.len() == 1 && lines[0].contains("ulimit -Hn"), "{lines:#?}");
    mount.remount();
    assert_eq!(mount.status()["health"], "ok");
}

#[test]
fn a_daemon_without_one_free_descriptor_fails_what_needs_one_and_goes_on_afterwards() {
    let mount = by_hand(&[]);
    let (path, pid) = (mount.path("f"), mount.pid().to_string());
    fs::write(&path, b"before").unwrap();
    let limit = |bound: &str| {
        let bound = format!("--nofile={bound}:");
        assert!(Command::new("prlimit").args(["--pid", &pid, &bound]).status().unwrap().success());
    };
    // Attributes of 64 KiB fill one segment of the journal after the other; the next one cannot be put in its place.
    let fill = || {
        (0..200_u64).find_map(|n| setxattr(&path, "user.a", &noise(64 << 10, n), XattrFlags::empty()).err())
    };
    limit("1");
    let refused = fill();
    assert!(matches!(refused, Some(rustix::io::Errno::MFILE | rustix::io::Errno::NFILE)), "{refused:?}");
    assert_eq!(File::create(mount.path("more")).unwrap_err().raw_os_error(), Some(libc::ENFILE));
    // As long as names and the catalog wait at most before they are carried down.
    std::thread::sleep(Duration::from_secs(7));
    limit("4096");
    assert_eq!(fill(), None);
    fs::write(mount.path("more"), b"after").unwrap();
    open_rw(&mount.path("more")).sync_all().unwrap();
    assert_eq!(mount.status()["health"], "ok");
    mount.remount();
    assert_bytes(&path, b"before");
    assert_bytes(&mount.path("more"), b"after");
    let mut value = vec![0; 64 << 10];
    assert_eq!(getxattr(&path, "user.a", &mut value[..]).unwrap(), value.len());
    same(&value, &noise(64 << 10, 199));
}

#[test]
fn a_tebibyte_of_hole_costs_neither_time_nor_memory() {
    const SIZE: u64 = 1 << 40;
    let mount = Mount::new("on");
    let (run, begun) = (mount.path("run"), Instant::now());
    fs::create_dir(&run).unwrap();
    let path = run.join("sparse.bin");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(&noise(1 << 20, 1), SIZE - (1 << 20)).unwrap();
    file.write_all_at(&noise(4096, 2), SIZE / 2 + 512).unwrap();
    file.sync_all().unwrap();
    drop(file);
    mount.all_sealed();
    snapshot(&run, "sparse");
    mount.remount();
    for at in [path.clone(), run.join(".snapshots/sparse/sparse.bin")] {
        let file = File::open(&at).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!(meta.len(), SIZE);
        assert!(meta.blocks() * 512 < 4 << 20, "{} blocks", meta.blocks());
        let read = |from: u64, len: usize| {
            let mut bytes = vec![1; len];
            file.read_exact_at(&mut bytes, from).unwrap();
            bytes
        };
        same(&read(SIZE - (1 << 20), 1 << 20), &noise(1 << 20, 1));
        same(&read(SIZE / 2 + 512, 4096), &noise(4096, 2));
        for hole in [0, SIZE / 4, SIZE / 2 - 8192, SIZE - (3 << 20)] {
            same(&read(hole, 8192), &[0; 8192]);
        }
        let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
        assert!((SIZE / 2 - (64 << 20)..=SIZE / 2 + 512).contains(&data), "{data}");
    }
    // Written again: brought back as it was, holes as holes.
    let file = open_rw(&path);
    file.write_all_at(b"x", 5).unwrap();
    assert!(file.metadata().unwrap().blocks() * 512 < 8 << 20);
    drop(file);
    assert!(mount.number("/stored_bytes") < 4 << 20, "{}", mount.status());
    assert!(memory_kib(&mount, "VmHWM") < 600 << 10, "{} KiB", memory_kib(&mount, "VmHWM"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    mount.no_faults();
}

#[test]
fn the_longest_names_and_paths_are_kept_through_versions() {
    let mount = by_hand(&[]);
    let run = mount.path("run");
    let name = "n".repeat(255);
    // The longest path that a system call takes is 4095 bytes.
    let mut deep = run.clone();
    while text(&deep).len() + 256 + 12 < 3600 {
        deep.push(&name);
    }
    fs::create_dir_all(&deep).unwrap();
    let left = 4095 - text(&deep).len() - 1;
    let last = "f".repeat(left.min(255));
    fs::write(deep.join(&last), b"far down").unwrap();
    let too_long = fs::write(run.join("n".repeat(256)), b"").unwrap_err();
    assert_eq!(too_long.raw_os_error(), Some(libc::ENAMETOOLONG));
    snapshot(&run, "deep");
    let below = deep.strip_prefix(&run).unwrap().join(&last);
    mount.remount();
    assert_bytes(&deep.join(&last), b"far down");
    assert_bytes(&run.join(".snapshots/deep").join(below), b"far down");
    mount.no_faults();
}

/// The directory `depth` levels of `d` below `from`.
fn down(from: &Path, depth: usize) -> OwnedFd {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let mut at: OwnedFd = File::open(from).unwrap().into();
    for _ in 0..depth {
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    at
}

#[test]
fn a_thousand_levels_are_walked_by_versions_and_removed() {
    let mount = by_hand(&[]);
    let run = mount.path("run");
    fs::create_dir(&run).unwrap();
    let mut at: OwnedFd = File::open(&run).unwrap().into();
    for _ in 0..1000 {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::CREATE | OFlags::WRONLY;
    File::from(openat(&at, "bottom", flags, Mode::RUSR | Mode::WUSR).unwrap()).write_all(b"deep").unwrap();
    drop(at);
    snapshot(&run, "deep");
    mount.remount();
    for from in [run.clone(), run.join(".snapshots/deep")] {
        let bottom = down(&from, 1000);
        let mut bytes = Vec::new();
        File::from(openat(&bottom, "bottom", OFlags::RDONLY, Mode::empty()).unwrap())
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, b"deep");
        assert_eq!(statat(&bottom, "bottom", AtFlags::empty()).unwrap().st_size, 4);
    }
    assert!(Command::new("rm").args(["-rf", text(&run)]).status().unwrap().success());
    let done = ckptfs(&["gc", text(&mount.root())]);
    assert!(done.status.success(), "{}", said(&done));
    mount.no_faults();
}

#[test]
fn an_empty_file_and_sixty_four_kibibytes_of_attributes_are_kept() {
    let mount = by_hand(&[]);
    let run = mount.path("run");
    fs::create_dir(&run).unwrap();
    let path = run.join("empty");
    fs::write(&path, b"").unwrap();
    let large = noise(64 << 10, 1);
    let long = format!("user.{}", "x".repeat(250));
    setxattr(&path, "user.large", &large, XattrFlags::empty()).unwrap();
    setxattr(&path, long.as_str(), b"v", XattrFlags::empty()).unwrap();
    assert!(setxattr(&path, "user.more", &noise((64 << 10) + 1, 1), XattrFlags::empty()).is_err());
    assert!(setxattr(&path, format!("{long}x").as_str(), b"v", XattrFlags::empty()).is_err());
    setxattr(&path, "user.esc\x1b[2J\n", b"odd", XattrFlags::empty()).unwrap();
    snapshot(&run, "attributes");
    mount.remount();
    for at in [path, run.join(".snapshots/attributes/empty")] {
        let mut value = vec![0; 64 << 10];
        assert_eq!(getxattr(&at, "user.large", &mut value[..]).unwrap(), value.len());
        same(&value, &large);
        let mut names = vec![0; 4096];
        let len = listxattr(&at, &mut names[..]).unwrap();
        let names: Vec<_> = names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
        assert_eq!(names.len(), 3, "{names:?}");
        assert_eq!(fs::metadata(&at).unwrap().size(), 0);
    }
    // More names than one list can hold are refused or listed, never cut.
    let many = run.join("many");
    fs::write(&many, b"x").unwrap();
    let set = (0..400).take_while(|n| {
        setxattr(&many, format!("user.{n:0>249}").as_str(), b"v", XattrFlags::empty()).is_ok()
    });
    let set = set.count();
    let mut names = vec![0; 64 << 10];
    match listxattr(&many, &mut names[..]) {
        Ok(len) => assert_eq!(len, set * 255),
        Err(error) => assert_eq!(error, rustix::io::Errno::TOOBIG),
    }
    snapshot(&run, "many");
    mount.no_faults();
}

#[test]
#[ignore = "makes 100,000 files: about a minute"]
fn a_directory_of_a_hundred_thousand_entries_is_listed_versioned_and_removed() {
    const ENTRIES: usize = 100_000;
    let mount = by_hand(&[]);
    let run = mount.path("run");
    fs::create_dir(&run).unwrap();
    (0..ENTRIES).for_each(|n| drop(File::create(run.join(format!("entry-{n}"))).unwrap()));
    let count = |dir: &Path| {
        fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect::<std::collections::HashSet<_>>()
            .len()
    };
    assert_eq!(count(&run), ENTRIES);
    fs::write(run.join("entry-77"), b"not empty").unwrap();
    let begun = Instant::now();
    snapshot(&run, "many");
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
    mount.remount();
    let begun = Instant::now();
    assert_eq!(count(&run.join(".snapshots/many")), ENTRIES);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_bytes(&run.join(".snapshots/many/entry-77"), b"not empty");
    assert!(memory_kib(&mount, "VmHWM") < 1 << 20, "{} KiB", memory_kib(&mount, "VmHWM"));
    assert!(Command::new("rm").args(["-rf", text(&run)]).status().unwrap().success());
    assert_eq!(count(&mount.root()), 0);
    mount.no_faults();
}

/// A small disk in memory, unmounted at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(mib: u32) -> SmallDisk {
        let disk = SmallDisk(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        let size = std::ffi::CString::new(format!("size={mib}m")).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", disk.0.path(), "tmpfs", flags, Some(size.as_c_str())).unwrap();
        fs::set_permissions(disk.0.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        disk
    }

    /// Takes all but so many bytes.
    fn fill(&self, left: u64) {
        let space = rustix::fs::statvfs(self.0.path()).unwrap();
        let file = File::create(self.0.path().join("filler")).unwrap();
        rustix::fs::fallocate(
            &file,
            rustix::fs::FallocateFlags::empty(),
            0,
            space.f_bavail * space.f_frsize - left,
        )
        .unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone = rustix::mount::unmount(self.0.path(), rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn below_the_last_eight_mebibytes_opens_for_writing_fail_and_deleting_and_a_new_mount_work() {
    let disk = SmallDisk::new(160);
    let dir = tempfile::tempdir_in(disk.0.path()).unwrap();
    let mount = Mount::at(dir, &["settle=1h"], &ckptfs);
    let bytes = noise(3 << 20, 1);
    for name in ["a", "b"] {
        fs::write(mount.path(name), &bytes).unwrap();
        open_rw(&mount.path(name)).sync_all().unwrap();
    }
    disk.fill(7 << 20);
    let begun = Instant::now();
    let refused = [
        File::create(mount.path("c")).map(drop),
        File::options().write(true).open(mount.path("a")).map(drop),
    ];
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    for done in refused {
        assert_eq!(done.unwrap_err().raw_os_error(), Some(libc::ENOSPC));
    }
    assert_bytes(&mount.path("a"), &bytes);
    fs::remove_file(mount.path("a")).unwrap();
    // To the last byte: the store has its own reserve.
    disk.fill(0);
    mount.kill();
    mount.mount();
    assert_bytes(&mount.path("b"), &bytes);
    assert!(!mount.path("a").exists() && !mount.path("c").exists());
    fs::remove_file(mount.path("b")).unwrap();
    fs::remove_file(disk.0.path().join("filler")).unwrap();
    fs::write(mount.path("c"), &bytes).unwrap();
    assert_bytes(&mount.path("c"), &bytes);
    assert_eq!(mount.status()["health"], "ok");
}
