//! One daemon a store: an flock on `lock`, whose content names the holder.
//!
//! Invariant: whoever holds the flock owns every file of the store. The content is written after the lock is taken, is
//! only for people, and locks nothing: a killed daemon leaves it behind, and the kernel has freed its lock. Order: open,
//! lock, tell who left it behind, write the holder; at the end say that it was closed, then free it. A daemon that is
//! just ending is waited for; one that stays is named.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::base::mounts::Mount;
use crate::base::{Error, IoContext, Result, machine, mounts, namespaces, private};

/// A holder's description beyond this is not ours.
const HOLDER_BYTES_MAX: u64 = 64 << 10;
/// How long a holder without a mount (just ending, or just starting) is waited for.
const ENDING_WAIT: Duration = Duration::from_secs(10);
/// How long any holder is waited for: `status` and `unmount` take the lock for an instant to look.
const GLANCE_WAIT: Duration = Duration::from_millis(300);
const POLL: Duration = Duration::from_millis(20);

/// Who holds a store: the content of its `lock` file, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The host's name.
    pub host: String,
    /// The daemon's process id on that host.
    pub pid: u32,
    /// Where the store is mounted; empty for a command on a store that is not mounted.
    pub mountpoint: PathBuf,
    /// When it was locked, RFC 3339 UTC.
    pub since: String,
    /// It has freed the lock by itself; a daemon that was killed has not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl Holder {
    /// This process, about to mount at `mountpoint`, now.
    pub fn this_process(mountpoint: &Path) -> Self {
        Holder {
            host: machine::host(),
            pid: std::process::id(),
            mountpoint: mountpoint.to_owned(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            closed: false,
        }
    }
}

/// The lock of a store; freed when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct StoreLock {
    file: File,
    holder: Holder,
    left_by: Option<Holder>,
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        let holder = Holder { closed: true, ..self.holder.clone() };
        if let Err(error) = describe(&self.file, &holder, Path::new("lock")) {
            // The next one takes this for a killed daemon, and opens the store as it would anyway.
            tracing::debug!("cannot say that the store is closed: {error}");
        }
    }
}

impl StoreLock {
    /// Takes the lock file at `path` for `holder`. [`Error::Refused`] names who has it and how to end that.
    pub fn acquire(path: &Path, holder: Holder) -> Result<Self> {
        let file = private::open_or_create(path, File::options().read(true).write(true))?;
        let start = Instant::now();
        while !try_lock(&file, path)? {
            let other = read_holder(path);
            if start.elapsed() > patience(other.as_ref()) {
                return Err(in_use(path, other));
            }
            std::thread::sleep(POLL);
        }
        let left_by = read_holder(path).filter(|holder| !holder.closed);
        if let Some(left) = &left_by {
            tracing::warn!("{}", explain_left(path, left));
        }
        describe(&file, &holder, path)?;
        Ok(StoreLock { file, holder, left_by })
    }

    /// Who had the store last and ended without closing it: killed, or its machine went down.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }

    /// What the lock file says.
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

/// Who holds the lock at `path` now; `None` when nobody does. Takes the lock for an instant to know.
pub fn held_by(path: &Path) -> Result<Option<Option<Holder>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file.context("open", path)?,
    };
    Ok(if try_lock(&file, path)? { None } else { Some(read_holder(path)) })
}

/// Refuses, with the holder's name, a store whose holder has it mounted: so that a mount can say so before it begins.
pub fn refuse_mounted(path: &Path) -> Result<()> {
    match held_by(path)? {
        Some(holder) if patience(holder.as_ref()) == GLANCE_WAIT => Err(in_use(path, holder)),
        _ => Ok(()),
    }
}

/// Refuses, with the holder's name, a store that anybody holds.
pub fn refuse_held(path: &Path) -> Result<()> {
    held_by(path)?.map_or(Ok(()), |holder| Err(in_use(path, holder)))
}

/// Writes `holder` into the lock `file`, whose `path` is for the message.
fn describe(file: &File, holder: &Holder, path: &Path) -> Result<()> {
    let text = serde_json::to_string(holder).map_err(std::io::Error::from).context("describe", path)? + "\n";
    file.set_len(0).context("truncate", path)?;
    file.write_all_at(text.as_bytes(), 0).context("write", path)
}

fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).context("lock", path),
    }
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = String::new();
    File::open(path).ok()?.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// A holder that is mounted stays; one of another host cannot be looked at.
fn patience(holder: Option<&Holder>) -> Duration {
    let leaving = holder.is_some_and(|holder| holder.host == machine::host() && is_gone(&holder.mountpoint));
    if leaving { ENDING_WAIT } else { GLANCE_WAIT }
}

/// What a lock that nobody holds any more tells.
fn explain_left(path: &Path, left: &Holder) -> String {
    let Holder { host, pid, since, .. } = left;
    let store = path.parent().unwrap_or(path).display();
    let told =
        format!("store {store} was not closed by pid {pid} on host {host}, which opened it at {since}");
    if *host == machine::host() {
        return format!("{told}; that process has ended, and what it left is recovered");
    }
    format!(
        "{told}; it holds no lock any more, so what it left is recovered; if it still runs, this disk does not pass locks on \
         between hosts: stop one of the two at once"
    )
}

/// Whether no mount of ours is seen at `mountpoint` from here.
fn is_gone(mountpoint: &Path) -> bool {
    mounts::table()
        .is_ok_and(|table| !table.iter().any(|mount| mount.is_ours() && mount.mountpoint == mountpoint))
}

fn in_use(path: &Path, holder: Option<Holder>) -> Error {
    let store = path.parent().unwrap_or(path).display();
    Error::Refused(match holder {
        Some(Holder { host, pid, mountpoint, .. }) if mountpoint.as_os_str().is_empty() => format!(
            "store {store} is in use by a ckptfs command, pid {pid} on host {host}; try again when it has ended"
        ),
        Some(Holder { host, pid, mountpoint, .. }) if host == machine::host() && is_gone(&mountpoint) => {
            let at = mountpoint.display();
            let is_it = |mount: &Mount| mount.is_ours() && mount.mountpoint == mountpoint;
            match namespaces::holders(is_it).as_slice() {
                [] => format!(
                    "store {store} is in use by pid {pid} on host {host}, which opens or closes it for {at}; try again in a moment"
                ),
                others => format!(
                    "store {store} is in use by pid {pid} on host {host}; the mount at {at} is gone from here, but {}",
                    namespaces::explain(others)
                ),
            }
        }
        Some(Holder { host, pid, mountpoint, .. }) => {
            let (at, there) = (mountpoint.display(), if host == machine::host() { "" } else { " there" });
            format!(
                "store {store} is in use by pid {pid} on host {host}, mounted at {at}; unmount it{there} with: ckptfs unmount {at}"
            )
        }
        None => format!(
            "store {store} is in use by an unnamed process; find it with: fuser -v {}",
            path.display()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder_elsewhere() -> Holder {
        Holder {
            host: "other-host".into(),
            pid: 42,
            mountpoint: "/mnt/runs".into(),
            since: "then".into(),
            closed: false,
        }
    }

    #[test]
    fn a_second_opener_hears_who_has_it_and_how_to_end_that() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = StoreLock::acquire(&path, holder_elsewhere()).unwrap();
        let said = StoreLock::acquire(&path, Holder::this_process(Path::new("/x"))).unwrap_err().to_string();
        for part in ["pid 42", "other-host", "mounted at /mnt/runs;", "there with: ckptfs unmount /mnt/runs"]
        {
            assert!(said.contains(part), "{said}");
        }
        assert_eq!(held_by(&path).unwrap(), Some(Some(holder_elsewhere())));
        drop(lock);
        assert_eq!(held_by(&path).unwrap(), None);
        StoreLock::acquire(&path, Holder::this_process(Path::new("/y"))).unwrap();
    }

    #[test]
    fn a_holder_that_is_ending_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let lock = StoreLock::acquire(&path, Holder::this_process(Path::new("/not/mounted"))).unwrap();
        let ending = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(600));
            drop(lock);
        });
        StoreLock::acquire(&path, Holder::this_process(Path::new("/y"))).unwrap();
        ending.join().unwrap();
    }

    #[test]
    fn what_a_killed_daemon_or_a_torn_write_left_does_not_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        std::fs::write(&path, b"{\"host\":\"h\",\"pi\xff").unwrap();
        assert_eq!(held_by(&path).unwrap(), None);
        let lock = StoreLock::acquire(&path, holder_elsewhere()).unwrap();
        std::fs::write(&path, b"").unwrap();
        assert!(StoreLock::acquire(&path, holder_elsewhere()).unwrap_err().to_string().contains("in use"));
        drop(lock);
    }

    #[test]
    fn a_lock_left_behind_names_who_did_not_close_the_store_and_one_that_was_closed_names_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let here = Holder::this_process(Path::new("/x"));
        for left in [holder_elsewhere(), here.clone()] {
            std::fs::write(&path, serde_json::to_string(&left).unwrap()).unwrap();
            let lock = StoreLock::acquire(&path, here.clone()).unwrap();
            assert_eq!(lock.left_by(), Some(&left));
            let said = explain_left(&path, &left);
            assert!(said.contains(&format!("pid {} on host {}", left.pid, left.host)), "{said}");
            assert_eq!(said.contains("stop one of the two"), left.host == "other-host", "{said}");
            drop(lock);
            assert!(std::fs::read_to_string(&path).unwrap().ends_with("\"closed\":true}\n"));
            assert_eq!(StoreLock::acquire(&path, here.clone()).unwrap().left_by(), None);
        }
    }
}
