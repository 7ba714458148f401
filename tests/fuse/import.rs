//! `import` as its user meets it: existing folders in, killed in the middle, resumed; nothing lost, nothing twice.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::common::*;
use crate::export::same_trees;

const LEN: usize = 100_000;

#[track_caller]
fn json(words: &[&str]) -> Value {
    let done = ckptfs(&[words, &["--json"]].concat());
    assert!(done.status.success(), "{words:?}: {}", said(&done));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn quiet() -> Mount {
    Mount::with(&["settle=1h", "hot_cache=0"])
}

fn outside() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn put(at: &Path, bytes: &[u8], secs: u64) {
    fs::create_dir_all(at.parent().unwrap()).unwrap();
    fs::write(at, bytes).unwrap();
    File::options()
        .write(true)
        .open(at)
        .unwrap()
        .set_modified(UNIX_EPOCH + Duration::new(secs, 5000))
        .unwrap();
}

/// A folder of `count` checkpoints in folders, with what else lies there.
fn folder(at: &Path, count: u64) {
    for n in 1..=count {
        let step = at.join(format!("checkpoint-{}", n * 100));
        put(&step.join("model.npy"), &npy(n, LEN), 1_600_000_000 + n);
        put(&step.join("sub/rank_0.npy"), &npy(1000, LEN), 1_600_000_000 + n);
    }
    put(&at.join("config.json"), b"{}", 1_500_000_000);
    put(&at.join("logs/train.log"), b"done\n", 1_700_000_000);
    symlink("checkpoint-100", at.join("first")).unwrap();
    fs::hard_link(at.join("config.json"), at.join("config.link")).unwrap();
}

fn versions(run: &Path) -> Vec<Value> {
    let mut all = json(&["log", text(run)])["versions"].as_array().unwrap().clone();
    all.reverse();
    all
}

#[test]
fn every_checkpoint_becomes_a_version_of_its_time_and_the_folder_is_there_as_it_was() {
    let (mount, out) = (quiet(), outside());
    let (source, run) = (out.path().join("old"), mount.path("runs/exp"));
    folder(&source, 3);
    let done = json(&["import", text(&source), text(&run)]);
    assert_eq!(
        (&done["run"], done["checkpoints"].as_array().unwrap().len()),
        (&"runs/exp".into(), 3),
        "{done}"
    );
    same_trees(&source, &run);
    let all = versions(&run);
    let told = |one: &Value| {
        (one["step"].as_u64(), one["time"][0].as_u64(), one["trigger"].as_str().unwrap().to_owned())
    };
    let wanted = |n: u64| (Some(n * 100), Some(1_600_000_000 + n), "import".to_owned());
    assert_eq!(all.iter().map(told).collect::<Vec<_>>(), (1..=3).map(wanted).collect::<Vec<_>>());
    assert!(all.iter().all(|one| one["complete"] == true && one["valid"] == true), "{all:?}");
    let origin = serde_json::json!({"kind": "import", "source": source.canonicalize().unwrap().join("checkpoint-200")});
    assert_eq!(all[1]["origin"], origin);
    let then = |number: u64, name: &str| run.join(format!(".snapshots/{number:06}")).join(name);
    assert_bytes(&then(2, "checkpoint-200/model.npy"), &npy(2, LEN));
    assert!(
        then(1, "config.json").exists() && !then(2, "checkpoint-300").exists() && !then(2, "logs").exists()
    );
    assert_bytes(&then(3, "logs/train.log"), b"done\n");
    let packs = mount.number("/stored_bytes");
    assert!(packs < 4 * LEN as u64 + 60_000, "what is the same is stored once: {packs}");

    // Again: nothing to do. One more: it alone. Training goes on there, in the same run.
    let again = json(&["import", text(&source), text(&run)]);
    assert!(again["checkpoints"].as_array().unwrap().iter().all(|one| one["version"].is_null()), "{again}");
    put(&source.join("checkpoint-400/model.npy"), &npy(4, LEN), 1_600_000_009);
    let more = json(&["import", text(&source), text(&run)]);
    assert_eq!((&more["checkpoints"][3]["version"], &more["files"]), (&4.into(), &1.into()), "{more}");
    fs::create_dir(run.join("checkpoint-500")).unwrap();
    fs::write(run.join("checkpoint-500/model.npy"), npy(5, LEN)).unwrap();
    assert_eq!(json(&["snapshot", text(&run)])["number"], 5);

    // What is there and differs is left alone; what is in the mount already is no folder outside.
    put(&source.join("checkpoint-100/model.npy"), &npy(77, LEN), 1_600_000_001 + 50);
    let refused = ckptfs(&["import", text(&source), text(&run)]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("differs"), "{}", said(&refused));
    assert_bytes(&run.join("checkpoint-100/model.npy"), &npy(1, LEN));
    let refused = ckptfs(&["import", text(&run), text(&mount.path("other"))]);
    assert!(
        refused.status.code() == Some(1) && said(&refused).contains("in this mount already"),
        "{}",
        said(&refused)
    );
    mount.no_faults();
    mount.remount();
    assert_bytes(&run.join("checkpoint-300/model.npy"), &npy(3, LEN));
}

#[test]
fn numbered_files_and_tensorflow_prefixes_and_a_single_checkpoint_come_in_too() {
    let (mount, out) = (quiet(), outside());
    let files = out.path().join("files");
    for n in [2, 10, 9] {
        put(&files.join(format!("model_{n}.npy")), &npy(n, LEN), 1_600_000_000);
        put(&files.join(format!("optim_{n}.npy")), &npy(n + 100, LEN), 1_600_000_000);
    }
    let names = |done: &Value| {
        let all = done["checkpoints"].as_array().unwrap();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let done = json(&["import", text(&files), text(&mount.path("files"))]);
    assert_eq!(names(&done), ["model_2.npy", "model_9.npy", "model_10.npy"]);
    same_trees(&files, &mount.path("files"));
    let one = out.path().join("one");
    put(&one.join("model.npy"), &npy(1, LEN), 1_600_000_000);
    put(&one.join("config.json"), b"{}", 1_600_000_001);
    assert_eq!(names(&json(&["import", text(&one), text(&mount.path("one"))])), [""]);
    assert_eq!(versions(&mount.path("one")).len(), 1);
    same_trees(&one, &mount.path("one"));
    mount.no_faults();
}

#[test]
fn a_policy_that_would_remove_versions_is_told_before_and_delete_takes_only_what_is_in() {
    let (mount, out) = (quiet(), outside());
    let (source, run) = (out.path().join("old"), mount.path("exp"));
    folder(&source, 12);
    let copy = out.path().join("copy");
    assert!(Command::new("cp").args(["-a", text(&source), text(&copy)]).status().unwrap().success());
    let refused = ckptfs(&["import", text(&source), text(&run)]);
    let line = said(&refused);
    assert!(
        refused.status.code() == Some(1)
            && line.contains("keeps 10 of these 12")
            && line.contains("--keep-all"),
        "{line}"
    );
    assert!(!run.exists());
    let done = json(&["import", text(&source), text(&run), "--keep-all", "--delete"]);
    assert_eq!((&done["left"], versions(&run).len()), (&Value::Array(vec![]), 12));
    assert_eq!(fs::read_dir(&source).unwrap().count(), 0, "everything is in");
    same_trees(&copy, &run);
    let other = mount.path("other");
    json(&["import", text(&copy), text(&other), "--yes"]);
    assert_eq!(versions(&other).len(), 10);
    same_trees(&copy, &other);
    mount.no_faults();
}

#[cfg(debug_assertions)]
#[test]
fn an_import_that_is_killed_goes_on_and_doubles_nothing() {
    let (mount, out) = (quiet(), outside());
    let (source, run) = (out.path().join("old"), mount.path("exp"));
    folder(&source, 30);
    for record in [40, 130, 7, 61] {
        eventually("it unmounts", || mount.unmount().status.success());
        assert!(mount.mount_to_fail(&format!("abort@journal.appended:{record}")).status.success());
        let pid = mount.pid();
        let done = ckptfs(&["import", text(&source), text(&run), "--keep-all"]);
        assert_eq!(done.status.code(), Some(1), "record {record}: {}", said(&done));
        eventually("the daemon is gone", || !is_running(pid));
        mount.mount();
    }
    json(&["import", text(&source), text(&run), "--keep-all"]);
    same_trees(&source, &run);
    let all = versions(&run);
    let steps: Vec<_> = all.iter().map(|one| one["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=30).map(|n| n * 100).collect::<Vec<_>>(), "each once, in order");
    assert!(all.iter().all(|one| one["trigger"] == "import" && one["complete"] == true));
    for n in 1..=30 {
        assert_bytes(&run.join(format!(".snapshots/{n:06}/checkpoint-{}/model.npy", n * 100)), &npy(n, LEN));
    }
    let checked = ckptfs(&["check", "--read-data", text(&mount.root())]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn a_closed_store_takes_checkpoints_in_and_a_read_only_mount_does_not() {
    let (mut mount, out) = (quiet(), outside());
    let source = out.path().join("old");
    folder(&source, 2);
    eventually("it unmounts", || mount.unmount().status.success());
    let store = mount.store();
    let done = json(&["import", text(&source), text(&store), "--run", "a/exp"]);
    assert_eq!((&done["run"], done["checkpoints"].as_array().unwrap().len()), (&"a/exp".into(), 2));
    mount.set_option("ro");
    mount.mount();
    same_trees(&source, &mount.path("a/exp"));
    assert_eq!(versions(&mount.path("a/exp")).len(), 2);
    let meta = |name: &str| fs::metadata(mount.path("a/exp").join(name)).unwrap();
    assert_eq!(meta("config.json").ino(), meta("config.link").ino());
    let refused = ckptfs(&["import", text(&source), text(&mount.path("b"))]);
    assert!(refused.status.code() == Some(1) && said(&refused).contains("read-only"), "{}", said(&refused));
}
