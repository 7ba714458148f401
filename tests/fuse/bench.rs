//! `ckptfs bench` measures every row on a real disk, and leaves nothing behind, however it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::*;

const QUICK: [&str; 5] = ["--size", "4MiB", "--rounds", "1", "--json"];

/// A folder of the disk that everybody may write to.
fn disk() -> TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    dir
}

fn bench(path: &Path, args: &[&str]) -> Output {
    ckptfs(&[&["bench", text(path)], args].concat())
}

/// Begins to measure, and returns once something is mounted.
fn begin(path: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ckptfs"));
    command.args(["bench", text(path)]).args(QUICK).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    eventually("something is mounted", || is_mounted_below(path));
    child
}

fn signal(child: &Child, signal: i32) {
    // SAFETY: plain integers; the process is the child that this test has started and not waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn is_mounted_below(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").unwrap().contains(text(path))
}

/// Nothing is in `path`, nothing is mounted there, and no daemon works for it.
#[track_caller]
fn nothing_is_left(path: &Path) {
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    assert!(!is_mounted_below(path));
    eventually("its daemons have ended", || !has_process(text(path)));
}

/// Whether the command line of a process names `path`.
fn has_process(path: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes
        .map(|one| fs::read(one.path().join("cmdline")).unwrap_or_default())
        .any(|line| String::from_utf8_lossy(&line).contains(path))
}

#[track_caller]
fn json(done: &Output) -> Value {
    assert!(done.status.success(), "{}", said(done));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// `what side` of each row.
fn rows(report: &Value) -> Vec<String> {
    let rows = report["rows"].as_array().unwrap();
    rows.iter().map(|row| format!("{} {}", row["what"], row["side"]).replace('"', "")).collect()
}

#[test]
fn every_row_is_measured_and_the_folder_is_as_it_was() {
    let dir = disk();
    let report = json(&bench(dir.path(), &QUICK));
    nothing_is_left(dir.path());
    let mut wanted = Vec::new();
    let three = ["native", "passthrough", "daemon"];
    for (what, sides) in [
        ("save", &three[..]),
        ("save_fsync", &three),
        ("save_while_sealing", &three[..2]),
        ("savers_4", &three),
        ("read_hot", &three),
        ("read_cold", &three[..2]),
        ("first_byte", &three[..2]),
        ("small_files", &three),
        ("seal", &three[1..2]),
        ("seal_rate", &three[1..2]),
        ("stored", &three[1..2]),
        ("peak_memory", &three[1..]),
    ] {
        wanted.extend(sides.iter().map(|side| format!("{what} {side}")));
    }
    assert_eq!(rows(&report), wanted);
    for row in report["rows"].as_array().unwrap() {
        let value = |name: &str| row[name].as_f64().unwrap();
        assert!(
            value("least") > 0.0 && value("least") <= value("median") && value("median") <= value("most")
        );
        let has_native = wanted.contains(&format!("{} native", row["what"]).replace('"', ""));
        assert_eq!(row["of_native"].is_number(), has_native && row["side"] != "native", "{row}");
    }
    let stored = report["rows"].as_array().unwrap().iter().find(|row| row["what"] == "stored").unwrap();
    let stored = stored["median"].as_f64().unwrap();
    assert!((0.75..0.95).contains(&stored), "floats lose their exponents and keep the rest: {stored}");
    let head = (&report["size_bytes"], &report["rounds"], &report["passthrough"]["on"]);
    assert_eq!(head, (&Value::from(4 << 20), &Value::from(1), &Value::from(true)));
    assert_eq!(report["path"], text(dir.path()));
}

#[test]
fn an_ordinary_user_gets_the_rows_without_passthrough_and_is_told_why() {
    let dir = disk();
    let done = as_nobody(|| bench(dir.path(), &QUICK));
    nothing_is_left(dir.path());
    if !done.status.success() {
        // Only what the machine lacks may stand in the way.
        assert!(said(&done).contains("fusermount3") || said(&done).contains("/dev/fuse"), "{}", said(&done));
        return;
    }
    let report = json(&done);
    assert!(rows(&report).iter().all(|row| !row.contains("passthrough")));
    assert!(rows(&report).contains(&"seal daemon".to_owned()));
    let why = report["passthrough"]["why"].as_str().unwrap();
    assert!(report["passthrough"]["on"] == false && why.contains("CAP_SYS_ADMIN"), "{why}");
}

#[test]
fn ctrl_c_in_the_middle_leaves_nothing() {
    let dir = disk();
    let child = begin(dir.path());
    signal(&child, libc::SIGINT);
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), done.stdout.len()), (Some(1), 0));
    assert!(said(&done).contains("stopped by a signal"), "{}", said(&done));
    nothing_is_left(dir.path());
}

#[test]
fn what_a_killed_run_has_left_is_named_and_removed_on_demand() {
    let dir = disk();
    let mut child = begin(dir.path());
    let clean = || bench(dir.path(), &["--clean"]);
    assert!(String::from_utf8_lossy(&clean().stdout).contains("nothing was left"), "that one is at work");
    signal(&child, libc::SIGKILL);
    child.wait().unwrap();
    let left = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    let next = bench(dir.path(), &QUICK);
    json(&next);
    assert!(said(&next).contains(text(&left)) && said(&next).contains("bench --clean"), "{}", said(&next));
    assert!(left.exists(), "only on demand");
    let cleaned = clean();
    assert!(String::from_utf8_lossy(&cleaned.stdout).contains(text(&left)), "{}", said(&cleaned));
    nothing_is_left(dir.path());
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_made() {
    let dir = disk();
    #[track_caller]
    fn refused(done: &Output, code: i32, part: &str) {
        let said = said(done);
        assert_eq!((done.status.code(), done.stdout.len()), (Some(code), 0), "{said}");
        assert!(said.starts_with("ckptfs: ") && said.trim_end().lines().count() == 1, "{said}");
        assert!(said.contains(part), "{part:?} in {said:?}");
    }
    fs::write(dir.path().join("file"), b"x").unwrap();
    refused(&bench(&dir.path().join("file"), &[]), 1, "not a directory");
    refused(&bench(&dir.path().join("none"), &[]), 1, "none: No such file");
    fs::remove_file(dir.path().join("file")).unwrap();
    refused(&bench(dir.path(), &["--size", "900TiB"]), 1, "of free disk");
    refused(&bench(dir.path(), &["--size", "1MiB"]), 2, "4MiB");
    refused(&bench(dir.path(), &["--size", "much"]), 2, "'much'");
    refused(&bench(dir.path(), &["--rounds", "0"]), 2, "--rounds");
    nothing_is_left(dir.path());
    let mount = Mount::new("on");
    refused(&bench(&mount.root(), &[]), 1, "in a ckptfs mount");
}
