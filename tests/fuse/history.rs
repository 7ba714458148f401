//! Versions seen through the mount: `.snapshots` and what is in it, with the tools that people use on it.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{SeekFrom, XattrFlags, getxattr, listxattr, seek, setxattr};

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
