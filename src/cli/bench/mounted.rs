//! A throw-away store and its mount, as `ckptfs mount` and `ckptfs unmount` make and end them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::failure::{Failure, Outcome};
use super::super::mount;
use crate::base::monitor::Silent;
use crate::base::mounts::{self, Detach, Mount};
use crate::base::{Error, IoContext};
use crate::control::Status;
use crate::control::client::Client;
use crate::engine::layout::Layout;

/// The store does not make room on a nearly full disk, where there is none to make, and does not look for damage meanwhile.
const COMMON: &str = "min_free=1MiB,scrub_rate=0";
/// How long a mount may stay busy: closes that are under way.
const BUSY_MAX: Duration = Duration::from_secs(10);
const BUSY_LOOK: Duration = Duration::from_millis(10);
/// How long a daemon may take to end.
const END_MAX: Duration = Duration::from_secs(120);
const END_LOOK: Duration = Duration::from_secs(1);

/// A store that is mounted.
pub(super) struct Mounted {
    pub(super) store: PathBuf,
    pub(super) mountpoint: PathBuf,
    /// The most memory that its daemons have had so far, those that have ended.
    peak_bytes: u64,
}

impl Mounted {
    /// Makes a store in the new folder `folder` and mounts it.
    pub(super) fn start(folder: &Path, options: &str) -> Outcome<Self> {
        let (store, mountpoint) = (folder.join("store"), folder.join("mnt"));
        fs::create_dir_all(&mountpoint).context("make folder", &mountpoint)?;
        let mounted = Mounted { store, mountpoint, peak_bytes: 0 };
        mounted.mount(options)?;
        Ok(mounted)
    }

    fn mount(&self, options: &str) -> Outcome {
        mount::start(&self.store, &self.mountpoint, &format!("{COMMON},{options}"))
    }

    /// Unmounts and mounts again: with an empty cache, and other options.
    pub(super) fn restart(&mut self, options: &str) -> Outcome {
        self.end()?;
        self.mount(options)
    }

    /// Unmounts; the daemon has ended then.
    pub(super) fn end(&mut self) -> Outcome {
        self.peak_bytes = self.peak_bytes()?;
        leave(&self.store, &self.mountpoint)
    }

    /// What its daemon says of itself.
    pub(super) fn status(&self) -> Outcome<Status> {
        Ok(self.client()?.status()?)
    }

    /// Gives back what deleted files have taken.
    pub(super) fn reclaim(&self) -> Outcome {
        Ok(self.client()?.reclaim(false, &Silent).map(drop)?)
    }

    /// The folder of packs.
    pub(super) fn packs(&self) -> PathBuf {
        Layout::new(&self.store).packs()
    }

    /// The most memory that its daemons have had so far.
    pub(super) fn peak_bytes(&self) -> Outcome<u64> {
        let path = PathBuf::from(format!("/proc/{}/status", self.status()?.pid));
        let text = fs::read_to_string(&path).context("read", &path)?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
        Ok(self.peak_bytes.max(kib.unwrap_or(0).saturating_mul(1024)))
    }

    fn client(&self) -> Outcome<Client> {
        Client::connect(&self.store)?.ok_or_else(|| {
            let at = self.mountpoint.display();
            Failure::Failed(format!(
                "the daemon of {at} has ended; was it killed, for example for its memory?"
            ))
        })
    }
}

/// Ends the mount of `store` at `mountpoint`, and returns when its daemon has ended.
fn leave(store: &Path, mountpoint: &Path) -> Outcome {
    let begun = Instant::now();
    let mut client = loop {
        let Some(mut client) = Client::connect(store)? else {
            return Ok(mounts::unmount(mountpoint, Detach::Lazily)?);
        };
        match client.unmount(false, &Silent) {
            Ok(()) => break client,
            Err(Error::Errno(libc::EBUSY)) if begun.elapsed() < BUSY_MAX => std::thread::sleep(BUSY_LOOK),
            Err(Error::Errno(libc::EBUSY)) => {
                mounts::unmount(mountpoint, Detach::Lazily)?;
                break client;
            }
            Err(error) => return Err(error.into()),
        }
    };
    while !client.wait_for_end(END_LOOK)? {
        if begun.elapsed() > END_MAX {
            let (at, log) = (mountpoint.display(), Layout::new(store).log());
            return Err(Failure::Failed(format!("the daemon of {at} does not end; see {}", log.display())));
        }
    }
    Ok(())
}

/// Ends every mount below `folder`, innermost first, whatever state it is in.
pub(super) fn leave_all_below(folder: &Path) -> Outcome {
    let below = |mount: &Mount| mount.mountpoint.starts_with(folder);
    for mount in mounts::table()?.iter().rev().filter(|mount| mount.is_ours() && below(mount)) {
        // Whatever a mount says of its source: no store elsewhere is asked to go.
        match mount.source.starts_with(folder) && !mount.is_dead() {
            true => leave(&mount.source, &mount.mountpoint)?,
            false => mounts::unmount(&mount.mountpoint, Detach::Lazily)?,
        }
    }
    match mounts::table()?.into_iter().find(below) {
        None => Ok(()),
        Some(mount) => Err(Failure::Failed(format!(
            "{} is still mounted; unmount it, and remove {} then: umount {0} && rm -r {1}",
            mount.mountpoint.display(),
            folder.display()
        ))),
    }
}
