//! Work trees of plain files with an index made by hand, and, where git is installed, the same question put to it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::super::git::find;
use super::super::git_index::tests::encode;
use super::*;

const WRITTEN: &[u8] = b"\x002 0\n";

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

/// A work tree with `a.py`, `lib/b.py` and a link, and the index that git would have for it.
struct Made {
    _dir: tempfile::TempDir,
    root: PathBuf,
    entries: Vec<Entry>,
}

impl Made {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::create_dir_all(root.join(".git")).unwrap();
        fs::create_dir(root.join("lib")).unwrap();
        fs::write(root.join(".git/HEAD"), "ref: refs/heads/main").unwrap();
        fs::write(root.join("a.py"), "lr = 0.1\n").unwrap();
        fs::write(root.join("lib/b.py"), "b\n").unwrap();
        std::os::unix::fs::symlink("a.py", root.join("link")).unwrap();
        let mut made = Made { _dir: dir, root, entries: Vec::new() };
        made.entries = ["a.py", "lib/b.py", "link"].iter().map(|path| made.entry(path)).collect();
        made.write_index(Some(WRITTEN));
        made
    }

    fn entry(&self, path: &str) -> Entry {
        let at = self.root.join(path);
        let meta = at.symlink_metadata().unwrap();
        let bytes = if meta.is_symlink() {
            fs::read_link(&at).unwrap().into_os_string().into_encoded_bytes()
        } else {
            fs::read(&at).unwrap()
        };
        Entry {
            path: path.as_bytes().to_vec(),
            modified: (u32::try_from(meta.mtime()).unwrap(), u32::try_from(meta.mtime_nsec()).unwrap()),
            mode: if meta.is_symlink() { 0o120_000 } else { 0o100_644 },
            size: u32::try_from(meta.len()).unwrap(),
            id: sha1(&[format!("blob {}\0", bytes.len()).as_bytes(), &bytes]).to_vec(),
            ..Entry::default()
        }
    }

    fn write_index(&self, tree: Option<&[u8]>) {
        fs::write(self.root.join(".git/index"), encode(&self.entries, tree)).unwrap();
    }

    /// As if the index was written long after the files.
    fn age(&self) {
        let index = fs::File::options().write(true).open(self.root.join(".git/index")).unwrap();
        index.set_modified(std::time::SystemTime::now() + Duration::from_secs(100)).unwrap();
    }

    fn dirty(&self) -> Option<bool> {
        self.dirty_with(&Reach::outside(Path::new("/nowhere")), soon())
    }

    fn dirty_with(&self, reach: &Reach, deadline: Instant) -> Option<bool> {
        is_dirty(&find(&self.root, reach).unwrap(), SHA1_BYTES, reach, deadline)
    }
}

#[test]
fn an_untouched_tree_is_clean_and_each_kind_of_change_is_seen() {
    type Change = fn(&Path);
    let changes: &[(&str, Option<bool>, Change)] = &[
        ("nothing", Some(false), |_| {}),
        ("an untracked file", Some(false), |root| fs::write(root.join("new.py"), "x").unwrap()),
        ("another size", Some(true), |root| fs::write(root.join("a.py"), "lr = 0.25\n").unwrap()),
        ("another content of the same size", Some(true), |root| {
            fs::write(root.join("a.py"), "lr = 0.2\n").unwrap();
        }),
        ("the same content written again", Some(false), |root| {
            fs::write(root.join("a.py"), "lr = 0.1\n").unwrap();
        }),
        ("a file is gone", Some(true), |root| fs::remove_file(root.join("lib/b.py")).unwrap()),
        ("its folder is a file", Some(true), |root| {
            fs::remove_dir_all(root.join("lib")).unwrap();
            fs::write(root.join("lib"), "").unwrap();
        }),
        ("its folder is a link to the same", Some(true), |root| {
            fs::rename(root.join("lib"), root.join("lib2")).unwrap();
            std::os::unix::fs::symlink("lib2", root.join("lib")).unwrap();
        }),
        ("a file became a link", Some(true), |root| {
            fs::remove_file(root.join("a.py")).unwrap();
            std::os::unix::fs::symlink("lib/b.py1", root.join("a.py")).unwrap();
        }),
        ("a link leads elsewhere", Some(true), |root| {
            fs::remove_file(root.join("link")).unwrap();
            std::os::unix::fs::symlink("b.py", root.join("link")).unwrap();
        }),
        ("a link made again", Some(false), |root| {
            fs::remove_file(root.join("link")).unwrap();
            std::os::unix::fs::symlink("a.py", root.join("link")).unwrap();
        }),
    ];
    for aged in [false, true] {
        for (what, expected, change) in changes {
            let made = Made::new();
            if aged {
                made.age();
            }
            std::thread::sleep(Duration::from_millis(12));
            change(&made.root);
            assert_eq!(made.dirty(), *expected, "{what}, aged {aged}");
        }
    }
}

#[test]
fn what_the_index_says_of_itself_counts() {
    let mut made = Made::new();
    made.write_index(Some(b"\0-1 0\n"));
    assert_eq!(made.dirty(), None, "a change was added, or was added and taken back");
    made.write_index(None);
    assert_eq!(made.dirty(), None, "whether something was added is not told");
    made.entries[0].size = 0;
    made.write_index(Some(WRITTEN));
    assert_eq!(made.dirty(), Some(false), "size 0 asks for the content");
    made.entries[0].is_unsettled = true;
    made.write_index(Some(WRITTEN));
    assert_eq!(made.dirty(), Some(true), "a conflict");
    made.entries[0] = Entry { is_skipped: true, ..made.entry("a.py") };
    made.write_index(Some(WRITTEN));
    fs::remove_file(made.root.join("a.py")).unwrap();
    assert_eq!(made.dirty(), Some(false), "the user said not to look");
    fs::write(made.root.join(".git/index"), b"DIRC").unwrap();
    assert_eq!(made.dirty(), None, "no index");
}

#[test]
fn what_lies_below_the_mount_is_not_looked_at() {
    let made = Made::new();
    fs::write(made.root.join("lib/b.py"), "changed").unwrap();
    assert_eq!(made.dirty(), Some(true));
    let reach = Reach::outside(&made.root.join("lib"));
    assert_eq!(made.dirty_with(&reach, soon()), Some(false));
}

#[test]
fn an_answer_that_needs_more_than_its_bounds_is_none() {
    let mut made = Made::new();
    let reach = Reach::outside(Path::new("/nowhere"));
    assert_eq!(made.dirty_with(&reach, Instant::now()), None);
    let huge = fs::File::create(made.root.join("data.bin")).unwrap();
    huge.set_len(HASHED_BYTES_MAX + 1).unwrap();
    let size = u32::try_from(HASHED_BYTES_MAX + 1).unwrap();
    made.entries.push(Entry {
        path: b"data.bin".to_vec(),
        mode: 0o100_644,
        size,
        id: vec![0; 20],
        ..Entry::default()
    });
    made.write_index(Some(WRITTEN));
    assert_eq!(made.dirty(), None);
}

fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut run = Command::new("git");
    run.arg("-C").arg(root).args(["-c", "user.name=t", "-c", "user.email=t@example.org"]).args(arguments);
    run.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    // A hook that runs the tests would lead git to its own repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR"] {
        run.env_remove(name);
    }
    let done = run.output().ok()?;
    assert!(done.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    Some(String::from_utf8(done.stdout).unwrap().trim().to_owned())
}

/// What git says and what we say, after each of the commands.
#[test]
fn git_itself_agrees() {
    for version in ["2", "3", "4"] {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        if git(&root, &["init", "-q", "-b", "main"]).is_none() {
            return;
        }
        git(&root, &["config", "index.version", version]);
        let reach = Reach::outside(Path::new("/nowhere"));
        // An index that says only that something was added to it since the last commit or checkout.
        let unsure = ["added", "removed", "reset of the index", "popped"];
        let agree = |what: &str| {
            let repository = find(&root.join("src"), &reach).unwrap();
            let head = repository.head(&reach);
            assert_eq!(head.commit, git(&root, &["rev-parse", "HEAD"]), "{what}");
            // Without the option, the question itself would write the index.
            let changes = git(&root, &["--no-optional-locks", "status", "--porcelain", "-uno"]).unwrap();
            let ours = is_dirty(&repository, SHA1_BYTES, &reach, soon());
            if ours.is_some() || !unsure.contains(&what) {
                assert_eq!(ours, Some(!changes.is_empty()), "version {version}, {what}: {changes}");
            }
            head.branch
        };
        fs::create_dir(root.join("src")).unwrap();
        for number in 0..30 {
            fs::write(root.join(format!("src/module_{number}.py")), format!("x = {number}\n")).unwrap();
        }
        fs::write(root.join("train.py"), "lr = 0.1\n").unwrap();
        std::os::unix::fs::symlink("train.py", root.join("main.py")).unwrap();
        git(&root, &["add", "."]);
        git(&root, &["commit", "-qm", "one"]);
        assert_eq!(agree("committed").as_deref(), Some("main"));
        fs::write(root.join("train.py"), "lr = 0.2\n").unwrap();
        agree("same size edited");
        git(&root, &["add", "train.py"]);
        agree("added");
        git(&root, &["commit", "-qm", "two"]);
        agree("committed again");
        fs::write(root.join("src/module_3.py"), "x = 3\n").unwrap();
        agree("written again as it was");
        git(&root, &["rm", "-q", "src/module_4.py"]);
        agree("removed");
        git(&root, &["reset", "-q", "--hard"]);
        agree("reset");
        fs::write(root.join("new.py"), "n\n").unwrap();
        agree("untracked");
        git(&root, &["add", "-N", "new.py"]);
        agree("intent to add");
        git(&root, &["reset", "-q"]);
        agree("reset of the index");
        git(&root, &["pack-refs", "--all"]);
        git(&root, &["checkout", "-q", "-b", "topic/x", "HEAD~1"]);
        assert_eq!(agree("another branch").as_deref(), Some("topic/x"));
        git(&root, &["checkout", "-q", "--detach", "main"]);
        assert_eq!(agree("no branch"), None);
        fs::write(root.join("train.py"), "lr = 0.3\n").unwrap();
        git(&root, &["stash", "-q"]);
        agree("stashed");
        git(&root, &["stash", "pop", "-q"]);
        agree("popped");
    }
}
