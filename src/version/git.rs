//! Finds the git repository above a folder and reads what is checked out, without running git.
//!
//! Formats: gitrepository-layout(5). `.git` is a directory, or a file that says where it is (linked work trees,
//! submodules). `HEAD` holds a hash or names a reference, which lies in a file of its own or in `packed-refs`. Any bytes
//! in these files give an answer or `None`; sizes and the number of steps are bounded.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::reach::Reach;

/// Folders looked at on the way up.
const LEVELS_MAX: usize = 64;
/// References that name references.
const STEPS_MAX: usize = 5;
/// A file that holds one line.
const LINE_BYTES_MAX: u64 = 4096;
const PACKED_BYTES_MAX: u64 = 16 << 20;

/// A repository with a work tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repository {
    /// The folder in which `.git` lies.
    pub(super) work_tree: PathBuf,
    /// Where `HEAD` and `index` of this work tree are.
    pub(super) own: PathBuf,
    /// Where the references of all its work trees are.
    common: PathBuf,
}

/// What is checked out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The commit's hash in hexadecimal; `None` before the first commit, or where references are stored otherwise.
    pub(super) commit: Option<String>,
    /// The branch, `None` when a commit is checked out by itself.
    pub(super) branch: Option<String>,
}

/// The repository whose work tree holds `start`.
pub(super) fn find(start: &Path, reach: &Reach) -> Option<Repository> {
    start.ancestors().take(LEVELS_MAX).find_map(|folder| {
        let dot_git = folder.join(".git");
        let own = match line(&dot_git, reach) {
            Some(text) => resolve(folder, text.strip_prefix(b"gitdir:")?.trim_ascii_start()),
            None => dot_git,
        };
        line(&own.join("HEAD"), reach)?;
        let common =
            line(&own.join("commondir"), reach).map_or_else(|| own.clone(), |text| resolve(&own, &text));
        Some(Repository { work_tree: folder.to_owned(), own, common })
    })
}

impl Repository {
    /// What is checked out.
    pub(super) fn head(&self, reach: &Reach) -> Head {
        let mut head = Head::default();
        let mut text = line(&self.own.join("HEAD"), reach);
        for _ in 0..STEPS_MAX {
            let Some(name) =
                text.as_deref().and_then(|text| text.strip_prefix(b"ref:")).map(<[u8]>::trim_ascii)
            else {
                break;
            };
            if !is_reference(name) {
                return head;
            }
            if let Some(branch) = name.strip_prefix(b"refs/heads/").filter(|branch| *branch != b".invalid") {
                head.branch.get_or_insert_with(|| String::from_utf8_lossy(branch).into_owned());
            }
            text = self.reference(name, reach);
        }
        head.commit =
            text.filter(|text| is_hash(text)).map(|text| String::from_utf8_lossy(&text).into_owned());
        head
    }

    /// What the reference `name` holds.
    fn reference(&self, name: &[u8], reach: &Reach) -> Option<Vec<u8>> {
        let path = OsStr::from_bytes(name);
        line(&self.own.join(path), reach)
            .or_else(|| line(&self.common.join(path), reach))
            .or_else(|| packed(&reach.read(&self.common.join("packed-refs"), PACKED_BYTES_MAX)?.bytes, name))
    }
}

/// The hash of `name` in the text of `packed-refs`: lines of `HASH NAME`; `#` and `^` begin others.
fn packed(text: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    text.split(|byte| *byte == b'\n').find_map(|line| {
        let (hash, rest) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
        (rest.strip_prefix(b" ")?.trim_ascii_end() == name && is_hash(hash)).then(|| hash.to_vec())
    })
}

/// SHA-1 or SHA-256 in hexadecimal.
fn is_hash(text: &[u8]) -> bool {
    matches!(text.len(), 40 | 64) && text.iter().all(u8::is_ascii_hexdigit)
}

/// A name that stays below the repository.
fn is_reference(name: &[u8]) -> bool {
    let plain = |part: &[u8]| !part.is_empty() && part != b"." && part != b"..";
    name.split(|byte| *byte == b'/').all(plain) && !name.contains(&0)
}

/// The only line of a small file.
fn line(path: &Path, reach: &Reach) -> Option<Vec<u8>> {
    let text = reach.read(path, LINE_BYTES_MAX)?.bytes;
    Some(text.trim_ascii_end().to_vec())
}

/// `text` as a path from `base`, with `.` and `..` taken out: nothing on the way is a symbolic link, or it is not read.
pub(super) fn resolve(base: &Path, text: &[u8]) -> PathBuf {
    let mut out = PathBuf::new();
    for part in base.join(OsStr::from_bytes(text)).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => _ = out.pop(),
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A repository of plain files; and what may be read.
    fn made(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf, Reach) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        (dir, root, Reach::outside(Path::new("/nowhere")))
    }

    fn head(commit: Option<&str>, branch: Option<&str>) -> Option<Head> {
        Some(Head { commit: commit.map(str::to_owned), branch: branch.map(str::to_owned) })
    }

    fn head_above(start: &Path, reach: &Reach) -> Option<Head> {
        find(start, reach).map(|repository| repository.head(reach))
    }

    #[test]
    fn a_branch_is_read_from_its_file_or_from_the_packed_ones() {
        let (_dir, root, reach) = made(&[
            (".git/HEAD", "ref: refs/heads/feature/x\n"),
            (".git/refs/heads/feature/x", &format!("{HASH}\n")),
            ("src/train/a.py", ""),
        ]);
        assert_eq!(head_above(&root.join("src/train"), &reach), head(Some(HASH), Some("feature/x")));
        fs::remove_file(root.join(".git/refs/heads/feature/x")).unwrap();
        assert_eq!(head_above(&root, &reach), head(None, Some("feature/x")));
        let other = HASH.replace('0', "f");
        let text = format!(
            "# pack-refs with: peeled\n{other} refs/heads/feature/xy\n^{other}\n{HASH} refs/heads/feature/x\n"
        );
        fs::write(root.join(".git/packed-refs"), text).unwrap();
        assert_eq!(head_above(&root, &reach), head(Some(HASH), Some("feature/x")));
    }

    #[test]
    fn a_commit_checked_out_by_itself_has_no_branch() {
        let (_dir, root, reach) = made(&[(".git/HEAD", &format!("{HASH}\n"))]);
        assert_eq!(head_above(&root, &reach), head(Some(HASH), None));
    }

    #[test]
    fn linked_work_trees_and_submodules_are_followed() {
        let (_dir, root, reach) = made(&[
            ("main/.git/HEAD", "ref: refs/heads/main\n"),
            ("main/.git/refs/heads/topic", HASH),
            ("main/.git/worktrees/wt/HEAD", "ref: refs/heads/topic\n"),
            ("main/.git/worktrees/wt/commondir", "../..\n"),
            ("main/.git/modules/sub/HEAD", HASH),
            ("main/sub/.git", "gitdir: ../.git/modules/sub\n"),
        ]);
        fs::create_dir(root.join("wt")).unwrap();
        let pointer = format!("gitdir: {}\n", root.join("main/.git/worktrees/wt").display());
        fs::write(root.join("wt/.git"), pointer).unwrap();
        assert_eq!(head_above(&root.join("wt"), &reach), head(Some(HASH), Some("topic")));
        assert_eq!(head_above(&root.join("main/sub"), &reach), head(Some(HASH), None));
    }

    #[test]
    fn a_repository_inside_the_mount_is_never_looked_at_but_one_around_it_is() {
        let (_dir, root, _) =
            made(&[(".git/HEAD", HASH), ("mnt/.git/HEAD", "ref: refs/heads/inner"), ("mnt/run/x", "")]);
        let reach = Reach::outside(&root.join("mnt"));
        assert_eq!(find(&root.join("mnt/run"), &reach).unwrap().work_tree, root);
        assert_eq!(head_above(&root.join("mnt/run"), &reach), head(Some(HASH), None));
        fs::write(root.join(".git/HEAD"), "ref: refs/heads/main").unwrap();
        fs::create_dir_all(root.join(".git/refs/heads")).unwrap();
        std::os::unix::fs::symlink(root.join("mnt/run/x"), root.join(".git/refs/heads/main")).unwrap();
        assert_eq!(head_above(&root, &reach), head(None, Some("main")));
    }

    #[test]
    fn what_leads_nowhere_or_in_circles_ends() {
        let (_dir, root, reach) = made(&[
            ("a/.git/HEAD", "ref: refs/heads/loop"),
            ("a/.git/refs/heads/loop", "ref: refs/heads/loop"),
            ("b/.git/HEAD", "ref: ../../a/.git/HEAD"),
            ("c/.git/HEAD", "not a hash"),
            ("d/.git/HEAD", "ref: refs/heads/.invalid"),
            ("e/.git", "gitdir: ../missing"),
            ("f/.git/config", ""),
        ]);
        assert_eq!(head_above(&root.join("a"), &reach), head(None, Some("loop")));
        for name in ["b", "c", "d"] {
            assert_eq!(head_above(&root.join(name), &reach), head(None, None), "{name}");
        }
        assert_eq!(find(&root.join("e"), &reach), None);
        assert_eq!(find(&root.join("f"), &reach), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_in_its_files_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            packed(&bytes, b"refs/heads/main");
            let (_dir, root, reach) = made(&[("r/.git/HEAD", ""), ("w/x", "")]);
            fs::write(root.join("r/.git/HEAD"), &bytes).unwrap();
            fs::write(root.join("w/.git"), [b"gitdir: ", &bytes[..]].concat()).unwrap();
            head_above(&root.join("r"), &reach);
            head_above(&root.join("w"), &reach);
        }
    }
}
