//! Versions seen through the mount: `.snapshots` and what is in it, with the tools that people use on it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{XattrFlags, setxattr};

use crate::common::*;

/// Mounts that make versions when told, not by themselves.
const BY_HAND: &[&str] = &["settle=1h", "hot_cache=0"];

fn mounted() -> Mount {
    Mount::with(BY_HAND)
}

/// Makes a version of `dir` now.
#[track_caller]
fn snapshot(dir: &Path, tag: &str) {
    fs::create_dir(dir.join(".snapshots").join(tag)).unwrap();
}

#[track_caller]
fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", said(&done));
    String::from_utf8(done.stdout).unwrap()
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn errno<T: std::fmt::Debug>(done: std::io::Result<T>) -> i32 {
    done.unwrap_err().raw_os_error().unwrap()
}

/// A run with everything in it that a tool may trip over.
fn rich(run: &Path) {
    fs::create_dir(run).unwrap();
    fs::create_dir_all(run.join("deep/er/empty")).unwrap();
    fs::write(run.join("weights.bin"), noise(3 << 20, 1)).unwrap();
    fs::write(run.join("deep/notes.txt"), "first").unwrap();
    fs::write(run.join("none"), "").unwrap();
    fs::hard_link(run.join("weights.bin"), run.join("deep/er/same.bin")).unwrap();
    symlink("weights.bin", run.join("link")).unwrap();
    symlink("/nowhere", run.join("dangling")).unwrap();
    let sparse = File::create(run.join("sparse")).unwrap();
    sparse.write_all_at(&noise(1 << 20, 2), 4 << 20).unwrap();
    sparse.set_len(16 << 20).unwrap();
    setxattr(run.join("weights.bin"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    chown(run.join("deep/notes.txt"), Some(12), Some(34)).unwrap();
    lchown(run.join("link"), Some(12), Some(34)).unwrap();
    fs::set_permissions(run.join("deep/notes.txt"), fs::Permissions::from_mode(0o664)).unwrap();
    // Long ago: rsync sets no nanoseconds where the second is right already.
    let touch = ["-exec", "touch", "-h", "-d", "2020-02-02 02:02:02.123456789", "{}", "+"];
    self::run("find", &[&[text(run)], &touch[..]].concat());
}

#[test]
fn versions_are_found_by_number_link_tag_time_and_step_and_hold_the_old_bytes() {
    let mount = mounted();
    let run = mount.path("run");
    fs::create_dir(&run).unwrap();
    let at = |name: &str| run.join(".snapshots").join(name);
    for (n, tag) in [(1, "one"), (2, "two")] {
        fs::create_dir_all(run.join(format!("checkpoint-{n}"))).unwrap();
        fs::write(run.join("f.bin"), noise(2 << 20, n)).unwrap();
        snapshot(&run, tag);
        assert_eq!(fs::read_link(at("latest")).unwrap(), Path::new(&format!("{n:06}")), "at once");
        assert_bytes(&at("latest/f.bin"), &noise(2 << 20, n));
    }
    fs::write(run.join("f.bin"), "gone").unwrap();
    let listed = [".files", ".info", ".runs", "000001", "000002", "by-step", "by-tag", "by-time", "latest"];
    let mut wanted: Vec<String> =
        listed.iter().chain(&["newest", "one", "two"]).map(|n| (*n).into()).collect();
    wanted.sort();
    assert_eq!(names(&at("")), wanted);
    for (name, seed) in [("000001", 1), ("one", 1), ("by-tag/one", 1), ("000002", 2), ("newest", 2)] {
        assert_bytes(&at(name).join("f.bin"), &noise(2 << 20, seed));
    }
    assert_eq!(names(&at("000001")), ["checkpoint-1", "f.bin"]);
    assert_eq!(names(&at("000002")), ["checkpoint-1", "checkpoint-2", "f.bin"]);
    for entry in fs::read_dir(at("by-time")).unwrap() {
        let path = entry.unwrap().path();
        assert!(fs::read_link(&path).unwrap().starts_with(".."));
        assert!(path.join("f.bin").exists());
        let by_at = at("at").join(path.file_name().unwrap());
        assert_eq!(fs::read_link(by_at).unwrap(), fs::read_link(&path).unwrap());
    }
    assert_eq!(fs::read_link(at("at/2999-12-31")).unwrap(), Path::new("../000002"));
    assert_eq!(errno(fs::read_link(at("at/1999-12-31"))), libc::ENOENT);
    for missing in ["000003", "1", "three", "by-tag/three", "at/soon", "000001/none", ".info/000003.json"] {
        assert_eq!(errno(fs::symlink_metadata(at(missing))), libc::ENOENT, "{missing}");
    }
    let info: serde_json::Value =
        serde_json::from_slice(&fs::read(at(".info/000002.json")).unwrap()).unwrap();
    assert_eq!((&info["number"], &info["trigger"]), (&2.into(), &"snapshot".into()));
    assert!(info["keep"].as_array().unwrap().contains(&"tag".into()), "{info}");
    assert_eq!(
        fs::metadata(at(".info/000002.json")).unwrap().len(),
        fs::read(at(".info/000002.json")).unwrap().len() as u64
    );
    mount.no_faults();
}

/// Attributes that a copy of a version keeps.
fn kept(path: &Path) -> (u32, u32, u32, i64, i64, u64, u64) {
    let m = fs::symlink_metadata(path).unwrap();
    let (len, links) = if m.is_dir() { (0, 0) } else { (m.len(), m.nlink()) };
    (m.mode(), m.uid(), m.gid(), m.mtime(), m.mtime_nsec(), len, links)
}

/// Every path below `top`, relative to it.
fn walk(top: &Path) -> Vec<PathBuf> {
    let (mut found, mut todo) = (vec![PathBuf::new()], vec![PathBuf::new()]);
    while let Some(dir) = todo.pop() {
        for name in names(&top.join(&dir)) {
            let path = dir.join(name);
            if fs::symlink_metadata(top.join(&path)).unwrap().is_dir() {
                todo.push(path.clone());
            }
            found.push(path);
        }
    }
    found.sort();
    found
}

#[track_caller]
fn same_tree(a: &Path, b: &Path) {
    assert_eq!(walk(a), walk(b));
    for path in walk(a) {
        assert_eq!(kept(&a.join(&path)), kept(&b.join(&path)), "{path:?}");
        let kind = fs::symlink_metadata(a.join(&path)).unwrap().file_type();
        if kind.is_file() {
            same(&fs::read(a.join(&path)).unwrap(), &fs::read(b.join(&path)).unwrap());
        } else if kind.is_symlink() {
            assert_eq!(fs::read_link(a.join(&path)).unwrap(), fs::read_link(b.join(&path)).unwrap());
        }
    }
}

#[test]
fn cp_tar_rsync_diff_and_find_work_on_a_version_and_keep_all_of_it() {
    let mount = mounted();
    let (live, out) = (mount.path("run"), tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
    rich(&live);
    let to = |name: &str| out.path().join(name);
    // As it was, but for the write bits that no version has.
    run("cp", &["-a", text(&live), text(&to("was"))]);
    run("chmod", &["-R", "a-w", text(&to("was"))]);
    snapshot(&live, "v");
    run("sh", &["-c", &format!("cd {} && rm -rf * && echo new > weights.bin", text(&live))]);
    let version = live.join(".snapshots/000001");
    same_tree(&version, &to("was"));
    run("cp", &["-a", text(&version), text(&to("cp"))]);
    same_tree(&to("cp"), &to("was"));
    fs::create_dir(to("tar")).unwrap();
    let tar =
        format!("tar --format=posix -C {} -cf - . | tar -C {} -xpf -", text(&version), text(&to("tar")));
    run("sh", &["-c", &tar]);
    same_tree(&to("tar"), &to("was"));
    run("rsync", &["-aHX", &format!("{}/", text(&version)), text(&to("rsync"))]);
    same_tree(&to("rsync"), &to("was"));
    run("diff", &["-r", "--no-dereference", text(&version), text(&to("was"))]);
    let found = run("find", &[text(&version)]);
    assert_eq!(found.lines().count(), walk(&to("was")).len());
    let other = Command::new("diff").args(["-rq", text(&version), text(&live)]).output().unwrap();
    assert_eq!(other.status.code(), Some(1), "a version is not the live directory");

    // Back into the live tree, by the kernel's own copy.
    fs::copy(version.join("weights.bin"), live.join("weights.bin")).unwrap();
    assert_bytes(&live.join("weights.bin"), &noise(3 << 20, 1));
    let mut note = [0; 16];
    let path = version.join("deep/er/same.bin");
    assert_eq!(rustix::fs::getxattr(&path, "user.note", &mut note).unwrap(), 4);
    assert_eq!(rustix::fs::listxattr(&path, &mut [0_u8; 64]).unwrap(), "user.note\0".len());
    assert_eq!(rustix::fs::getxattr(&path, "user.other", &mut note), Err(rustix::io::Errno::NODATA));
    mount.no_faults();
}

#[test]
fn recursive_tools_over_the_live_tree_see_nothing_of_history_and_a_removed_run_stays_reachable() {
    let mount = mounted();
    let live = mount.path("exp/run");
    fs::create_dir(mount.path("exp")).unwrap();
    rich(&live);
    let before = walk(&live);
    snapshot(&live, "v");
    assert!(fs::metadata(live.join(".snapshots")).unwrap().is_dir());
    assert!(fs::metadata(live.join("deep/.snapshots/000001/er")).unwrap().is_dir());
    assert_eq!(walk(&live), before);
    assert!(!run("find", &[text(&live)]).contains("snapshots"));
    run("du", &["-s", text(&live)]);
    run("chown", &["-R", "77", text(&live)]);
    assert_eq!(fs::metadata(live.join(".snapshots/000001/none")).unwrap().uid(), 0);
    run("rm", &["-rf", text(&live)]);
    assert!(!live.exists() && !live.join(".snapshots").exists());
    for reach in ["exp/.snapshots/.runs/run", ".snapshots/.runs/exp/run"] {
        let history = mount.path(reach);
        assert_bytes(&history.join("latest/weights.bin"), &noise(3 << 20, 1));
        assert_eq!(errno(fs::create_dir(history.join("x"))), libc::EROFS, "there is nothing to make it of");
    }
    assert_eq!(
        names(&mount.path(".snapshots")),
        [".files", ".info", ".runs", "by-step", "by-tag", "by-time"]
    );
    assert_eq!(names(&mount.path(".snapshots/.runs")), ["exp"]);
    assert_eq!(names(&mount.path(".snapshots/.runs/exp")), ["run"]);
    fs::create_dir(&live).unwrap();
    assert_bytes(&live.join(".snapshots/v/weights.bin"), &noise(3 << 20, 1));
    snapshot(&live, "again");
    assert_eq!(fs::read_link(live.join(".snapshots/newest")).unwrap(), Path::new("000002"));
    mount.no_faults();
}

#[test]
fn a_file_of_a_version_is_mapped_and_its_holes_are_found() {
    let mount = mounted();
    rich(&mount.path("run"));
    snapshot(&mount.path("run"), "v");
    let version = mount.path("run/.snapshots/000001");
    for _ in 0..2 {
        let file = File::open(version.join("weights.bin")).unwrap();
        same(&Map::new(&file, 3 << 20, false).get(1 << 20, 2 << 20), &noise(3 << 20, 1)[1 << 20..]);
    }
    let file = File::open(version.join("sparse")).unwrap();
    let at = |from| rustix::fs::seek(&file, from).unwrap();
    assert_eq!(at(rustix::fs::SeekFrom::Data(0)), 4 << 20);
    assert_eq!(at(rustix::fs::SeekFrom::Hole(4 << 20)), 5 << 20);
    assert!(fs::metadata(version.join("sparse")).unwrap().blocks() < 3 * 2048);
    file.sync_all().unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert!(rustix::fs::statfs(&version).unwrap().f_blocks > 0);
}

#[test]
fn inode_numbers_survive_a_remount_and_equal_no_live_one() {
    let mount = mounted();
    let live = mount.path("run");
    rich(&live);
    for tag in ["v", "w"] {
        fs::write(live.join("deep/notes.txt"), tag).unwrap();
        snapshot(&live, tag);
    }
    let numbers = |top: &Path| -> Vec<(PathBuf, u64)> {
        walk(top)
            .into_iter()
            .map(|p| (p.clone(), fs::symlink_metadata(top.join(&p)).unwrap().ino()))
            .collect()
    };
    let before = numbers(&live.join(".snapshots"));
    for (path, ino) in &before {
        // What a listing says, and what stat does.
        let full = live.join(".snapshots").join(path);
        if !fs::symlink_metadata(&full).unwrap().is_dir() {
            continue;
        }
        for entry in fs::read_dir(&full).unwrap() {
            let entry = std::os::unix::fs::DirEntryExt::ino(&entry.unwrap());
            assert!(before.iter().any(|(_, other)| *other == entry), "{path:?}");
        }
        assert!(*ino >= 1 << 63);
        assert_eq!(before.iter().filter(|(_, other)| other == ino).count(), 1, "{path:?} is in one place");
    }
    let of = |path: &str| before.iter().find(|(p, _)| p == Path::new(path)).unwrap().1;
    assert_eq!(of("000001/weights.bin"), of("000001/deep/er/same.bin"), "a hard link");
    assert_ne!(of("000001/weights.bin"), of("000002/weights.bin"));
    assert!(numbers(&live).iter().all(|(_, ino)| *ino < 1 << 63));
    mount.remount();
    assert_eq!(numbers(&live.join(".snapshots")), before);
    mount.no_faults();
}

#[test]
fn what_is_open_stays_readable_and_what_is_removed_is_not_opened_again() {
    let mount = mounted();
    let live = mount.path("run");
    rich(&live);
    snapshot(&live, "v");
    let at = |name: &str| live.join(".snapshots").join(name);
    fs::remove_dir(at("v")).unwrap();
    let mut file = File::open(at("000001/weights.bin")).unwrap();
    let mut bytes = vec![0; 1 << 20];
    file.read_exact(&mut bytes).unwrap();
    assert_eq!(errno(fs::remove_dir(at("000001"))), libc::EBUSY);
    file.read_to_end(&mut bytes).unwrap();
    same(&bytes, &noise(3 << 20, 1));
    let dir =
        rustix::fs::open(at("000001/deep"), rustix::fs::OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
    drop(file);
    fs::remove_dir(at("000001")).unwrap();
    assert_eq!(errno(File::open(at("000001/weights.bin"))), libc::ENOENT);
    assert_eq!(errno(fs::read_link(at("latest"))), libc::ENOENT);
    // Also not by way of a directory that somebody still stands in.
    let open = |name| rustix::fs::openat(&dir, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
    assert_eq!(open("notes.txt").unwrap_err(), rustix::io::Errno::NOENT);
    assert_eq!(open(".").unwrap_err(), rustix::io::Errno::NOENT);
    mount.no_faults();
}

#[test]
fn who_could_not_read_it_then_cannot_read_it_now() {
    let mount = mounted();
    let (open, closed) = (mount.path("run"), mount.path("alice"));
    for dir in [&open, &closed, &closed.join("run"), &open.join("own"), &open.join("sub")] {
        fs::create_dir(dir).unwrap();
    }
    let write = |path: &Path, mode| {
        fs::write(path, noise(2 << 20, 3)).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write(&open.join("public"), 0o644);
    write(&open.join("secret"), 0o600);
    write(&open.join("own/inside"), 0o644);
    write(&closed.join("run/inside"), 0o644);
    fs::set_permissions(open.join("own"), fs::Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    snapshot(&closed.join("run"), "v");
    snapshot(&open, "v");
    // Opened up since: that does not count for then.
    fs::set_permissions(open.join("secret"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(open.join("own"), fs::Permissions::from_mode(0o755)).unwrap();
    let snapshots = open.join(".snapshots");
    let runs = mount.path(".snapshots/.runs");
    let refused = [
        snapshots.join("000001/secret"),
        snapshots.join("000001/own/inside"),
        snapshots.join(".files/secret/000001"),
        snapshots.join(".files/own/inside/000001"),
        open.join("own/.snapshots/000001/inside"),
        closed.join("run/.snapshots/000001/inside"),
        runs.join("alice/run/000001/inside"),
    ];
    let check = |refused: &[PathBuf]| {
        as_nobody(|| {
            assert_eq!(fs::read(snapshots.join("000001/public")).unwrap().len(), 2 << 20);
            assert_eq!(fs::read(snapshots.join(".files/public/000001")).unwrap().len(), 2 << 20);
            for path in refused {
                assert_eq!(errno(fs::read(path)), libc::EACCES, "{path:?}");
            }
            for action in [fs::create_dir(snapshots.join("x")), fs::remove_dir(snapshots.join("v"))] {
                assert_eq!(errno(action), libc::EACCES);
            }
        });
        refused.iter().for_each(|path| assert_eq!(fs::read(path).unwrap().len(), 2 << 20, "{path:?}"));
    };
    check(&refused);
    fs::remove_dir_all(&closed).unwrap();
    check(&[runs.join("alice/run/000001/inside")]);

    chown(open.join("sub"), Some(NOBODY), Some(NOBODY)).unwrap();
    as_nobody(|| snapshot(&open.join("sub"), "mine"));
    assert_eq!(fs::metadata(open.join("sub/.snapshots/mine")).unwrap().uid(), NOBODY);
    mount.no_faults();
}

#[test]
fn versions_are_made_tagged_untagged_and_removed_and_nothing_else_is() {
    let mount = mounted();
    let live = mount.path("run");
    rich(&live);
    let at = |name: &str| live.join(".snapshots").join(name);
    snapshot(&live, "first");
    assert!(fs::metadata(at("first")).unwrap().is_dir());
    fs::write(live.join("weights.bin"), noise(3 << 20, 9)).unwrap();
    snapshot(&live, "second");
    for refused in ["000007", "12", ".", "by-day\n"] {
        let done = fs::create_dir(at(refused));
        assert!([libc::EINVAL, libc::EEXIST].contains(&errno(done)), "{refused}");
    }
    assert_eq!(errno(fs::create_dir(at("best"))), libc::EINVAL);
    assert_eq!(errno(fs::create_dir(at("first"))), libc::EEXIST);
    assert_eq!(errno(fs::create_dir(at("latest"))), libc::EEXIST);

    fs::rename(at("000001"), at("paper")).unwrap();
    assert_bytes(&at("paper/weights.bin"), &noise(3 << 20, 1));
    assert_bytes(&at("000001/weights.bin"), &noise(3 << 20, 1));
    assert_eq!(fs::read_link(at("by-tag/paper")).unwrap(), Path::new("../000001"));
    assert_eq!(errno(fs::rename(at("000002"), at("77"))), libc::EINVAL);
    assert!([libc::EEXIST, libc::ENOTEMPTY].contains(&errno(fs::rename(at("000002"), at("paper")))));
    assert_eq!(errno(fs::rename(at("paper"), at("article"))), libc::EROFS);
    assert_eq!(errno(fs::rename(at("000002"), live.join("out"))), libc::EROFS);
    assert_eq!(errno(fs::rename(at("latest"), at("last"))), libc::EROFS);
    assert_eq!(errno(fs::rename(live.join("none"), at("x"))), libc::EROFS);

    assert_eq!(errno(fs::remove_dir(at("000002"))), libc::EBUSY, "it has a tag");
    fs::remove_dir(at("second")).unwrap();
    assert!(!at("second").exists() && at("000002").exists());
    fs::remove_dir(at("000002")).unwrap();
    assert!(!at("000002").exists());
    assert_eq!(fs::read_link(at("newest")).unwrap(), Path::new("000001"));
    for tag in ["first", "paper"] {
        fs::remove_dir(at(tag)).unwrap();
    }
    assert_eq!(errno(fs::remove_dir(at("000001"))), libc::EBUSY, "it is pinned");

    let inside = at("000001/weights.bin");
    assert_eq!(errno(fs::write(&inside, "x")), libc::EROFS);
    assert_eq!(errno(fs::write(at("file"), "x")), libc::EROFS);
    assert_eq!(errno(fs::write(at("000001/file"), "x")), libc::EROFS);
    assert_eq!(errno(fs::remove_file(&inside)), libc::EROFS);
    assert_eq!(errno(fs::remove_file(at("latest"))), libc::EROFS);
    assert_eq!(errno(fs::remove_dir(at("by-time"))), libc::EROFS);
    assert_eq!(errno(fs::remove_dir(at("000001/deep"))), libc::EROFS);
    assert_eq!(errno(fs::create_dir(at("000001/new"))), libc::EROFS);
    assert_eq!(errno(fs::create_dir(at(".runs/new"))), libc::EROFS);
    assert_eq!(errno(symlink("a", at("new"))), libc::EROFS);
    assert_eq!(errno(fs::hard_link(&inside, live.join("linked"))), libc::EROFS);
    assert_eq!(errno(fs::hard_link(live.join("none"), at("linked"))), libc::EROFS);
    assert_eq!(errno(fs::set_permissions(&inside, fs::Permissions::from_mode(0o777))), libc::EROFS);
    assert_eq!(errno(chown(at(""), Some(1), None)), libc::EROFS);
    let set = setxattr(&inside, "user.x", b"y", XattrFlags::empty());
    assert_eq!(set, Err(rustix::io::Errno::ROFS));
    assert_eq!(rustix::fs::removexattr(&inside, "user.note"), Err(rustix::io::Errno::ROFS));

    // A directory that is no run becomes one.
    snapshot(&live.join("deep/er"), "own");
    assert_eq!(names(&live.join("deep/er/.snapshots/own")), ["empty", "same.bin"]);
    mount.no_faults();
}

#[test]
fn the_name_itself_is_nobodys_to_take() {
    let mount = mounted();
    let at = |name: &str| mount.path(name);
    fs::create_dir(at("dir")).unwrap();
    fs::write(at("file"), "x").unwrap();
    let name = at("dir/.snapshots");
    assert_eq!(errno(fs::create_dir(&name)), libc::EEXIST);
    assert_eq!(errno(symlink("x", &name)), libc::EEXIST);
    assert_eq!(errno(fs::hard_link(at("file"), &name)), libc::EEXIST);
    assert_eq!(errno(File::create(&name)), libc::EISDIR);
    assert_eq!(errno(fs::remove_dir(&name)), libc::EPERM);
    assert_eq!(errno(fs::rename(&name, at("other"))), libc::EPERM);
    fs::create_dir(at("empty")).unwrap();
    assert_eq!(errno(fs::rename(at("empty"), &name)), libc::EPERM);
    assert!(!at("dir/.snapshots/.snapshots").exists());
    assert_eq!(names(&at("dir/.snapshots/.runs")), [""; 0]);
    assert_eq!(names(&at("dir")), [""; 0]);
    fs::remove_dir(at("dir")).unwrap();
    assert_eq!(errno(fs::metadata(&name)), libc::ENOENT);
    mount.no_faults();
}

#[test]
fn the_history_of_one_file_has_each_content_once() {
    let mount = mounted();
    let live = mount.path("run");
    // Too small for checkpoint content: of that, what is saved twice before a version is a run of its own below.
    fs::create_dir_all(live.join("sub")).unwrap();
    for (n, seed) in [1, 1, 2, 1].into_iter().enumerate() {
        fs::write(live.join("sub/f.dat"), noise(1 << 19, seed)).unwrap();
        snapshot(&live, &format!("v{n}"));
    }
    fs::remove_file(live.join("sub/f.dat")).unwrap();
    for dir in [live.join(".snapshots/.files/sub/f.dat"), live.join("sub/.snapshots/.files/f.dat")] {
        assert_eq!(names(&dir), ["000001", "000003"]);
        assert_bytes(&dir.join("000001"), &noise(1 << 19, 1));
        assert_bytes(&dir.join("000003"), &noise(1 << 19, 2));
        assert!(!dir.join("000002").exists());
    }
    mount.no_faults();
}

#[test]
fn a_large_directory_is_listed_whole_whatever_reads_it_and_from_any_place() {
    let mount = mounted();
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    let wanted: Vec<String> = (0..2500).map(|n| format!("file-{n:05}")).collect();
    wanted.iter().for_each(|name| drop(File::create(live.join(name)).unwrap()));
    snapshot(&live, "v");
    let version = live.join(".snapshots/000001");
    assert_eq!(names(&version), wanted);
    assert_eq!(run("ls", &["-l", text(&version)]).lines().count(), 2501);
    let mut dir = rustix::fs::Dir::read_from(File::open(&version).unwrap()).unwrap();
    let listed: Vec<_> = dir.by_ref().map(|entry| entry.unwrap()).collect();
    let (at, next) = (listed[1200].offset(), listed[1201].file_name().to_owned());
    dir.seek(at).unwrap();
    assert_eq!(dir.next().unwrap().unwrap().file_name(), &*next);
    dir.rewind();
    assert_eq!(dir.count(), listed.len());
}

#[test]
fn removing_the_virtual_directory_itself_removes_nothing_of_a_version() {
    let mount = mounted();
    let live = mount.path("run");
    rich(&live);
    snapshot(&live, "v");
    let before = walk(&live.join(".snapshots"));
    let done = Command::new("rm").arg("-rf").arg(live.join(".snapshots")).output().unwrap();
    assert!(!done.status.success());
    assert_eq!(walk(&live.join(".snapshots")), before);
    assert_bytes(&live.join(".snapshots/v/weights.bin"), &noise(3 << 20, 1));
    mount.no_faults();
}

#[test]
fn a_version_is_removed_right_after_it_was_read_and_numbers_are_not_used_again() {
    let mount = mounted();
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    for n in 1..=20 {
        fs::write(live.join("f"), format!("{n}")).unwrap();
        snapshot(&live, "v");
        let version = live.join(format!(".snapshots/{n:06}"));
        assert_eq!(fs::read_to_string(version.join("f")).unwrap(), format!("{n}"));
        assert_eq!(names(&version), ["f"]);
        fs::remove_dir(live.join(".snapshots/v")).unwrap();
        fs::remove_dir(&version).unwrap();
        assert_eq!(errno(fs::read(version.join("f"))), libc::ENOENT);
    }
    mount.no_faults();
}

#[test]
fn a_renamed_run_takes_its_history_along_and_a_new_one_at_its_path_has_none() {
    let mount = mounted();
    let (old, new) = (mount.path("old"), mount.path("new"));
    rich(&old);
    snapshot(&old, "v");
    assert!(old.join(".snapshots/v/none").exists());
    fs::rename(&old, &new).unwrap();
    assert_bytes(&new.join(".snapshots/latest/weights.bin"), &noise(3 << 20, 1));
    fs::create_dir(&old).unwrap();
    assert!(!old.join(".snapshots/latest").exists());
    assert_eq!(names(&mount.path(".snapshots/.runs")), ["new"]);
    mount.remount();
    assert_bytes(&new.join(".snapshots/latest/weights.bin"), &noise(3 << 20, 1));
    mount.no_faults();
}

/// close(2) returns before the daemon reads of it, and another of its threads may read of the next save first.
#[test]
fn saves_that_follow_each_other_at_once_have_a_version_each() {
    const SAVES: usize = 60;
    let mount = Mount::with(&["settle=1h", "max_to_keep=0"]);
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    let bytes = noise((1 << 20) + SAVES, 1);
    for epoch in 1..=SAVES {
        fs::write(live.join(format!("model_epoch{epoch}.bin")), &bytes[epoch..]).unwrap();
    }
    snapshot(&live, "end");
    for epoch in 1..=SAVES {
        let version = live.join(format!(".snapshots/{epoch:06}"));
        assert_eq!(names(&version).len(), epoch);
        assert_bytes(&version.join(format!("model_epoch{epoch}.bin")), &bytes[epoch..]);
    }
    mount.no_faults();
}

#[test]
fn a_file_that_is_being_written_is_taken_as_it_is_found_and_its_version_is_incomplete() {
    let mount = mounted();
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    let (whole, bytes) = (npy(1, 1 << 20), npy(2, 1 << 20));
    fs::write(live.join("a.npy"), &whole).unwrap();
    snapshot(&live, "whole");
    let file = File::create(live.join("b.npy")).unwrap();
    file.write_all_at(&bytes[..700_000], 0).unwrap();
    snapshot(&live, "half");
    let at = |name: &str| live.join(".snapshots").join(name);
    let check = || {
        assert_bytes(&at("half/b.npy"), &bytes[..700_000]);
        assert_bytes(&at("half/a.npy"), &whole);
        let info: serde_json::Value =
            serde_json::from_slice(&fs::read(at(".info/000002.json")).unwrap()).unwrap();
        assert_eq!(info["complete"], false, "{info}");
        assert!(info["why"].to_string().contains("b.npy: was being written"), "{info}");
        assert_eq!(fs::read_link(at("latest")).unwrap(), Path::new("000001"));
        assert_eq!(fs::read_link(at("newest")).unwrap(), Path::new("000002"));
    };
    check();
    file.write_all_at(&bytes[700_000..], 700_000).unwrap();
    file.write_all_at(b"changed", 1000).unwrap();
    check();
    drop(file);
    mount.no_faults();
}

#[test]
fn whole_content_is_in_a_version_before_it_is_truncated_replaced_or_unlinked() {
    type Way = (&'static str, fn(&Path));
    let mount = mounted();
    let ways: [Way; 4] = [
        ("opened with O_TRUNC", |file| drop(File::create(file).unwrap())),
        ("truncated", |file| truncate(file, 10)),
        ("replaced", |file| {
            fs::write(file.with_extension("tmp"), b"").unwrap();
            fs::rename(file.with_extension("tmp"), file).unwrap();
        }),
        ("unlinked", |file| fs::remove_file(file).unwrap()),
    ];
    for ((how, change), seed) in ways.into_iter().zip(1..) {
        let live = mount.path(how);
        fs::create_dir(&live).unwrap();
        // A name that tells a step is no temporary one, though it goes before its save has come to rest.
        fs::write(live.join("step_1.npy"), npy(seed, 300_000)).unwrap();
        change(&live.join("step_1.npy"));
        let version = live.join(".snapshots/000001");
        eventually(how, || version.exists());
        assert_bytes(&version.join("step_1.npy"), &npy(seed, 300_000));
    }
    let live = mount.path("temporary");
    fs::create_dir(&live).unwrap();
    fs::write(live.join("a.npy.tmp"), npy(9, 300_000)).unwrap();
    fs::remove_file(live.join("a.npy.tmp")).unwrap();
    mount.remount();
    assert!(!live.join(".snapshots/000001").exists(), "of a temporary file alone a version was made");
    mount.no_faults();
}

#[test]
fn nothing_fails_and_nothing_waits_when_no_version_can_be_made() {
    let mount = mounted();
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    fs::write(live.join("a.npy"), npy(1, 300_000)).unwrap();
    mount.hide_packs();
    let begun = Instant::now();
    for seed in 2..6 {
        let mut file = File::create(live.join("a.npy")).unwrap();
        file.write_all(&npy(seed, 300_000)).unwrap();
        file.sync_all().unwrap();
    }
    fs::rename(live.join("a.npy"), live.join("b.npy")).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let done = ckptfs(&["snapshot", text(&live)]);
    assert!(!done.status.success(), "who asks for a version is told that there is none");
    mount.show_packs();
    mount.remount();
    for seed in 1..5 {
        let file = live.join(format!(".snapshots/{seed:06}/a.npy"));
        eventually("the version is made after all", || file.exists());
        assert_bytes(&file, &npy(seed, 300_000));
    }
}

#[test]
fn a_number_is_not_used_again_after_a_collection_a_new_mount_and_a_kill() {
    let mount = Mount::with(&["settle=1h", "hot_cache=0", "undelete_ttl=0s"]);
    let live = mount.path("run");
    fs::create_dir(&live).unwrap();
    let save = |content: &str| {
        fs::write(live.join("f"), content).unwrap();
        snapshot(&live, "v");
        let made = fs::read_link(live.join(".snapshots/newest")).unwrap();
        fs::remove_dir(live.join(".snapshots/v")).unwrap();
        made.to_str().unwrap().to_owned()
    };
    assert_eq!(save("1"), "000001");
    for number in 2..5 {
        let made = save(&number.to_string());
        assert_eq!(made, format!("{number:06}"));
        fs::remove_dir(live.join(".snapshots").join(&made)).unwrap();
        match number {
            2 => mount.remount(),
            3 => assert!(ckptfs(&["gc", text(&mount.root())]).status.success()),
            _ => {
                mount.kill();
                mount.mount();
            }
        }
        assert!(!live.join(".snapshots").join(&made).exists());
    }
    assert_eq!(save("5"), "000005");
    assert_bytes(&live.join(".snapshots/000001/f"), b"1");
    mount.no_faults();
}

#[test]
fn the_name_can_be_another_one_and_is_given_back_where_there_is_no_history() {
    let mut mount = Mount::with(&["settle=1h", "snapdir_name=.versions"]);
    assert_eq!(errno(fs::create_dir(mount.path(".versions"))), libc::EEXIST);
    fs::write(mount.path("f"), b"then").unwrap();
    fs::create_dir(mount.path(".versions/v")).unwrap();
    fs::write(mount.path("f"), b"now").unwrap();
    assert_bytes(&mount.path(".versions/v/f"), b"then");
    fs::create_dir(mount.path(".snapshots")).unwrap();
    fs::write(mount.path(".snapshots/mine"), b"mine").unwrap();
    assert_eq!(names(&mount.root()), [".snapshots", "f"]);
    eventually("it unmounts", || mount.unmount().status.success());
    mount.set_option("snapdir=disabled");
    mount.mount();
    assert!(!mount.path(".versions").exists());
    fs::write(mount.path(".versions"), b"a file").unwrap();
    fs::rename(mount.path(".versions"), mount.path(".versions.old")).unwrap();
    fs::create_dir(mount.path(".versions")).unwrap();
    assert_eq!(names(&mount.root()), [".snapshots", ".versions", ".versions.old", "f"]);
    assert_bytes(&mount.path(".snapshots/mine"), b"mine");
    mount.no_faults();
}
