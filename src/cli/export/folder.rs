//! Writes a version into a folder.
//!
//! Every step goes from an open directory to a name in it and follows no link, so nothing is written elsewhere, whatever
//! lies in the folder. Order of a file: a temporary name, its bytes, owner, mode, attributes and times, fsync, then its
//! name; a directory gets its own when what is in it is there. A file that turns out to be damaged never gets its name.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Timespec, Timestamps, Uid, XattrFlags, chownat,
    fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, renameat, renameat_with,
    symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::base::durable;
use crate::base::text::one_line;
use crate::base::{Error, IoContext, Result};
use crate::content::tree::{Body, Entry};
use crate::engine::history::export::{Event, Sink};

/// The name that a file has until it is whole; what a killed export has left under it is replaced by the next one.
const TEMPORARY: &str = ".ckptfs-export.tmp";
/// Things that could not be made of which the first so many are told.
const NOTES_MAX: usize = 8;

/// A folder that takes a version.
#[derive(Debug)]
pub(super) struct Folder {
    root: Dir,
    /// The directories that have begun, outermost first, below the root.
    open: Vec<Dir>,
    /// The first one that begins is the root itself.
    begun: bool,
    /// The folder is ours: it gets the attributes of what is exported.
    is_new: bool,
    /// What has a name already is replaced.
    replace: bool,
    file: Option<Writing>,
    /// Where an inode with several names is.
    links: HashMap<u64, PathBuf>,
    is_root: bool,
    notes: Vec<String>,
    more_notes: usize,
}

#[derive(Debug)]
struct Dir {
    file: File,
    /// From the folder.
    path: PathBuf,
    entry: Option<Entry>,
}

/// A file that is being written.
#[derive(Debug)]
struct Writing {
    file: File,
    entry: Entry,
    at: u64,
}

impl Folder {
    /// The folder `path`, made if it is not there. With `replace` it may hold something, and what has the name of an
    /// exported file is replaced.
    pub(super) fn open(path: &Path, replace: bool) -> Result<Folder> {
        let is_new = !path.exists();
        std::fs::create_dir_all(path).context("make folder", path)?;
        let mut inside = std::fs::read_dir(path).context("list", path)?;
        if !replace && inside.next().is_some() {
            return Err(Error::Refused(format!(
                "{} is not empty; name another folder, or let files in it be replaced with --force",
                path.display()
            )));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = openat(CWD, path, flags, Mode::empty()).context("open", path)?;
        Ok(Folder {
            root: Dir { file: file.into(), path: path.to_owned(), entry: None },
            open: Vec::new(),
            begun: false,
            is_new,
            replace,
            file: None,
            links: HashMap::new(),
            is_root: rustix::process::geteuid().is_root(),
            notes: Vec::new(),
            more_notes: 0,
        })
    }

    /// What could not be made as it was, in words.
    pub(super) fn notes(&self) -> Vec<String> {
        let more = (self.more_notes > 0).then(|| format!("and {} more", self.more_notes));
        self.notes.iter().cloned().chain(more).collect()
    }

    fn note(&mut self, text: String) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(text);
        } else {
            self.more_notes += 1;
        }
    }

    fn here(&self) -> &Dir {
        self.open.last().unwrap_or(&self.root)
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        self.here().path.join(OsStr::from_bytes(&entry.name))
    }

    fn enter(&mut self, entry: &Entry) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) && entry.name.is_empty() {
            self.root.entry = self.is_new.then(|| entry.clone());
            return Ok(());
        }
        let path = self.path(entry);
        match mkdirat(self.here().file.as_fd(), &*entry.name, Mode::RWXU) {
            Err(Errno::EXIST) if self.replace => {}
            made => made.context("make folder", &path)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match openat(self.here().file.as_fd(), &*entry.name, flags, Mode::empty()) {
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(Error::Refused(format!(
                    "{} is in the way and no folder; remove it, or name another folder",
                    path.display()
                )));
            }
            file => file.context("open", &path)?,
        };
        self.open.push(Dir { file: file.into(), path, entry: Some(entry.clone()) });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let (dir, kept);
        match self.open.pop() {
            Some(last) => (dir, kept) = (last, false),
            None => {
                let file = self.root.file.try_clone().context("open", &self.root.path)?;
                dir = Dir { file, path: self.root.path.clone(), entry: self.root.entry.take() };
                kept = true;
            }
        }
        if let Some(entry) = &dir.entry {
            self.dress(&dir.file, entry, &dir.path)?;
        }
        durable::sync_all(&dir.file, &dir.path)?;
        if kept && self.is_new {
            // Its own name.
            durable::sync_dir(
                self.root
                    .path
                    .parent()
                    .filter(|above| !above.as_os_str().is_empty())
                    .unwrap_or(Path::new(".")),
            )?;
        }
        Ok(())
    }

    /// Owner, attributes, mode and times of an open file or directory.
    fn dress(&mut self, file: &File, entry: &Entry, path: &Path) -> Result<()> {
        if self.is_root {
            fchown(file, Some(Uid::from_raw(entry.uid)), Some(Gid::from_raw(entry.gid)))
                .context("chown", path)?;
        }
        for (name, value) in &entry.xattrs {
            match fsetxattr(file, name.as_slice(), value, XattrFlags::empty()) {
                Ok(()) => {}
                Err(error) => {
                    let name = one_line(&String::from_utf8_lossy(name));
                    self.note(format!("{}: without its attribute {name}: {error}", path.display()));
                }
            }
        }
        fchmod(file, Mode::from_raw_mode(entry.mode & 0o7777)).context("chmod", path)?;
        futimens(file, &times(entry)).context("set times of", path)
    }

    /// Takes the temporary name for something new in the innermost directory.
    fn clear(&self) -> Result<()> {
        match unlinkat(self.here().file.as_fd(), TEMPORARY, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            gone => gone.context("delete", &self.here().path.join(TEMPORARY)),
        }
    }

    /// Gives what has the temporary name that of `entry`.
    fn name(&self, entry: &Entry) -> Result<()> {
        let (dir, path) = (self.here().file.as_fd(), self.path(entry));
        let named = if self.replace {
            renameat(dir, TEMPORARY, dir, &*entry.name)
        } else {
            match renameat_with(dir, TEMPORARY, dir, &*entry.name, RenameFlags::NOREPLACE) {
                // A target that knows no such flag; the folder was empty.
                Err(Errno::INVAL | Errno::NOSYS) => renameat(dir, TEMPORARY, dir, &*entry.name),
                named => named,
            }
        };
        named.context("name", &path)
    }

    fn leaf(&mut self, entry: &Entry) -> Result<()> {
        self.clear()?;
        let (dir, path) = (self.here().file.as_fd(), self.path(entry));
        match &entry.body {
            Body::File { .. } => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(dir, TEMPORARY, flags, Mode::RUSR | Mode::WUSR).context("create", &path)?;
                self.file = Some(Writing { file: file.into(), entry: entry.clone(), at: 0 });
                return Ok(());
            }
            Body::Symlink(target) => {
                symlinkat(target.as_slice(), dir, TEMPORARY).context("make link", &path)?;
                if self.is_root {
                    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
                    chownat(dir, TEMPORARY, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                        .context("chown", &path)?;
                }
                utimensat(dir, TEMPORARY, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
                    .context("set times of", &path)?;
            }
            Body::Special(rdev) => {
                let kind = FileType::from_raw_mode(entry.mode);
                let mode = Mode::from_raw_mode(entry.mode & 0o7777);
                match mknodat(dir, TEMPORARY, kind, mode, u64::from(*rdev)) {
                    Err(error @ (Errno::PERM | Errno::ACCESS)) => {
                        self.note(format!(
                            "{}: left out, a device is for root to make: {error}",
                            path.display()
                        ));
                        return Ok(());
                    }
                    made => made.context("make node", &path)?,
                }
                utimensat(dir, TEMPORARY, &times(entry), AtFlags::SYMLINK_NOFOLLOW)
                    .context("set times of", &path)?;
            }
            Body::Dir { .. } => return Err(Error::Errno(libc::EISDIR)),
        }
        self.name(entry)
    }

    fn end(&mut self) -> Result<()> {
        let Some(Writing { file, entry, at }) = self.file.take() else {
            return Err(Error::Errno(libc::EBADF));
        };
        let path = self.path(&entry);
        if at != entry.size() {
            return Err(Error::damaged(
                &path,
                format!("stream: {at} bytes where {} were told", entry.size()),
            ));
        }
        file.set_len(at).context("truncate", &path)?;
        self.dress(&file, &entry, &path)?;
        durable::sync_all(&file, &path)?;
        self.name(&entry)?;
        if entry.nlink > 1 {
            let below = path.strip_prefix(&self.root.path).unwrap_or(&path).to_owned();
            self.links.insert(entry.ino, below);
        }
        Ok(())
    }

    fn link(&mut self, entry: &Entry) -> Result<()> {
        let path = self.path(entry);
        let Some(first) = self.links.get(&entry.ino) else {
            return Err(Error::damaged(&path, "stream: a link to nothing".to_owned()));
        };
        let (dir, name) = self.reach(first)?;
        self.clear()?;
        let linked = linkat(dir.as_fd(), name, self.here().file.as_fd(), TEMPORARY, AtFlags::empty());
        linked.context("link", &path)?;
        self.name(entry)
    }

    /// The directory of `path` below the folder, and the last name.
    fn reach<'p>(&self, path: &'p Path) -> Result<(File, &'p OsStr)> {
        let mut at = self.root.file.try_clone().context("open", &self.root.path)?;
        let names: Vec<&OsStr> = path.iter().collect();
        let (last, above) = names.split_last().ok_or(Error::Errno(libc::ENOENT))?;
        for name in above {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = openat(at.as_fd(), *name, flags, Mode::empty()).context("open", path)?.into();
        }
        Ok((at, last))
    }
}

impl Sink for Folder {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Total(_) => Ok(()),
            Event::Enter(entry) => self.enter(entry),
            Event::Leave => self.leave(),
            Event::Leaf(entry) => self.leaf(entry),
            Event::Link(entry) => self.link(entry),
            Event::Data(bytes) => {
                let path = self.here().path.clone();
                let Some(writing) = &mut self.file else { return Err(Error::Errno(libc::EBADF)) };
                writing.file.write_all_at(bytes, writing.at).context("write to a file in", &path)?;
                writing.at += bytes.len() as u64;
                Ok(())
            }
            Event::Hole(zeros) => {
                let Some(writing) = &mut self.file else { return Err(Error::Errno(libc::EBADF)) };
                writing.at += zeros;
                Ok(())
            }
            Event::End => self.end(),
            Event::Broken => {
                self.file = None;
                self.clear()
            }
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A stream that ended in the middle of a file.
        if self.file.take().is_some() {
            let _left_for_the_next_one = self.clear().is_err();
        }
    }
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.secs, tv_nsec: entry.mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}
