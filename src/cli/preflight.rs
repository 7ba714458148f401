//! Everything that can be known to be wrong before a mount begins, each in one line with its cure.
//!
//! Order: dead mounts are cleaned, then the mountpoint is judged, then the machine. Nothing of the store is touched.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::base::machine::Machine;
use crate::base::mounts::{self, Detach};
use crate::base::{Error, IoContext, Result};
use crate::options::{MountOptions, Passthrough};

/// The oldest kernel whose FUSE we work with.
const KERNEL_MIN: (u32, u32) = (5, 4);
/// Dead mounts on top of each other.
const DEAD_MAX: usize = 16;

/// Where this machine keeps what mounting needs.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) dev_fuse: PathBuf,
    pub(super) fuse_conf: PathBuf,
    /// The search path of programs.
    pub(super) path: OsString,
}

impl Places {
    /// Those of this machine.
    pub(super) fn here() -> Self {
        // mount(8) takes PATH from its helpers; then this is where execvp(3) looks.
        let path = std::env::var_os("PATH").unwrap_or("/bin:/usr/bin".into());
        Places { dev_fuse: "/dev/fuse".into(), fuse_conf: "/etc/fuse.conf".into(), path }
    }
}

/// Takes away what killed daemons left mounted at `mountpoint`.
pub(super) fn clean_dead(mountpoint: &Path) -> Result<()> {
    for _ in 0..DEAD_MAX {
        let table = mounts::table()?;
        let ours = mounts::covering(&table, mountpoint)
            .filter(|mount| mount.is_ours() && mount.mountpoint == mountpoint);
        match ours {
            Some(mount) if mount.is_dead() => mounts::unmount(mountpoint, Detach::Lazily)?,
            _ => return Ok(()),
        }
    }
    refuse(format!("{} stays dead after {DEAD_MAX} unmounts; try: umount -l {0}", mountpoint.display()))
}

/// Makes the mountpoint if it is missing.
///
/// Only its owner may look into it: while nothing is mounted there, a trainer gets an error rather than an empty folder,
/// which it would take for a run without checkpoints.
pub(super) fn make_mountpoint(mountpoint: &Path) -> Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(mountpoint) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error).context("make", mountpoint),
        _ => Ok(()),
    }
}

/// Judges the place of the store, before anything in it is read: it is a folder, or not there yet.
pub(super) fn store(store: &Path) -> Result<()> {
    if fs::metadata(store).is_ok_and(|meta| !meta.is_dir()) {
        return refuse(format!("store {} is not a directory; give a folder", store.display()));
    }
    Ok(())
}

/// Judges the mountpoint. Both paths are absolute and resolved.
pub(super) fn mountpoint(mountpoint: &Path, store: &Path, nonempty: bool) -> Result<()> {
    let at = mountpoint.display();
    let table = mounts::table()?;
    // Such a place is an empty directory by its nature, and looking at it would wait for ourselves.
    let waits_for_us = mounts::is_automount_point(&table, mountpoint);
    if !waits_for_us {
        is_folder(mountpoint)?;
    }
    if mountpoint.starts_with(store) {
        return refuse(format!(
            "mountpoint {at} is inside the store {}; mount it elsewhere",
            store.display()
        ));
    }
    if store.starts_with(mountpoint) {
        return refuse(format!(
            "store {} is inside the mountpoint {at}, which would hide it; mount it elsewhere",
            store.display()
        ));
    }
    if let Some(mount) =
        mounts::covering(&table, mountpoint).filter(|m| m.is_ours() && m.mountpoint == mountpoint)
    {
        let source = mount.source.display();
        return refuse(format!(
            "{at} is a ckptfs mount already (of {source}); unmount it first: ckptfs unmount {at}"
        ));
    }
    if waits_for_us || nonempty || fs::read_dir(mountpoint).context("list", mountpoint)?.next().is_none() {
        return Ok(());
    }
    refuse(format!(
        "mountpoint {at} holds files, which the mount would hide; move them away, or give -o nonempty"
    ))
}

fn is_folder(mountpoint: &Path) -> Result<()> {
    let at = mountpoint.display();
    match fs::metadata(mountpoint) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => refuse(format!("mountpoint {at} is not a directory; give a directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse(format!("mountpoint {at} does not exist; make it: mkdir -p {at}, or give --mkdir"))
        }
        Err(error) => Err(error).context("look at", mountpoint),
    }
}

/// Refuses a folder of hot files that the mount would hide: the daemon would wait for itself. Paths are resolved.
pub(super) fn hot_folder(hot: &Path, mountpoint: &Path) -> Result<()> {
    if hot.starts_with(mountpoint) {
        let (hot, at) = (hot.display(), mountpoint.display());
        return refuse(format!(
            "the folder of hot files {hot} is inside the mountpoint {at}; give another with --hot"
        ));
    }
    Ok(())
}

/// Judges the machine.
pub(super) fn machine(machine: &Machine, places: &Places, options: &MountOptions) -> Result<()> {
    if machine.kernel < KERNEL_MIN {
        let ((major, minor), (least, point)) = (machine.kernel, KERNEL_MIN);
        return refuse(format!("Linux {major}.{minor} is too old; ckptfs needs {least}.{point} or later"));
    }
    dev_fuse(&places.dev_fuse, machine.root)?;
    if !machine.sys_admin {
        unprivileged(machine, places, options)?;
    }
    match machine.passthrough_blocker() {
        Some(why) if options.passthrough == Passthrough::On => {
            refuse(format!("passthrough=on cannot be met: {why}; or give -o passthrough=auto"))
        }
        _ => Ok(()),
    }
}

fn dev_fuse(path: &Path, root: bool) -> Result<()> {
    let device = path.display();
    match fs::File::options().read(true).write(true).open(path) {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => refuse(format!(
                "{device} is missing; load it: modprobe fuse, or start the container with: --device /dev/fuse --cap-add SYS_ADMIN"
            )),
            Some(libc::EACCES | libc::EPERM) if root => refuse(format!(
                "{device} may not be opened here; start the container with: --device /dev/fuse --cap-add SYS_ADMIN"
            )),
            Some(libc::EACCES | libc::EPERM) => refuse(format!(
                "no permission to open {device}; let users have it: chmod 0666 {device} (as root)"
            )),
            _ => Err(error).context("open", path),
        },
    }
}

fn unprivileged(machine: &Machine, places: &Places, options: &MountOptions) -> Result<()> {
    if machine.root {
        return refuse(
            "mounting needs CAP_SYS_ADMIN; start the container with: --device /dev/fuse --cap-add SYS_ADMIN"
                .into(),
        );
    }
    if !std::env::split_paths(&places.path).any(|folder| folder.join("fusermount3").is_file()) {
        return refuse("ordinary users mount with fusermount3, which is not installed; install it: apt-get install fuse3".into());
    }
    if options.suid || options.dev {
        return refuse("only root may mount with suid or dev; leave them out, or mount as root".into());
    }
    let conf = fs::read_to_string(&places.fuse_conf).unwrap_or_default();
    if options.allow_other && !conf.lines().any(|line| line.trim() == "user_allow_other") {
        let conf = places.fuse_conf.display();
        return refuse(format!(
            "allow_other is for root only here; allow it: write user_allow_other into {conf}"
        ));
    }
    Ok(())
}

fn refuse(text: String) -> Result<()> {
    Err(Error::Refused(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Machine = Machine { kernel: (6, 18), root: true, sys_admin: true };
    const USER: Machine = Machine { kernel: (6, 18), root: false, sys_admin: false };

    fn judge(machine: &Machine, dir: &Path, change: impl FnOnce(&mut MountOptions)) -> String {
        let places =
            Places { dev_fuse: dir.join("fuse"), fuse_conf: dir.join("fuse.conf"), path: dir.into() };
        let mut options = MountOptions::default();
        change(&mut options);
        super::machine(machine, &places, &options).err().map_or("fine".into(), |error| error.to_string())
    }

    #[test]
    fn each_thing_that_is_missing_is_one_line_with_its_cure() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        assert!(judge(&Machine { kernel: (5, 3), ..ROOT }, dir, |_| ()).contains("5.4"));
        assert!(judge(&ROOT, dir, |_| ()).contains("modprobe fuse"));
        fs::write(dir.join("fuse"), b"").unwrap();
        assert_eq!(judge(&ROOT, dir, |_| ()), "fine");
        assert!(judge(&Machine { sys_admin: false, ..ROOT }, dir, |_| ()).contains("--cap-add SYS_ADMIN"));
        assert!(judge(&USER, dir, |_| ()).contains("apt-get install fuse3"));
        fs::write(dir.join("fusermount3"), b"").unwrap();
        assert_eq!(judge(&USER, dir, |_| ()), "fine");
        assert!(judge(&USER, dir, |o| o.dev = true).contains("root"));
        fs::write(dir.join("fuse.conf"), "#user_allow_other\n").unwrap();
        assert!(judge(&USER, dir, |o| o.allow_other = true).contains("user_allow_other"));
        fs::write(dir.join("fuse.conf"), "# x\nuser_allow_other\n").unwrap();
        assert_eq!(judge(&USER, dir, |o| o.allow_other = true), "fine");
    }

    #[test]
    fn passthrough_is_refused_only_when_it_was_demanded() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("fuse"), b"").unwrap();
        let old = Machine { kernel: (6, 8), ..ROOT };
        assert_eq!(judge(&old, dir.path(), |_| ()), "fine");
        assert!(judge(&old, dir.path(), |o| o.passthrough = Passthrough::On).contains("6.9"));
    }

    #[test]
    fn a_file_is_refused_as_a_store() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s");
        store(&file).unwrap();
        fs::write(&file, "x").unwrap();
        assert!(store(&file).unwrap_err().to_string().ends_with("s is not a directory; give a folder"));
    }

    #[test]
    fn a_mountpoint_that_would_hide_or_contain_something_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let judge = |mountpoint: &Path, store: &Path, nonempty| {
            super::mountpoint(mountpoint, store, nonempty)
                .err()
                .map_or("fine".into(), |error| error.to_string())
        };
        fs::create_dir_all(at("store/in")).unwrap();
        fs::create_dir(at("m")).unwrap();
        fs::write(at("file"), b"").unwrap();
        assert_eq!(judge(&at("m"), &at("store"), false), "fine");
        assert!(judge(&at("none"), &at("store"), false).contains("mkdir -p"));
        assert!(judge(&at("file"), &at("store"), false).contains("not a directory"));
        assert!(judge(&at("store/in"), &at("store"), false).contains("inside the store"));
        assert!(judge(dir.path(), &at("store"), true).contains("would hide"));
        fs::write(at("m/model.pt"), b"").unwrap();
        assert!(judge(&at("m"), &at("store"), false).contains("-o nonempty"));
        assert_eq!(judge(&at("m"), &at("store"), true), "fine");
        assert!(hot_folder(&at("m/hot"), &at("m")).is_err() && hot_folder(&at("mm"), &at("m")).is_ok());
    }
}
