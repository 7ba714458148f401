//! Every command on history, on a mounted store, on one that is not mounted, and on one whose daemon was killed.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::common::*;

/// A mounted store that makes no versions by itself while a test looks.
fn quiet() -> Mount {
    Mount::with(&["settle=1h", "hot_cache=0"])
}

/// A small valid numpy file, told apart by `stamp`.
fn npy(stamp: u8) -> Vec<u8> {
    let mut header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }".to_vec();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    bytes.extend([stamp; 64]);
    bytes
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a command says with `--json`.
#[track_caller]
fn json(words: &[&str]) -> Value {
    let done = ckptfs(&[words, &["--json"]].concat());
    assert!(done.status.success(), "{words:?}: {}", said(&done));
    assert_eq!(said(&done), "", "{words:?}");
    serde_json::from_slice(&done.stdout).unwrap()
}

/// What a command says to people.
#[track_caller]
fn shown(words: &[&str]) -> String {
    let done = ckptfs(words);
    assert!(done.status.success(), "{words:?}: {}", said(&done));
    String::from_utf8(done.stdout).unwrap()
}

/// One line on stderr, of this exit code, with these parts.
#[track_caller]
fn refused(words: &[&str], code: i32, parts: &[&str]) {
    let done = ckptfs(words);
    let line = said(&done);
    assert_eq!(done.status.code(), Some(code), "{words:?}: {line}");
    assert!(done.stdout.is_empty() && line.starts_with("ckptfs: ") && line.lines().count() == 1, "{line}");
    for part in parts {
        assert!(line.contains(part), "{words:?}: {part:?} in {line:?}");
    }
}

/// The numbers of the versions that `log` lists.
#[track_caller]
fn numbers(words: &[&str]) -> Vec<u64> {
    let log = json(&[&["log"], words].concat());
    log["versions"].as_array().unwrap().iter().map(|one| one["number"].as_u64().unwrap()).collect()
}

/// Saves `stamp` into the run `name` and makes a version of it.
fn version(mount: &Mount, name: &str, stamp: u8) -> Value {
    fs::create_dir_all(mount.path(name)).unwrap();
    fs::write(mount.path(name).join("epoch=1-step=5-loss=0.5.npy"), npy(stamp)).unwrap();
    json(&["snapshot", &text(&mount.path(name))])
}

/// Everything that can be done to versions, named by `at`, which are 1 to 4 and untouched. Leaves 2 (tagged), 3
/// (pinned) and 4.
fn versions_by_hand(at: &[&str]) {
    let with =
        |words: &[&str]| [words, at].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let ask = |words: &[&str]| {
        let words = with(words);
        json(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refuse = |words: &[&str], parts: &[&str]| {
        let words = with(words);
        refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), 1, parts);
    };
    assert_eq!(numbers(at), [4, 3, 2, 1]);
    assert_eq!(ask(&["tag", "2", "good"])["tags"][0], "good");
    refuse(&["tag", "3", "good"], &["000002", "'good'", "ckptfs untag good"]);
    refuse(&["tag", "3", "latest"], &["'latest'"]);
    refuse(&["tag", "77", "x"], &["'77'", "1 to 4"]);
    assert_eq!(ask(&["pin", "000003"])["pinned"], true);
    refuse(&["expire", "good"], &["000002", "ckptfs untag good"]);
    refuse(&["expire", "3"], &["000003", "ckptfs unpin 3"]);
    refuse(&["undelete", "1"], &["000001", "not removed"]);
    assert_eq!(ask(&["expire", "1"])["expired"]["by_hand"], true);
    assert_eq!(numbers(at), [4, 3, 2]);
    refuse(&["expire", "1"], &["removed already"]);
    assert_eq!(ask(&["log", "--removed", "-n", "9"])["versions"][3]["number"], 1);
    assert_eq!(ask(&["undelete", "1"])["expired"], Value::Null);
    assert_eq!(numbers(at), [4, 3, 2, 1]);
    assert_eq!(ask(&["unpin", "3"])["pinned"], false);
    assert_eq!(ask(&["untag", "good"])["number"], 2);
    refuse(&["untag", "good"], &["'good'"]);
    ask(&["tag", "2", "good"]);
    ask(&["pin", "3"]);
    ask(&["expire", "1"]);
}

#[test]
fn versions_are_listed_and_changed_in_a_mount_in_its_store_and_after_a_kill() {
    let mount = quiet();
    let (exp, store) = (text(&mount.path("exp")), text(&mount.store()));
    for stamp in 1..=4 {
        let made = version(&mount, "exp", stamp);
        assert_eq!((&made["number"], &made["run"]), (&Value::from(stamp), &Value::from("exp")));
        assert_eq!((&made["complete"], &made["valid"]), (&Value::from(true), &Value::from(true)), "{made}");
        version(&mount, "other", stamp);
    }
    for stamp in 1..=4 {
        version(&mount, "killed", stamp);
    }
    versions_by_hand(&[&exp]);
    let newest = &json(&["log", &exp, "-n", "1"])["versions"][0];
    assert_eq!((&newest["step"], &newest["metrics"]["loss"]), (&Value::from(5), &Value::from(0.5)));
    assert_eq!(newest["kept_by"][0], "newest 1 of 10");
    assert!(newest["provenance"]["host"].is_string() && newest["utc"].is_string(), "{newest}");
    let table = shown(&["log", &exp]);
    assert!(table.lines().count() == 4 && table.contains("loss=0.5") && table.contains("good"), "{table}");
    // A path through the virtual directory names run and version.
    let through = text(&mount.path("exp/.snapshots/latest"));
    assert_bytes(&mount.path("exp/.snapshots/latest/epoch=1-step=5-loss=0.5.npy"), &npy(4));
    assert!(shown(&["expire", &through]).contains("version 000004 of exp"));
    assert_eq!(numbers(&[&exp]), [3, 2]);
    shown(&["undelete", &text(&mount.path("exp/.snapshots/000004"))]);
    assert_eq!(json(&["pin", &text(&mount.path("exp/.snapshots/good"))])["number"], 2);
    json(&["unpin", "2", &exp]);

    assert!(mount.unmount().status.success());
    refused(&["log", &store], 1, &["--run", "exp", "other", "killed"]);
    refused(&["log", &store, "--run", "exq"], 1, &["'exq'", "exp"]);
    versions_by_hand(&[&store, "--run", "other"]);
    assert_eq!(json(&["snapshot", &store, "--run", "other", "--tag", "cold"])["number"], 5);
    assert_eq!(numbers(&[&store, "--run", "exp"]), [4, 3, 2]);

    mount.mount();
    assert_eq!(numbers(&[&text(&mount.path("other"))]), [5, 4, 3, 2]);
    assert_bytes(&mount.path("other/epoch=1-step=5-loss=0.5.npy"), &npy(4));
    mount.kill();
    versions_by_hand(&[&text(&mount.path("killed"))]);
    versions_by_hand_is_visible_after(&mount);
    mount.no_faults();
}

#[track_caller]
fn versions_by_hand_is_visible_after(mount: &Mount) {
    mount.mount();
    assert_eq!(numbers(&[&text(&mount.path("killed"))]), [4, 3, 2]);
}

#[test]
fn looking_at_a_store_that_is_not_mounted_changes_nothing_in_it() {
    let mount = quiet();
    version(&mount, "exp", 1);
    // Closed, and in no version yet, when the daemon goes.
    fs::write(mount.path("exp/new.npy"), npy(2)).unwrap();
    mount.kill();
    let store = text(&mount.store());
    for _ in 0..2 {
        assert_eq!(numbers(&[&store]), [1]);
        json(&["run", "list", &store]);
        json(&["policy", "get", &store]);
        json(&["prune", "--dry-run", &store]);
    }
    shown(&["tag", "1", "kept", &store]);
    assert_eq!(numbers(&[&store]), [1], "a command makes no version but snapshot");
    mount.mount();
    assert_bytes(&mount.path("exp/new.npy"), &npy(2));
    mount.remount();
    assert_eq!(numbers(&[&text(&mount.path("exp"))]), [2, 1], "the mount makes it");
    mount.no_faults();
}

#[test]
fn root_does_not_open_the_store_of_somebody_else() {
    let mount = quiet();
    version(&mount, "exp", 1);
    assert!(mount.unmount().status.success());
    let format = mount.store().join("format");
    std::os::unix::fs::chown(&format, Some(NOBODY), None).unwrap();
    refused(&["log", &text(&mount.store())], 1, &["65534", "sudo -u"]);
    std::os::unix::fs::chown(&format, Some(0), None).unwrap();
    assert_eq!(numbers(&[&text(&mount.store())]), [1]);
}

#[test]
fn a_part_of_a_mount_that_is_bound_elsewhere_means_the_same_runs() {
    let mount = quiet();
    version(&mount, "exp", 1);
    let part = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let at = part.path().canonicalize().unwrap();
    rustix::mount::mount_bind(mount.path("exp"), &at).unwrap();
    let done = ckptfs(&["log", "--json", &text(&at)]);
    rustix::mount::unmount(&at, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(String::from_utf8_lossy(&done.stdout).starts_with("{\"run\":\"exp\""), "{}", said(&done));
}

#[test]
fn hot_files_elsewhere_are_found_by_a_command_that_was_not_told_where() {
    let hot = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = format!("hot={}", text(hot.path()));
    let mount = Mount::with(&["settle=1h", &place]);
    version(&mount, "exp", 1);
    fs::write(mount.path("exp/unsealed"), noise(1 << 20, 1)).unwrap();
    mount.kill();
    let store = text(&mount.store());
    assert_eq!(json(&["snapshot", &store])["number"], 2);
    mount.mount();
    assert_bytes(&mount.path("exp/unsealed"), &noise(1 << 20, 1));
    mount.no_faults();
}

#[test]
fn runs_are_added_listed_forgotten_and_purged() {
    let mount = quiet();
    let (root, store) = (text(&mount.root()), text(&mount.store()));
    assert_eq!(json(&["run", "list", &root]), Value::Array(Vec::new()));
    fs::create_dir_all(mount.path("hand/sub")).unwrap();
    let hand = text(&mount.path("hand"));
    refused(&["run", "add", &text(&mount.path("nowhere"))], 1, &["nowhere"]);
    assert_eq!(json(&["run", "add", &hand])["by_hand"], true);
    assert_eq!(version(&mount, "hand/sub", 1)["run"], "hand");
    version(&mount, "gone", 1);
    let tagged = json(&["snapshot", &text(&mount.path("gone")), "--tag", "paper"]);
    assert_eq!(tagged["tags"][0], "paper");
    refused(&["snapshot", &text(&mount.path("gone")), "--tag", "paper"], 1, &["'paper'", "untag"]);
    refused(&["snapshot", &text(&mount.path("gone")), "--tag", "7"], 1, &["'7'", "number"]);
    fs::remove_dir_all(mount.path("gone")).unwrap();
    let runs = json(&["run", "list", &root]);
    assert_eq!((&runs[0]["path"], &runs[1]["path"]), (&Value::from("gone"), &Value::from("hand")));
    assert_eq!((&runs[0]["versions"], &runs[0]["newest"]), (&Value::from(2), &Value::from(2)));
    assert!(runs[0]["deleted"].is_string() && runs[1]["deleted"].is_null(), "{runs}");
    assert!(shown(&["run", "list", &root]).contains("deleted 2"));
    let gone = text(&mount.path("gone"));
    assert_eq!(numbers(&[&gone]), [2, 1]);
    assert_eq!(numbers(&[&text(&mount.path(".snapshots/.runs/gone"))]), [2, 1]);
    refused(&["purge", &gone], 2, &["--yes"]);
    let purged = json(&["purge", &gone, "--yes"]);
    assert_eq!((&purged["gone"][0], &purged["kept"][0][0]), (&Value::from(1), &Value::from(2)));
    assert_eq!(numbers(&[&gone]), [2]);
    assert!(shown(&["run", "forget", &hand]).contains("1 version"));
    refused(&["snapshot", &hand], 1, &["forgotten", "ckptfs run add"]);
    refused(&["prune", &hand], 1, &["forgotten", "purge"]);

    assert!(mount.unmount().status.success());
    assert_eq!(json(&["run", "add", &store, "--run", "hand/sub"])["path"], "hand/sub");
    assert_eq!(json(&["run", "forget", &store, "--run", "hand/sub"])["forgotten"], true);
    json(&["purge", &store, "--run", "gone", "--all", "--yes"]);
    assert_eq!(numbers(&[&store, "--run", "gone"]), [0; 0]);
    mount.mount();
    assert_eq!(numbers(&[&hand]), [1], "a forgotten run keeps what it has");
    mount.no_faults();
}

#[test]
fn a_policy_is_set_for_a_run_and_for_the_mount_and_prune_does_it() {
    let mut mount = quiet();
    for stamp in 1..=4 {
        version(&mount, "exp", stamp);
    }
    let (exp, root, store) = (text(&mount.path("exp")), text(&mount.root()), text(&mount.store()));
    let value = |words: &[&str], name: &str| {
        let shown = json(words);
        let all = shown["settings"].as_array().unwrap().clone();
        let found = all.into_iter().find(|setting| setting["name"] == name).unwrap();
        (found["value"].as_str().unwrap().to_owned(), found["from"].as_str().unwrap().to_owned())
    };
    let pair = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(value(&["policy", "get", &exp], "max_to_keep"), pair("10", "default"));
    refused(&["policy", "set", &exp, "keep_best=2"], 1, &["keep_best", "monitor"]);
    json(&["policy", "set", &exp, "max_to_keep=2"]);
    json(&["policy", "set", "--default", &root, "incomplete_max=5", "max-to-keep=3"]);
    assert_eq!(value(&["policy", "get", &exp], "max_to_keep"), pair("2", "run"));
    assert_eq!(value(&["policy", "get", "--default", &root], "max_to_keep"), pair("3", "mount"));
    assert!(
        fs::read_to_string(mount.store().join("config.toml")).unwrap().contains("\nincomplete_max = \"5\"\n")
    );
    let plan = json(&["prune", &exp, "--dry-run"]);
    let stays = |plan: &Value| -> Vec<bool> {
        plan[0]["versions"].as_array().unwrap().iter().map(|one| one["stays"].as_bool().unwrap()).collect()
    };
    assert_eq!(stays(&plan), [true, true, false, false]);
    assert!(plan[0]["versions"][3]["goes"].as_str().unwrap().contains("newest 2"), "{plan}");
    assert_eq!(numbers(&[&exp]), [4, 3, 2, 1]);

    assert!(mount.unmount().status.success());
    assert_eq!(value(&["policy", "get", &store], "incomplete_max"), pair("5", "mount"));
    assert_eq!(json(&["policy", "set", &store, "max_to_keep=default"])["run"], "exp");
    assert_eq!(stays(&json(&["prune", &store, "--dry-run"])), [true, true, true, false]);
    assert_eq!(json(&["prune", "--all", &store])[0]["removed"], 1);
    assert_eq!(numbers(&[&store]), [4, 3, 2]);
    refused(&["undelete", "1", &store], 1, &["000001", "cannot come back"]);
    json(&["policy", "set", "--default", &store, "incomplete_max=default", "max_to_keep=2"]);
    mount.set_option("ro");
    mount.mount();
    assert_eq!(value(&["policy", "get", &exp], "max_to_keep"), pair("2", "mount"));
    assert_eq!(value(&["policy", "get", &exp], "incomplete_max"), pair("3", "default"));
    refused(&["prune", &exp], 1, &["read-only"]);
    assert!(shown(&["prune", &exp, "--dry-run"]).contains("1 of 3 would be removed"));
    mount.no_faults();
}

#[test]
fn stats_add_up_for_a_mount_and_for_its_store() {
    let mount = quiet();
    let (exp, root, store) = (text(&mount.path("exp")), text(&mount.root()), text(&mount.store()));
    for stamp in 1..=3 {
        version(&mount, "exp", stamp);
    }
    version(&mount, "other", 3);
    fs::write(mount.path("exp/notes.txt"), "loss 0.5\n".repeat(50_000)).unwrap();
    json(&["snapshot", &exp]);
    let adds_up = |stats: &Value| {
        let get = |name: &str| stats["saved"][format!("{name}_bytes")].as_i64().unwrap();
        let minus = ["holes", "dedup", "constant", "planes", "delta", "zstd", "other", "lost"];
        let plus = ["logical", "bases", "metadata", "headers", "garbage"];
        let sum = plus.map(get).iter().sum::<i64>() - minus.map(get).iter().sum::<i64>();
        assert_eq!(sum, get("packs"), "{stats}");
        assert!(get("zstd") > 400_000 && get("dedup") > 0, "{stats}");
        assert!(stats["disk"]["total_bytes"].as_i64().unwrap() > get("packs"), "{stats}");
    };
    let mounted = json(&["stats", &exp]);
    adds_up(&mounted);
    assert_eq!(mounted["run"], "exp");
    let newest = &mounted["versions"][0];
    assert_eq!((&newest["number"], mounted["versions"].as_array().unwrap().len()), (&Value::from(4), 4));
    assert!(newest["logical_bytes"].as_u64() > Some(400_000), "{newest}");
    let people = shown(&["stats", &exp]);
    for part in ["dedup", "zstd", "run exp", "WOULD FREE", "000004"] {
        assert!(people.contains(part), "{part} in {people}");
    }
    let all = json(&["stats", "--all", &root]);
    assert_eq!((&all["run"], &all["runs"][0]["path"]), (&Value::Null, &Value::from("exp")));
    assert_eq!(all["runs"][1]["path"], "other");
    assert_eq!(all["saved"], mounted["saved"]);

    assert!(mount.unmount().status.success());
    let cold = json(&["stats", &store]);
    adds_up(&cold);
    assert_eq!(
        (&cold["runs"], cold["saved"]["logical_bytes"].as_u64()),
        (&all["runs"], all["saved"]["logical_bytes"].as_u64())
    );
    assert_eq!(json(&["stats", &store, "--run", "exp"])["versions"], mounted["versions"]);
    refused(&["stats", &store, "--run", "exq"], 1, &["'exq'", "exp"]);
    mount.mount();
    mount.no_faults();
}
