//! `export` as its user meets it: a version in a folder and in an archive, from a mounted and an unmounted store, with
//! damage, and with things in the way.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::Value;

use crate::common::*;

/// A run with everything that a file can be, and its version 1.
fn made() -> Mount {
    let mount = Mount::with(&["settle=1h", "hot_cache=0"]);
    let run = mount.path("exp");
    fs::create_dir_all(run.join("step_5/deep")).unwrap();
    fs::write(run.join("step_5/model.npy"), npy(1, 3 << 20)).unwrap();
    fs::write(run.join("whole.npy"), npy(2, 3 << 20)).unwrap();
    let sparse = File::create(run.join("sparse.bin")).unwrap();
    sparse.write_all_at(b"end", 8 << 20).unwrap();
    drop(sparse);
    fs::write(run.join("a.txt"), b"small").unwrap();
    fs::hard_link(run.join("a.txt"), run.join("step_5/deep/b.txt")).unwrap();
    symlink("step_5/model.npy", run.join("latest")).unwrap();
    fs::write(run.join("empty"), b"").unwrap();
    let strange = run.join("x".repeat(200) + " ü\n");
    fs::write(&strange, b"strange").unwrap();
    setxattr(run.join("a.txt"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    fs::set_permissions(run.join("a.txt"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::chown(run.join("a.txt"), Some(1234), Some(77)).unwrap();
    fs::set_permissions(run.join("step_5"), fs::Permissions::from_mode(0o2750)).unwrap();
    for (name, secs) in [("step_5/model.npy", 1_600_000_000), ("step_5", 1_500_000_000)] {
        let file = File::open(run.join(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::new(secs, 123_456_789)).unwrap();
    }
    assert!(ckptfs(&["snapshot", text(&run)]).status.success());
    mount
}

/// Asserts that two trees are the same to the last attribute; the mode and times of the top are not compared.
#[track_caller]
pub(crate) fn same_trees(one: &Path, other: &Path) {
    let names = |dir: &Path| {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(one), names(other), "{}", other.display());
    for name in names(one) {
        let (one, other) = (one.join(&name), other.join(&name));
        let (a, b) = (one.symlink_metadata().unwrap(), other.symlink_metadata().unwrap());
        let all =
            |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.gid(), meta.mtime(), meta.mtime_nsec());
        assert_eq!(all(&a), all(&b), "{}", other.display());
        if a.is_dir() {
            same_trees(&one, &other);
        } else if a.is_symlink() {
            assert_eq!(fs::read_link(&one).unwrap(), fs::read_link(&other).unwrap());
        } else {
            assert_bytes(&other, &fs::read(&one).unwrap());
        }
    }
}

#[test]
fn a_version_is_exported_as_it_was_from_a_mount_and_from_its_store() {
    let mount = made();
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let live = out.path().join("live");
    assert!(
        Command::new("cp").args(["-a", text(&mount.path("exp")), text(&live)]).status().unwrap().success()
    );
    fs::write(mount.path("exp/later"), b"not in it").unwrap();
    let then = |name: &str| {
        fs::metadata(mount.path("exp/.snapshots/000001").join(name)).unwrap().modified().unwrap()
    };
    assert_eq!(then("a.txt"), then("step_5/deep/b.txt"), "one inode, one time");

    let check = |target: &Path| {
        same_trees(&live, target);
        let mut note = [0; 8];
        let len = getxattr(target.join("a.txt"), "user.note", &mut note).unwrap();
        assert_eq!(&note[..len], b"kept");
        let meta = |name: &str| fs::metadata(target.join(name)).unwrap();
        assert_eq!(meta("a.txt").ino(), meta("step_5/deep/b.txt").ino());
        assert!(meta("sparse.bin").blocks() < 1000, "holes stay holes");
    };
    let target = out.path().join("mounted/new");
    let done = ckptfs(&["export", "1", text(&target), text(&mount.path("exp")), "--json"]);
    assert!(done.status.success(), "{}", said(&done));
    let json: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(
        (&json["run"], &json["number"], &json["files"]),
        (&"exp".into(), &1.into(), &7.into()),
        "{json}"
    );
    assert_eq!((&json["damaged"], &json["notes"]), (&Value::Array(vec![]), &Value::Array(vec![])));
    check(&target);

    // One directory and one file of it, by paths through the virtual directory and beside it.
    let part = out.path().join("part");
    let through = mount.path("exp/.snapshots/000001/step_5");
    assert!(ckptfs(&["export", text(&through), text(&part)]).status.success());
    same_trees(&live.join("step_5"), &part);
    let one = out.path().join("one");
    let model = mount.path("exp/step_5/model.npy");
    assert!(ckptfs(&["export", "latest", text(&one), text(&model)]).status.success());
    assert_bytes(&one.join("model.npy"), &npy(1, 3 << 20));
    assert_eq!(fs::read_dir(&one).unwrap().count(), 1);
    let some = out.path().join("some");
    let exp = mount.path("exp");
    let words = ["export", "1", text(&some), text(&exp), "--only", "a.txt", "--only", "step_5/deep"];
    assert!(ckptfs(&words).status.success());
    assert_eq!(
        fs::metadata(some.join("a.txt")).unwrap().ino(),
        fs::metadata(some.join("step_5/deep/b.txt")).unwrap().ino()
    );
    assert!(!some.join("step_5/model.npy").exists());
    let wrong =
        ckptfs(&["export", "1", text(&out.path().join("no")), text(&mount.path("exp")), "--only", "typo"]);
    assert!(
        wrong.status.code() == Some(1) && said(&wrong).contains("'typo' is not in version 000001"),
        "{}",
        said(&wrong)
    );

    let archive = out.path().join("v.tar");
    let words = ["export", "1", text(&archive), text(&exp), "--tar"];
    assert!(ckptfs(&words).status.success());
    let unpack = |file: Stdio, at: &Path| {
        fs::create_dir(at).unwrap();
        let args = ["-x", "--xattrs", "-p", "-C", text(at)];
        assert!(Command::new("tar").args(args).stdin(file).status().unwrap().success());
        same_trees(&live, at);
    };
    unpack(File::open(&archive).unwrap().into(), &out.path().join("unpacked"));
    assert_eq!(ckptfs(&words).status.code(), Some(1), "it is there already");
    let mut piped = Command::new(env!("CARGO_BIN_EXE_ckptfs"));
    piped.args(["export", "1", "-", text(&mount.path("exp")), "--tar"]).stdout(Stdio::piped());
    let mut piped = piped.spawn().unwrap();
    unpack(piped.stdout.take().unwrap().into(), &out.path().join("piped"));
    assert!(piped.wait().unwrap().success());
    mount.no_faults();

    eventually("it unmounts", || mount.unmount().status.success());
    let target = out.path().join("closed");
    let done = ckptfs(&["export", "1", text(&target), text(&mount.store()), "--run", "exp"]);
    assert!(done.status.success(), "{}", said(&done));
    check(&target);
}

#[test]
fn nothing_is_written_outside_of_the_target_and_nothing_is_overwritten_unasked() {
    let mount = made();
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (target, victim) = (out.path().join("t"), out.path().join("victim"));
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("mine"), b"mine").unwrap();
    let run = mount.path("exp");
    let words = ["export", "1", text(&target), text(&run)];
    let refused = ckptfs(&words);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("--force"), "{}", said(&refused));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);

    // Links in the way: one with the name of a file is replaced, one with that of a folder is refused.
    fs::write(&victim, b"precious").unwrap();
    symlink(&victim, target.join("a.txt")).unwrap();
    symlink(&victim, target.join(".ckptfs-export.tmp")).unwrap();
    assert!(ckptfs(&[&words[..], &["--force"]].concat()).status.success());
    assert_bytes(&target.join("a.txt"), b"small");
    assert_bytes(&target.join("mine"), b"mine");
    assert!(target.join(".ckptfs-export.tmp").symlink_metadata().is_err());
    fs::remove_dir_all(target.join("step_5")).unwrap();
    fs::create_dir(out.path().join("elsewhere")).unwrap();
    symlink(out.path().join("elsewhere"), target.join("step_5")).unwrap();
    let refused = ckptfs(&[&words[..], &["--force"]].concat());
    assert!(refused.status.code() == Some(1) && said(&refused).contains("in the way"), "{}", said(&refused));
    assert_eq!(fs::read_dir(out.path().join("elsewhere")).unwrap().count(), 0);
    assert_bytes(&victim, b"precious");
}

#[test]
fn what_is_damaged_is_left_out_and_named_and_a_full_target_leaves_no_half_file() {
    let mount = made();
    eventually("no hot file is left", || mount.number("/hot_files") <= 4);
    eventually("it unmounts", || mount.unmount().status.success());
    flip(&mount.store(), &npy(1, 3 << 20), 2 << 20);
    mount.mount();
    let out = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (target, run) = (out.path().join("t"), mount.path("exp"));
    let done = ckptfs(&["export", "1", text(&target), text(&run)]);
    let shown = String::from_utf8(done.stdout.clone()).unwrap();
    assert_eq!(done.status.code(), Some(3), "{shown}");
    assert!(shown.contains("damaged, left out: step_5/model.npy"), "{shown}");
    assert_bytes(&target.join("a.txt"), b"small");
    let left: Vec<_> =
        fs::read_dir(target.join("step_5")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["deep"], "no half file, no temporary one");
    let archive = out.path().join("v.tar");
    let done = ckptfs(&["export", "1", text(&archive), text(&run), "--tar"]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(!archive.exists() && fs::read_dir(out.path()).unwrap().count() == 1, "no half archive");

    let full = out.path().join("full");
    fs::create_dir(&full).unwrap();
    let small = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", text(&full)];
    assert!(Command::new("mount").args(small).status().unwrap().success());
    let done = ckptfs(&["export", "1", text(&full.join("t")), text(&run), "--only", "whole.npy"]);
    let left = fs::read_dir(full.join("t")).map_or(0, |list| list.count());
    assert!(Command::new("umount").arg(&full).status().unwrap().success());
    assert_eq!(done.status.code(), Some(1), "{}", said(&done));
    assert!(said(&done).contains("No space left") && left == 0, "{} {left}", said(&done));
    std::io::stdout().flush().unwrap();
}
