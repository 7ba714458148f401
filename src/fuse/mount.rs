//! The mount itself: by the kernel's system call where we may, else through fusermount3.
//!
//! The direct way names the type `fuse.ckptfs`, so that `mount`, `findmnt` and our own commands know it.

use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use fuser::{Config, MountOption, SessionACL};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use super::session::MountSpec;
use crate::base::machine::Machine;
use crate::base::{Error, IoContext, Result};

/// The type that the mount table shows.
const TYPE: &str = "fuse.ckptfs";
const DEVICE: &str = "/dev/fuse";

/// Mounts by system call. `None` where that needs a privilege that we have not got.
pub(super) fn direct(spec: &MountSpec) -> Result<Option<OwnedFd>> {
    let device = Path::new(DEVICE);
    let fuse: File = match OpenOptions::new().read(true).write(true).open(device) {
        // fusermount3 opens it for us.
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(None),
        opened => opened.context("open", device)?,
    };
    // Not statx(2), as std would: where the kernel mounts on first use (autofs) that waits for this very mount.
    let mode = rustix::fs::stat(&spec.mountpoint).context("stat", &spec.mountpoint)?.st_mode;
    let mut options = format!(
        "fd={},rootmode={:o},user_id={},group_id={},default_permissions",
        fuse.as_raw_fd(),
        mode & libc::S_IFMT,
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    if spec.allow_other {
        options.push_str(",allow_other");
    }
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::RDONLY, spec.read_only);
    flags.set(MountFlags::NOSUID, !spec.suid);
    flags.set(MountFlags::NODEV, !spec.dev);
    flags.set(MountFlags::NOEXEC, spec.noexec);
    let options = std::ffi::CString::new(options)
        .map_err(std::io::Error::other)
        .context("mount at", &spec.mountpoint)?;
    match mount(spec.name.as_str(), &spec.mountpoint, TYPE, flags, Some(options.as_c_str())) {
        Ok(()) => Ok(Some(fuse.into())),
        Err(Errno::PERM) if !Machine::here().sys_admin => Ok(None),
        Err(error @ (Errno::PERM | Errno::ACCESS)) => Err(forbidden(error, &spec.mountpoint)),
        Err(error) => Err(error).context("mount at", &spec.mountpoint),
    }
}

/// The privilege is there and the kernel refuses all the same: a policy above it does, and only its owner can change that.
fn forbidden(error: Errno, mountpoint: &Path) -> Error {
    Error::Refused(format!(
        "mounting at {} is forbidden here although CAP_SYS_ADMIN is there ({error}): by AppArmor, SELinux or a seccomp \
         profile; start the container with: --security-opt apparmor=unconfined (SELinux: --security-opt label=disable)",
        mountpoint.display()
    ))
}

/// What fuser needs to know; the mount options are for fusermount3.
pub(super) fn config(spec: &MountSpec) -> Config {
    let either = |on, yes, no| if on { yes } else { no };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName(spec.name.clone()),
        MountOption::Subtype("ckptfs".to_owned()),
        MountOption::DefaultPermissions,
        either(spec.read_only, MountOption::RO, MountOption::RW),
        either(spec.suid, MountOption::Suid, MountOption::NoSuid),
        either(spec.dev, MountOption::Dev, MountOption::NoDev),
        either(spec.noexec, MountOption::NoExec, MountOption::Exec),
    ];
    config.acl = if spec.allow_other { SessionACL::All } else { SessionACL::Owner };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    config.n_threads = Some((cores * 2).clamp(4, 16));
    config.clone_fd = true;
    config
}
