//! Who wrote a checkpoint: host, user, program, script, and the git commit of the code, read from /proc.
//!
//! Order: the process itself (text of /proc alone), then the repository above its working directory, else above its
//! script. Files are read only where a path of the process means the same to us (same mount namespace and root), and
//! never at or below a ckptfs mount. What cannot be told is `None`; only a process that is gone has no provenance.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::reach::Reach;
use super::{git, git_tree, script};
use crate::base::machine;

/// The command line is the user's to choose; more of it than this is not looked at.
const COMMAND_BYTES_MAX: u64 = 16 << 10;
const STATUS_BYTES_MAX: u64 = 16 << 10;
const PASSWD_BYTES_MAX: u64 = 1 << 20;
/// How long the work tree may be compared.
const COMPARE_TIME: Duration = Duration::from_millis(200);

/// Who wrote a save, and with which code.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The machine's name.
    pub host: String,
    /// The user's name, or the number where it has none.
    pub user: String,
    /// The user's number: the one that the process acts as.
    pub uid: u32,
    /// The process (not the thread).
    pub pid: u32,
    /// The executable's path, or the short name of a process whose executable is not shown.
    pub program: String,
    /// The script that an interpreter runs, as it was given; a module for `python -m`.
    pub script: Option<String>,
    /// All arguments, the program's name first; only when asked for, since they can hold secrets.
    pub args: Option<Vec<String>>,
    /// The working directory.
    pub cwd: Option<String>,
    /// The commit that is checked out, in hexadecimal.
    pub git_commit: Option<String>,
    /// Whether tracked files differ from that commit; `None` when that could not be told in time.
    pub git_dirty: Option<bool>,
    /// The branch that is checked out.
    pub git_branch: Option<String>,
}

/// The provenance of what process (or thread) `pid` writes now; `None` when there is no such process.
///
/// `not_below` is the mountpoint, absolute and without links: it is not touched. Takes some milliseconds, at most
/// about 200 on a local disk; meant for a thread that no request waits for.
pub fn of_process(pid: u32, with_args: bool, not_below: &Path) -> Option<Provenance> {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let status = read(&proc.join("status"), STATUS_BYTES_MAX)?;
    let uid = field(&status, "Uid:", 1).unwrap_or(0);
    let exe = fs::read_link(proc.join("exe")).ok();
    let program = match &exe {
        Some(path) => path.to_string_lossy().trim_end_matches(" (deleted)").to_owned(),
        None => comm(&proc),
    };
    let args = arguments(&read(&proc.join("cmdline"), COMMAND_BYTES_MAX).unwrap_or_default());
    let script = script::of(&program, &args);
    let cwd = fs::read_link(proc.join("cwd")).ok();
    let mut found = Provenance {
        host: machine::host(),
        user: user(uid),
        uid,
        pid: field(&status, "Tgid:", 0).unwrap_or(pid),
        program,
        args: with_args.then_some(args),
        cwd: cwd.as_ref().map(|path| path.to_string_lossy().into_owned()),
        script,
        ..Provenance::default()
    };
    if let Some(cwd) = cwd.filter(|_| shares_paths(&proc)) {
        add_git(&mut found, &cwd, &Reach::outside(not_below));
    }
    Some(found)
}

/// Notes what is checked out above the working directory, else above the script.
fn add_git(found: &mut Provenance, cwd: &Path, reach: &Reach) {
    let above_script = || {
        let script = cwd.join(found.script.as_ref()?);
        git::find(&git::resolve(cwd, script.parent()?.as_os_str().as_bytes()), reach)
    };
    let Some(repository) = git::find(cwd, reach).or_else(above_script) else { return };
    let head = repository.head(reach);
    if let Some(commit) = &head.commit {
        let deadline = Instant::now() + COMPARE_TIME;
        found.git_dirty = git_tree::is_dirty(&repository, commit.len() / 2, reach, deadline);
    }
    found.git_commit = head.commit;
    found.git_branch = head.branch;
}

/// Whether a path of the process is the same path for us.
fn shares_paths(proc: &Path) -> bool {
    let link = |path: PathBuf| fs::read_link(path).ok();
    let ours = Path::new("/proc/self");
    ["ns/mnt", "root"].iter().all(|name| {
        let theirs = link(proc.join(name));
        theirs.is_some() && theirs == link(ours.join(name))
    })
}

/// The short name of a process.
fn comm(proc: &Path) -> String {
    let text = read(&proc.join("comm"), STATUS_BYTES_MAX).unwrap_or_default();
    String::from_utf8_lossy(text.trim_ascii_end()).into_owned()
}

/// The first bytes of a file of /proc or /etc, which has no length to ask for.
fn read(path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(bytes_max).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Each argument ends with a zero byte.
fn arguments(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
}

/// The number at place `at` of a line of /proc/PID/status.
fn field(status: &[u8], name: &str, at: usize) -> Option<u32> {
    let text = String::from_utf8_lossy(status);
    text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace().nth(at)?.parse().ok()
}

/// The name of a user by /etc/passwd alone: asking the directory services of the machine could take for ever.
fn user(uid: u32) -> String {
    let text = read(Path::new("/etc/passwd"), PASSWD_BYTES_MAX).unwrap_or_default();
    user_in(&text, uid).unwrap_or_else(|| uid.to_string())
}

fn user_in(passwd: &[u8], uid: u32) -> Option<String> {
    let text = String::from_utf8_lossy(passwd);
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests;
