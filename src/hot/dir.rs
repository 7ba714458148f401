//! The folder of hot files: 256 subfolders, a file named by its number in each.
//!
//! Order for a file that is asked to be durable: its bytes, its subfolder's entry, then the journal.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rustix::fs::{Mode, OFlags};

use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::{Error, IoContext, Result, durable, private};
use crate::catalog::keys::HotId;

/// `statfs` type of overlayfs, where a lease is granted even while the file is mapped.
const OVERLAYFS_MAGIC: i64 = 0x794c_7630;

/// Size and times of a hot file.
#[derive(Clone, Copy, Debug)]
pub struct HotAttr {
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks on the disk.
    pub blocks: u64,
    /// Last access.
    pub atime: Time,
    /// Last write.
    pub mtime: Time,
    /// Last change of the file or its attributes.
    pub ctime: Time,
}

impl From<&fs::Metadata> for HotAttr {
    fn from(meta: &fs::Metadata) -> Self {
        let time = |secs, nanos: i64| Time { secs, nanos: u32::try_from(nanos).unwrap_or(0) };
        HotAttr {
            size: meta.size(),
            blocks: meta.blocks(),
            atime: time(meta.atime(), meta.atime_nsec()),
            mtime: time(meta.mtime(), meta.mtime_nsec()),
            ctime: time(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The folder of hot files.
#[derive(Debug)]
pub struct HotDir {
    root: PathBuf,
    on_overlay: bool,
    /// Files whose directory entry has not been made durable yet.
    new: Mutex<HashSet<HotId>>,
}

impl HotDir {
    /// Opens the folder, and makes it and its subfolders where they are missing. [`Error::Refused`] where others could
    /// exchange what is in it.
    pub fn open(root: &Path) -> Result<HotDir> {
        let made = !root.join("ff").is_dir();
        for shard in 0..=255u8 {
            private::folder(&root.join(format!("{shard:02x}")))?;
        }
        check_owner(root)?;
        if made {
            durable::sync_dir(root)?;
            fault::reached(Point::HotFolders);
        }
        let statfs = rustix::fs::statfs(root).context("statfs", root)?;
        let on_overlay = statfs.f_type == OVERLAYFS_MAGIC;
        Ok(HotDir { root: root.to_owned(), on_overlay, new: Mutex::default() })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the folder is on overlayfs: there the lease does not prove that nobody maps a file.
    pub fn on_overlay(&self) -> bool {
        self.on_overlay
    }

    /// Where hot file `id` is.
    pub fn path(&self, id: HotId) -> PathBuf {
        self.root.join(format!("{:02x}/{id:016x}", id & 0xff))
    }

    /// Makes hot file `id`, empty, open for reading: a descriptor that can write would refuse the lease.
    pub fn create(&self, id: HotId) -> Result<File> {
        let path = self.path(id);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR).context("create", &path)?;
        self.new.lock().insert(id);
        fault::reached(Point::HotCreated);
        Ok(file.into())
    }

    /// Opens hot file `id` for reading.
    pub fn open_read(&self, id: HotId) -> Result<File> {
        let path = self.path(id);
        OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&path).context("open", &path)
    }

    /// Opens hot file `id` for reading that does not count as an access by its users: its atime stays.
    pub fn open_unseen(&self, id: HotId) -> Result<File> {
        let path = self.path(id);
        OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOATIME | libc::O_NOFOLLOW)
            .open(&path)
            .context("open", &path)
    }

    /// Opens hot file `id` for reading and writing.
    pub fn open_write(&self, id: HotId) -> Result<File> {
        let path = self.path(id);
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(&path).context("open", &path)
    }

    /// Size and times of hot file `id`.
    pub fn attr(&self, id: HotId) -> Result<HotAttr> {
        let path = self.path(id);
        fs::symlink_metadata(&path).context("stat", &path).map(|meta| HotAttr::from(&meta))
    }

    /// Makes bytes and existence of hot file `id` durable. `data_only` as fdatasync has it.
    pub fn sync(&self, id: HotId, file: &File, data_only: bool) -> Result<()> {
        let path = self.path(id);
        if data_only {
            durable::sync_data(file, &path)?;
        } else {
            durable::sync_all(file, &path)?;
        }
        fault::reached(Point::HotSynced);
        if self.new.lock().contains(&id) {
            durable::sync_dir(path.parent().unwrap_or(&self.root))?;
            fault::reached(Point::HotEntrySynced);
            self.new.lock().remove(&id);
        }
        Ok(())
    }

    /// Whether the entry of hot file `id` may not be durable yet.
    #[cfg(test)]
    pub(crate) fn is_new(&self, id: HotId) -> bool {
        self.new.lock().contains(&id)
    }

    /// Makes all hot files durable with one system call.
    pub fn sync_everything(&self) -> Result<()> {
        let root = File::open(&self.root).context("open", &self.root)?;
        durable::sync_filesystem(&root, &self.root)
    }

    /// Deletes hot file `id`; one that is gone already is fine.
    pub fn delete(&self, id: HotId) -> Result<()> {
        self.new.lock().remove(&id);
        let path = self.path(id);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.context("delete", &path),
        }
    }

    /// Numbers of all hot files in the folder. Names that are not ours are left alone.
    pub fn list(&self) -> Result<Vec<HotId>> {
        let mut all = Vec::new();
        for shard in 0..=255u8 {
            let dir = self.root.join(format!("{shard:02x}"));
            for entry in fs::read_dir(&dir).context("list", &dir)? {
                let name = entry.context("list", &dir)?.file_name();
                all.extend(name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok()));
            }
        }
        Ok(all)
    }
}

/// Refuses a folder in which another user could put a subfolder of his in the place of one of ours.
fn check_owner(root: &Path) -> Result<()> {
    let found = fs::metadata(root).context("look at", root)?;
    let shared = found.mode() & 0o022 != 0 && found.mode() & libc::S_ISVTX == 0;
    if shared || ![0, rustix::process::geteuid().as_raw()].contains(&found.uid()) {
        return Err(Error::Refused(format!(
            "other users can exchange hot files in {}; give it to the daemon's user alone (chown, chmod go-w), or name another \
             folder with hot=",
            root.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hot::lease;

    #[test]
    fn a_hot_file_is_made_listed_measured_and_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let hot = HotDir::open(dir.path()).unwrap();
        let file = hot.create(0x1234).unwrap();
        assert!(lease::is_quiet(&file, &hot.path(0x1234)).unwrap());
        hot.open_write(0x1234).unwrap().set_len(77).unwrap();
        hot.sync(0x1234, &file, true).unwrap();
        assert_eq!(hot.attr(0x1234).unwrap().size, 77);
        assert_eq!(hot.list().unwrap(), vec![0x1234]);
        assert!(hot.create(0x1234).is_err());
        hot.delete(0x1234).unwrap();
        hot.delete(0x1234).unwrap();
        assert!(hot.attr(0x1234).is_err());
    }

    #[test]
    fn a_folder_in_which_others_can_plant_something_is_refused() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("hot");
        let chmod = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        HotDir::open(&root).unwrap();
        for (mode, fine) in [(0o777, false), (0o770, false), (0o1777, true), (0o755, true)] {
            chmod(&root, mode);
            assert_eq!(HotDir::open(&root).is_ok(), fine, "{mode:o}");
        }
        chmod(&root.join("0a"), 0o777);
        HotDir::open(&root).unwrap();
        assert_eq!(fs::metadata(root.join("0a")).unwrap().mode() & 0o777, 0o700);
        fs::remove_dir(root.join("0b")).unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), root.join("0b")).unwrap();
        assert!(HotDir::open(&root).unwrap_err().to_string().contains("symbolic link"));
        // A link in the place of a hot file is neither read nor written.
        let hot = HotDir::open(&dir.path().join("other")).unwrap();
        fs::write(dir.path().join("victim"), b"precious").unwrap();
        symlink(dir.path().join("victim"), hot.path(7)).unwrap();
        assert!(hot.open_write(7).is_err() && hot.open_read(7).is_err() && hot.create(7).is_err());
        hot.delete(7).unwrap();
        assert_eq!(fs::read(dir.path().join("victim")).unwrap(), b"precious");
    }
}
