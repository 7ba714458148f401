//! `restore` and `clone` as their users meet them: in a running mount, in a closed store, with damage, and killed in the
//! middle.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{XattrFlags, getxattr, setxattr};
use serde_json::Value;

use crate::common::*;
use crate::export::same_trees;

const LEN: usize = 600_000;

/// What a command says with `--json`, and its exit code.
#[track_caller]
fn json(code: i32, words: &[&str]) -> Value {
    let done = ckptfs(&[words, &["--json"]].concat());
    assert_eq!(done.status.code(), Some(code), "{words:?}: {}", said(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[track_caller]
fn refused(words: &[&str], parts: &[&str]) {
    let done = ckptfs(words);
    let line = said(&done);
    assert!(done.status.code() == Some(1) && done.stdout.is_empty() && line.lines().count() == 1, "{line}");
    parts.iter().for_each(|part| assert!(line.contains(part), "{part:?} in {line:?}"));
}

/// A run with all kinds of things in it as version 1, and a copy of it outside.
fn first(mount: &Mount, out: &Path) -> PathBuf {
    let run = mount.path("exp");
    fs::create_dir_all(run.join("step_1/deep")).unwrap();
    fs::write(run.join("step_1/model.npy"), npy(1, LEN)).unwrap();
    fs::write(run.join("model.npy"), npy(2, LEN)).unwrap();
    fs::write(run.join("same.npy"), npy(3, LEN)).unwrap();
    fs::write(run.join("log"), b"one\n").unwrap();
    fs::write(run.join("linked"), b"linked").unwrap();
    fs::hard_link(run.join("linked"), run.join("step_1/deep/too")).unwrap();
    symlink("step_1", run.join("latest")).unwrap();
    setxattr(run.join("step_1"), "user.note", b"first", XattrFlags::empty()).unwrap();
    fs::set_permissions(run.join("log"), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(ckptfs(&["snapshot", text(&run)]).status.success());
    let copy = out.join("first");
    assert!(Command::new("cp").args(["-a", text(&run), text(&copy)]).status().unwrap().success());
    copy
}

/// Makes the run another one in every way.
fn change(run: &Path) {
    fs::write(run.join("model.npy"), npy(20, LEN)).unwrap();
    fs::remove_dir_all(run.join("step_1")).unwrap();
    fs::create_dir_all(run.join("step_2/deep")).unwrap();
    fs::write(run.join("step_2/deep/model.npy"), npy(21, LEN)).unwrap();
    File::options().append(true).open(run.join("log")).unwrap().write_all(b"two\n").unwrap();
    fs::remove_file(run.join("latest")).unwrap();
    symlink("step_2", run.join("latest")).unwrap();
    fs::remove_file(run.join("linked")).unwrap();
    fs::create_dir(run.join("linked")).unwrap();
    fs::write(run.join("linked/inside"), b"x").unwrap();
}

fn packs(mount: &Mount) -> u64 {
    let list = fs::read_dir(mount.store().join("packs")).unwrap();
    list.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

fn quiet() -> Mount {
    Mount::with(&["settle=1h", "hot_cache=0"])
}

fn outside() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

#[test]
fn a_run_is_put_back_in_a_running_mount_and_the_state_before_is_kept() {
    let (mount, out) = (quiet(), outside());
    let copy = first(&mount, out.path());
    let run = mount.path("exp");
    change(&run);
    let changed = out.path().join("changed");
    assert!(Command::new("cp").args(["-a", text(&run), text(&changed)]).status().unwrap().success());
    // What the kernel knows by now: names that are there, and names that are not.
    assert!(!run.join("step_1/model.npy").exists() && run.join("linked/inside").exists());
    let reader = File::open(run.join("model.npy")).unwrap();

    let dry = json(0, &["restore", "1", text(&run), "--dry-run"]);
    let what = |dry: &Value, path: &str| {
        let changes = dry["changes"].as_array().unwrap();
        changes
            .iter()
            .filter(|one| one["path"] == path)
            .map(|one| one["what"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(what(&dry, "model.npy"), ["replace"]);
    assert_eq!(what(&dry, "step_1/model.npy"), ["create"]);
    assert_eq!(what(&dry, "step_2"), ["remove"]);
    assert_eq!(what(&dry, "linked"), ["remove", "create"]);
    assert_eq!(what(&dry, "same.npy"), [""; 0]);
    assert_eq!((&dry["before"], &dry["dry_run"]), (&Value::Null, &Value::from(true)));
    same_trees(&changed, &run);
    assert_eq!(json(0, &["log", text(&run)])["versions"].as_array().unwrap().len(), 1);

    let writer = File::options().append(true).open(run.join("log")).unwrap();
    refused(&["restore", "1", text(&run)], &["log is open for writing", "--force"]);
    same_trees(&changed, &run);
    drop(writer);
    let before = packs(&mount);
    let done = json(0, &["restore", "1", text(&run)]);
    assert_eq!(
        (&done["number"], &done["before"], &done["damaged"]),
        (&1.into(), &2.into(), &Value::Array(vec![]))
    );
    same_trees(&copy, &run);
    let meta = |name: &str| fs::metadata(run.join(name)).unwrap();
    assert_eq!(meta("linked").ino(), meta("step_1/deep/too").ino());
    let mut note = [0; 8];
    let len = getxattr(run.join("step_1"), "user.note", &mut note).unwrap();
    assert_eq!(&note[..len], b"first");
    assert_seen(&reader, &npy(20, LEN));
    assert!(packs(&mount) - before < 2 * LEN as u64 + 50_000, "only the state before is new in the packs");
    let log = json(0, &["log", text(&run)]);
    assert_eq!(
        (&log["versions"][0]["trigger"], &log["versions"][0]["number"]),
        (&"restore".into(), &2.into())
    );
    assert!(ckptfs(&["restore", "1", text(&run)]).stdout.starts_with(b"exp is as version 000001 has it"));
    assert_eq!(
        json(0, &["log", text(&run)])["versions"].as_array().unwrap().len(),
        2,
        "nothing to do, no version"
    );

    drop(reader);
    // Back again, after a new mount; then files written in place are their own.
    mount.remount();
    same_trees(&copy, &run);
    json(0, &["restore", "2", text(&run)]);
    same_trees(&changed, &run);
    fs::write(run.join("model.npy"), npy(30, LEN)).unwrap();
    assert_bytes(&run.join(".snapshots/000002/model.npy"), &npy(20, LEN));
    let forced = File::options().append(true).open(run.join("log")).unwrap();
    json(0, &["restore", "1", text(&run), "--force"]);
    same_trees(&copy, &run);
    drop(forced);
    mount.no_faults();
}

#[test]
fn parts_are_put_back_alone_and_what_a_version_has_not_can_stay() {
    let (mount, out) = (quiet(), outside());
    let copy = first(&mount, out.path());
    let run = mount.path("exp");
    change(&run);
    let step = run.join("step_1");
    assert_eq!(json(0, &["restore", "1", text(&step)])["changes"][0]["path"], "step_1");
    same_trees(&copy.join("step_1"), &step);
    assert_bytes(&run.join("model.npy"), &npy(20, LEN));
    assert!(run.join("step_2/deep/model.npy").exists());
    fs::remove_file(step.join("model.npy")).unwrap();
    json(0, &["restore", text(&run.join(".snapshots/000001/step_1/model.npy"))]);
    assert_bytes(&step.join("model.npy"), &npy(1, LEN));
    json(0, &["restore", "1", text(&run), "--only", "model.npy", "--only", "log"]);
    assert_bytes(&run.join("model.npy"), &npy(2, LEN));
    assert_bytes(&run.join("log"), b"one\n");
    refused(&["restore", "1", text(&run.join("typo"))], &["'typo' is not in version 000001"]);
    refused(&["restore", "1", text(&run), "--only", "../other"], &["'../other'"]);
    fs::write(run.join("mine.txt"), b"mine").unwrap();
    json(0, &["restore", "1", text(&run), "--keep"]);
    assert_bytes(&run.join("mine.txt"), b"mine");
    assert!(run.join("step_2/deep/model.npy").exists() && run.join("linked").is_file());
    mount.no_faults();
}

#[test]
fn a_version_goes_beside_elsewhere_and_into_a_new_run_without_a_copy() {
    let (mut mount, out) = (quiet(), outside());
    let copy = first(&mount, out.path());
    let (run, store) = (mount.path("exp"), mount.store());
    change(&run);
    assert!(!mount.path("old").exists(), "the kernel knows that there is none");
    let before = packs(&mount);
    let beside = json(0, &["restore", "1", text(&run), "--to", text(&mount.path("old"))]);
    assert_eq!((&beside["to"], &beside["before"]), (&"old".into(), &Value::Null));
    same_trees(&copy, &mount.path("old"));
    assert_eq!(packs(&mount), before);
    refused(&["restore", "1", text(&run), "--to", text(&mount.path("old"))], &["'old' exists"]);
    refused(&["restore", "1", text(&run), "--to", text(&mount.path("no/where"))], &["mkdir -p"]);
    refused(
        &["restore", "1", text(&run), "--to", text(&mount.path("exp/.snapshots/x"))],
        &["among versions"],
    );
    let there = out.path().join("there");
    assert_eq!(json(0, &["restore", "1", text(&run), "--to", text(&there)])["files"], 6);
    same_trees(&copy, &there);

    let cloned = json(0, &["clone", "1", text(&mount.path("new")), text(&run)]);
    assert_eq!(
        (&cloned["run"], &cloned["number"], &cloned["trigger"]),
        (&"new".into(), &1.into(), &"clone".into())
    );
    let origin = serde_json::json!({"kind": "clone", "run": "exp", "number": 1});
    assert_eq!((&cloned["origin"], &cloned["complete"], &cloned["step"]), (&origin, &true.into(), &1.into()));
    same_trees(&copy, &mount.path("new"));
    let grown = packs(&mount) - before;
    assert!(grown < 20_000 && cloned["new_bytes"].as_u64().unwrap() < 20_000, "{grown}");
    // It is trained on, and knows nothing of the other.
    fs::write(mount.path("new/model.npy"), npy(40, LEN)).unwrap();
    assert_eq!(json(0, &["snapshot", text(&mount.path("new"))])["number"], 2);
    assert_bytes(&run.join("model.npy"), &npy(20, LEN));
    assert_bytes(&run.join(".snapshots/000001/model.npy"), &npy(2, LEN));
    refused(&["clone", "1", text(&mount.path("new")), text(&run)], &["'new' exists"]);
    refused(&["clone", "1", text(&out.path().join("x")), text(&run)], &["not in the mount"]);
    fs::remove_dir_all(mount.path("old")).unwrap();
    mount.no_faults();

    // The same in a closed store; then all of it is seen in a mount.
    eventually("it unmounts", || mount.unmount().status.success());
    let at = [text(&store), "--run", "exp"];
    json(0, &[&["restore", "1"], &at[..]].concat());
    let cloned = json(0, &[&["clone", "1", "closed"], &at[..]].concat());
    assert_eq!(cloned["run"], "closed");
    mount.mount();
    same_trees(&copy, &run);
    same_trees(&copy, &mount.path("closed"));
    eventually("it unmounts", || mount.unmount().status.success());
    mount.set_option("ro");
    mount.mount();
    refused(&["restore", "2", text(&run)], &["read-only"]);
    refused(&["clone", "1", text(&mount.path("x")), text(&run)], &["read-only"]);
    json(0, &["restore", "2", text(&run), "--dry-run"]);
}

#[test]
fn a_damaged_version_changes_nothing_and_names_what_is_damaged() {
    let (mount, out) = (quiet(), outside());
    first(&mount, out.path());
    let run = mount.path("exp");
    change(&run);
    assert!(ckptfs(&["snapshot", text(&run)]).status.success());
    let changed = out.path().join("changed");
    assert!(Command::new("cp").args(["-a", text(&run), text(&changed)]).status().unwrap().success());
    eventually("it unmounts", || mount.unmount().status.success());
    flip(&mount.store(), &npy(2, LEN), LEN / 2);
    mount.mount();
    let done = json(3, &["restore", "1", text(&run)]);
    assert_eq!((&done["damaged"][0], done["damaged"].as_array().unwrap().len()), (&"model.npy".into(), 1));
    assert_eq!((&done["before"], &done["changes"]), (&Value::Null, &Value::Array(vec![])));
    same_trees(&changed, &run);
    let done = ckptfs(&["clone", "1", text(&mount.path("new")), text(&run)]);
    assert_eq!(done.status.code(), Some(3), "{}", said(&done));
    assert!(done.stdout.starts_with(b"damaged: model.npy") && !mount.path("new").exists());
    // What is whole comes back.
    json(0, &["restore", "1", text(&run), "--only", "step_1"]);
    assert_bytes(&run.join("step_1/model.npy"), &npy(1, LEN));
}

#[cfg(debug_assertions)]
#[test]
fn a_restore_that_is_killed_leaves_each_file_old_or_new_and_the_next_one_finishes() {
    let (mount, out) = (quiet(), outside());
    let copy = first(&mount, out.path());
    let run = mount.path("exp");
    change(&run);
    assert!(ckptfs(&["snapshot", text(&run)]).status.success());
    // Each restore makes a version of the state before.
    for number in ["1", "2"] {
        assert!(ckptfs(&["pin", number, text(&run)]).status.success());
    }
    let mut died = 0;
    for record in [6, 8, 10, 12, 14, 16, 18, 20, 23, 26, 30, 36] {
        eventually("it unmounts", || mount.unmount().status.success());
        if !mount.mount_to_fail(&format!("abort@journal.appended:{record}")).status.success() {
            // The mount itself writes that many.
            mount.mount();
            continue;
        }
        let pid = mount.pid();
        let done = ckptfs(&["restore", "1", text(&run)]);
        died += usize::from(!done.status.success());
        if done.status.success() {
            same_trees(&copy, &run);
            let _killed_in_this_one = ckptfs(&["restore", "2", text(&run)]);
        }
        if is_running(pid) {
            eventually("it unmounts", || mount.unmount().status.success() || !is_running(pid));
        }
        eventually("the daemon is gone", || !is_running(pid));
        mount.mount();
        let model = fs::read(run.join("model.npy")).unwrap();
        assert!(model == npy(2, LEN) || model == npy(20, LEN), "old or new, whole");
        let log = fs::read(run.join("log")).unwrap();
        assert!(log == b"one\n" || log == b"one\ntwo\n", "{log:?}");
        assert_bytes(&run.join("same.npy"), &npy(3, LEN));
        assert!(ckptfs(&["restore", "1", text(&run)]).status.success());
        same_trees(&copy, &run);
        assert!(ckptfs(&["restore", "2", text(&run)]).status.success());
        assert_bytes(&run.join("step_2/deep/model.npy"), &npy(21, LEN));
    }
    assert!(died >= 5, "{died} of the kills came in the middle");
    let checked = ckptfs(&["check", text(&mount.root())]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}
