//! Mounting, and serving until the mount is gone.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{BackingId, Session, SessionUnmounter};
use parking_lot::Mutex;
use rustix::mount::{UnmountFlags, unmount};

use super::backing::Backings;
use super::core::Core;
use super::dirs::OpenDirs;
use super::filesystem::Ckptfs;
use super::mount;
use super::notify;
use super::requests::Requests;
use super::slow::SlowLane;
use crate::base::{Error, IoContext, Result};
use crate::engine::Engine;
use crate::engine::history::browse::Browser;

/// Read-ahead of the mount in KiB; the kernel's default of 128 starves a reader of sealed chunks.
const READ_AHEAD_KIB: u32 = 2048;

/// Whether to hand hot files to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Where it is to be had.
    Auto,
    /// Or do not mount.
    On,
    /// Never.
    Off,
}

/// What to mount, where, how.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// The directory to mount over.
    pub mountpoint: PathBuf,
    /// What `mount` and `df` show as the device.
    pub name: String,
    /// Users other than the mounting one may enter.
    pub allow_other: bool,
    /// Refuse all changes.
    pub read_only: bool,
    /// Honour set-user-id bits.
    pub suid: bool,
    /// Honour device nodes.
    pub dev: bool,
    /// Refuse to run programs.
    pub noexec: bool,
    /// Whether to use passthrough.
    pub passthrough: Passthrough,
}

/// A mounted filesystem that is not served yet.
pub struct Mounted {
    session: Session<Ckptfs>,
    unmounter: Unmounter,
    /// What the kernel has asked for.
    pub requests: Arc<Requests>,
    /// Why passthrough is off, if it is.
    pub no_passthrough: Option<String>,
}

impl std::fmt::Debug for Mounted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mounted").field("mountpoint", &self.unmounter.mountpoint).finish_non_exhaustive()
    }
}

/// Ends a mount from any thread.
#[derive(Clone, Debug)]
pub struct Unmounter {
    inner: Arc<Mutex<SessionUnmounter>>,
    mountpoint: PathBuf,
}

impl Unmounter {
    /// Unmounts; the serving thread then returns. A mount that is in use is left alone with `EBUSY`.
    pub fn unmount(&self) -> Result<()> {
        self.leave(UnmountFlags::NOFOLLOW)
    }

    /// Detaches the mount: no new user can enter; it ends when the last one leaves.
    pub fn detach(&self) -> Result<()> {
        self.leave(UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
    }

    fn leave(&self, flags: UnmountFlags) -> Result<()> {
        match unmount(&self.mountpoint, flags) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::BUSY) => Err(Error::Errno(libc::EBUSY)),
            // An ordinary user's mount was made by fusermount3, and only that may undo it.
            Err(rustix::io::Errno::PERM) => self.inner.lock().unmount().context("unmount", &self.mountpoint),
            Err(error) => Err(error).context("unmount", &self.mountpoint),
        }
    }
}

impl Mounted {
    /// Mounts `engine` as `spec` says. The mount answers once [`serve`](Self::serve) runs.
    pub fn new(engine: Arc<Engine>, spec: &MountSpec) -> Result<Mounted> {
        let want_passthrough = spec.passthrough != Passthrough::Off;
        let requests = Arc::<Requests>::default();
        let core = Core {
            requests: requests.clone(),
            stack_depth: engine.stack_depth(),
            engine: engine.clone(),
            backings: Backings::default(),
            dirs: OpenDirs::default(),
            browser: Browser::new(engine.clone()),
            want_passthrough,
        };
        let filesystem = Ckptfs { core: Arc::new(core), slow: SlowLane::start()? };
        let config = mount::config(spec);
        let session = match mount::direct(spec)? {
            Some(device) => Session::from_fd(filesystem, device, config.acl, config),
            None => Session::new(filesystem, &spec.mountpoint, &config).map_err(one_line),
        };
        let mut session = session.context("mount at", &spec.mountpoint)?;
        let unmounter = Unmounter {
            inner: Arc::new(Mutex::new(session.unmount_callable())),
            mountpoint: spec.mountpoint.clone(),
        };
        let no_passthrough = if want_passthrough {
            engine
                .probe_passthrough(|file| probe(&session, file))
                .inspect_err(|_| drop(unmounter.detach()))?
        } else {
            Some("turned off by the option passthrough=off".to_owned())
        };
        if let (Passthrough::On, Some(why)) = (spec.passthrough, &no_passthrough) {
            unmounter.detach()?;
            return Err(Error::Refused(format!(
                "passthrough=on is not possible: {why}; mount with passthrough=auto for the slower path"
            )));
        }
        engine.set_passthrough(no_passthrough.is_none());
        engine.set_kernel(Box::new(notify::Mounted(session.notifier())));
        Ok(Mounted { session, unmounter, requests, no_passthrough })
    }

    /// What ends this mount.
    pub fn unmounter(&self) -> Unmounter {
        self.unmounter.clone()
    }

    /// Answers requests until the filesystem is unmounted.
    pub fn serve(self) -> Result<()> {
        let mountpoint = &self.unmounter.mountpoint;
        raise_read_ahead(mountpoint);
        self.session.run().context("serve", mountpoint)
    }
}

/// What fusermount3 says comes with its line break.
fn one_line(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(_) => error,
        None => io::Error::new(error.kind(), error.to_string().trim_end().to_owned()),
    }
}

/// Registers a file as a backing file and takes it back: shows whether passthrough works here.
fn probe(session: &Session<Ckptfs>, file: &std::fs::File) -> io::Result<()> {
    /// `FUSE_DEV_IOC_BACKING_CLOSE`: `_IOW(229, 2, u32)`.
    const BACKING_CLOSE: libc::c_ulong = 0x4004_e502;
    let id = BackingId::create_raw(session, file)?;
    // SAFETY: an open FUSE device and a pointer to an id that lives through the call.
    match unsafe { libc::ioctl(session.as_fd().as_raw_fd(), BACKING_CLOSE as _, &raw const id) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets the kernel read ahead further on this mount. Needs root; without it reading is only slower.
fn raise_read_ahead(mountpoint: &Path) {
    let Some(device) = device_of(mountpoint) else { return };
    let knob = format!("/sys/class/bdi/{device}/read_ahead_kb");
    if let Err(error) = std::fs::write(&knob, READ_AHEAD_KIB.to_string()) {
        tracing::info!("read-ahead stays at the kernel's default: {knob}: {error}");
    }
}

/// `major:minor` of the mount, from the kernel's list: stat would wait for ourselves.
fn device_of(mountpoint: &Path) -> Option<String> {
    let mountpoint = mountpoint.canonicalize().ok()?;
    let list = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let is_ours = |line: &&str| line.split(' ').nth(4) == mountpoint.to_str();
    list.lines().rev().find(is_ours)?.split(' ').nth(2).map(str::to_owned)
}
