//! Real processes with known working directories, asked about as the daemon asks.

use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use super::*;

const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn new(program: &str, arguments: &[&str], cwd: &Path) -> Self {
        let mut run = Command::new(program);
        run.args(arguments).current_dir(cwd).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        // What it prints tells that it runs its own program by now.
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A folder with a script that says a word and waits, and with a repository if asked for.
fn folder(with_git: bool) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("src")).unwrap();
    fs::write(root.join("src/train.sh"), "echo ready; read word\n").unwrap();
    if with_git {
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::write(root.join(".git/HEAD"), HASH).unwrap();
    }
    (dir, root)
}

#[test]
fn a_script_in_a_repository_is_told_with_its_commit() {
    let (_dir, root) = folder(true);
    let running = Running::new("sh", &["train.sh", "--key", "secret"], &root.join("src"));
    let found = of_process(running.0.id(), false, Path::new("/nowhere")).unwrap();
    assert_eq!(found.pid, running.0.id());
    assert_eq!(found.host, machine::host());
    assert_eq!(found.uid, rustix::process::geteuid().as_raw());
    assert!(found.program.starts_with('/'), "{}", found.program);
    assert_eq!(found.script.as_deref(), Some("train.sh"));
    assert_eq!(found.cwd.as_deref(), root.join("src").to_str());
    assert_eq!(found.git_commit.as_deref(), Some(HASH));
    assert_eq!((found.git_dirty, &found.git_branch, &found.args), (None, &None, &None));
    assert!(!serde_json::to_string(&found).unwrap().contains("secret"));
    let asked = of_process(running.0.id(), true, Path::new("/nowhere")).unwrap();
    assert_eq!(asked.args.unwrap(), ["sh", "train.sh", "--key", "secret"]);
}

#[test]
fn the_scripts_repository_counts_where_the_working_directory_has_none() {
    let (_dir, root) = folder(true);
    let (_elsewhere, cwd) = folder(false);
    let script = root.join("src/train.sh");
    let running = Running::new("sh", &[script.to_str().unwrap()], &cwd);
    let told = |not_below: &Path| of_process(running.0.id(), false, not_below).unwrap();
    assert_eq!(told(Path::new("/nowhere")).git_commit.as_deref(), Some(HASH));
    let inside = told(&root);
    assert_eq!((inside.git_commit, inside.script.as_deref()), (None, script.to_str()));
}

#[test]
fn a_working_directory_in_the_mount_is_named_but_not_searched() {
    let (_dir, root) = folder(true);
    let running = Running::new("sh", &["train.sh"], &root.join("src"));
    let found = of_process(running.0.id(), false, &root).unwrap();
    assert_eq!((found.cwd.as_deref(), found.git_commit), (root.join("src").to_str(), None));
    // The mount may also lie inside the repository.
    let found = of_process(running.0.id(), false, &root.join("src")).unwrap();
    assert_eq!(found.git_commit.as_deref(), Some(HASH));
}

#[test]
fn a_thread_is_told_as_its_process_and_nobody_as_none() {
    let thread = std::thread::spawn(|| {
        let id = u32::try_from(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        of_process(id, false, Path::new("/nowhere")).unwrap().pid
    });
    assert_eq!(thread.join().unwrap(), std::process::id());
    assert_eq!(of_process(0, false, Path::new("/nowhere")), None);
    assert_eq!(of_process(u32::MAX, false, Path::new("/nowhere")), None);
}

#[test]
fn a_process_without_its_executable_is_told_by_its_name() {
    assert!(!comm(Path::new("/proc/self")).is_empty());
    assert_eq!(arguments(b""), Vec::<String>::new());
    assert_eq!(arguments(b"a\0\0b\0"), ["a", "", "b"]);
    assert_eq!(arguments(b"one \xff"), ["one \u{fffd}"]);
}

#[test]
fn users_are_named_by_the_machines_own_list() {
    let passwd = b"root:x:0:0::/root:/bin/sh\n\n:x:5:\nbroken\nann:x:1000:1000:Ann:/home/ann:/bin/sh\n";
    assert_eq!(user_in(passwd, 1000).as_deref(), Some("ann"));
    assert_eq!((user_in(passwd, 5), user_in(passwd, 7)), (None, None));
    assert_eq!(user(4_000_000_123), "4000000123");
}

#[test]
fn records_of_other_versions_are_read() {
    let old: Provenance = serde_json::from_str(r#"{"host": "h", "later": [1]}"#).unwrap();
    assert_eq!(old, Provenance { host: "h".into(), ..Provenance::default() });
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        arguments(&bytes);
        user_in(&bytes, 0);
        field(&bytes, "Uid:", 1);
    }
}
