//! A folder outside of the mount, looked at step by step and without following a link.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;

use super::Part;
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};
use crate::content::tree::{Body, Entry, Soundness};
use crate::formats::{Siblings, Source};
use crate::namespace::Caller;
use crate::version::chosen::Names;
use crate::version::record::path_text;

/// Something in the folder, with all that is to be recorded of it.
pub(super) struct Outside {
    pub(super) path: Names,
    pub(super) entry: Entry,
    /// Device and inode, of a file with several names.
    pub(super) identity: Option<(u64, u64)>,
    /// What is there already is it.
    pub(super) is_there: bool,
}

/// Whose files are that are taken in: a daemon of root keeps the owners, another one has files of its own alone.
pub(super) fn owner() -> Caller {
    Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

pub(super) fn open_folder(part: &Part) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder: File = openat(CWD, &part.folder, flags, Mode::empty()).context("open", &part.folder)?.into();
    let found = folder.metadata().context("stat", &part.folder)?;
    if (found.dev(), found.ino()) != part.identity {
        return Err(Error::Refused(format!(
            "the daemon sees another folder at {} (it runs in another container or mount namespace); unmount the store and \
             import into it, or mount it where the folder is",
            part.folder.display()
        )));
    }
    Ok(folder)
}

pub(super) fn shown(folder: &Path, path: &[Vec<u8>]) -> PathBuf {
    path.iter().fold(folder.to_owned(), |at, name| at.join(OsStr::from_bytes(name)))
}

/// The folder that holds `path` below `folder`, and the last name. No link is followed.
pub(super) fn reach<'p>(folder: &File, path: &'p [Vec<u8>], at: &Path) -> Result<(File, &'p [u8])> {
    let (name, above) = path.split_last().ok_or(Error::Errno(libc::EINVAL))?;
    let mut dir = folder.try_clone().context("open", at)?;
    for name in above {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        dir = openat(dir.as_fd(), name.as_slice(), flags, Mode::empty())
            .context("open", &shown(at, path))?
            .into();
    }
    Ok((dir, name))
}

/// What has been looked at.
pub(super) struct Look<'a> {
    folder: &'a File,
    at: &'a Path,
    is_closing: &'a dyn Fn() -> bool,
    pub(super) skipped: Vec<String>,
    pub(super) found: Vec<Outside>,
    /// Files with several names, numbered.
    several: HashMap<(u64, u64), u64>,
}

impl<'a> Look<'a> {
    /// Looks at every member of `part`, the folders above it and all below it; `folder` is that of the part, open.
    pub(super) fn at(part: &'a Part, folder: &'a File, is_closing: &'a dyn Fn() -> bool) -> Result<Look<'a>> {
        let at = &part.folder;
        let (skipped, found) = (Vec::new(), Vec::new());
        let mut look = Look { folder, at, is_closing, skipped, found, several: HashMap::new() };
        let mut above = std::collections::HashSet::new();
        for member in &part.members {
            for depth in 1..member.len() {
                let folder = member.get(..depth).unwrap_or_default().to_vec();
                if above.insert(folder.clone()) {
                    look.look_at(&folder)?;
                }
            }
            look.look(member)?;
        }
        Ok(look)
    }

    /// Notes what is at `path`, a folder before what is in it.
    fn look(&mut self, path: &Names) -> Result<()> {
        if self.look_at(path)? {
            let (at, mut names) = (shown(self.at, path), Vec::new());
            for inside in std::fs::read_dir(&at).context("list", &at)? {
                names.push(inside.context("list", &at)?.file_name().as_bytes().to_vec());
            }
            names.sort();
            for name in names {
                let mut below = path.clone();
                below.push(name);
                self.look(&below)?;
            }
        }
        Ok(())
    }

    /// Notes what is at `path`; whether it is a folder.
    fn look_at(&mut self, path: &Names) -> Result<bool> {
        let at = shown(self.at, path);
        if (self.is_closing)() {
            return Err(Error::Errno(libc::EINTR));
        }
        let (dir, name) = reach(self.folder, path, self.at)?;
        let stat = statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).context("look at", &at)?;
        let mode = stat.st_mode;
        let body = match mode & libc::S_IFMT {
            libc::S_IFREG => Body::File {
                content: ChunkId([0; 32]),
                size: u64::try_from(stat.st_size).unwrap_or(0),
                blocks: 0,
                format: 0,
                soundness: Soundness::Unknown,
            },
            libc::S_IFLNK => {
                let target = readlinkat(dir.as_fd(), name, Vec::new()).context("read link", &at)?;
                Body::Symlink(target.into_bytes())
            }
            libc::S_IFDIR => Body::Dir { tree: ChunkId([0; 32]), files: 0, bytes: 0 },
            _ => {
                self.skipped.push(path_text(&path.join(&b'/')));
                return Ok(false);
            }
        };
        let is_dir = matches!(body, Body::Dir { .. });
        let several = !is_dir && stat.st_nlink > 1;
        let own = owner();
        let (uid, gid) = if own.uid == 0 { (stat.st_uid, stat.st_gid) } else { (own.uid, own.gid) };
        let identity = several.then_some((stat.st_dev, stat.st_ino));
        let next = self.several.len() as u64 + 1;
        let number = identity.map_or(0, |identity| *self.several.entry(identity).or_insert(next));
        let entry = Entry {
            name: name.to_vec(),
            ino: number,
            mode,
            uid,
            gid,
            nlink: if several { 2 } else { 1 },
            mtime: Time { secs: stat.st_mtime, nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0) },
            xattrs: attributes(&at, is_dir || mode & libc::S_IFMT == libc::S_IFREG),
            body,
        };
        self.found.push(Outside { path: path.clone(), entry, identity, is_there: false });
        Ok(is_dir)
    }
}

/// The attributes that users have given a file or folder; none where it has none that can be read.
fn attributes(path: &Path, has_some: bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list = vec![0; 64 << 10];
    let len = match has_some {
        true => rustix::fs::llistxattr(path, &mut list[..]).unwrap_or(0),
        false => 0,
    };
    let names = list.get(..len).unwrap_or_default().split(|byte| *byte == 0);
    let mut found: Vec<(Vec<u8>, Vec<u8>)> = names
        .filter(|name| name.starts_with(b"user."))
        .filter_map(|name| {
            let mut value = vec![0; 64 << 10];
            let len = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
            value.truncate(len);
            Some((name.to_vec(), value))
        })
        .collect();
    found.sort();
    found
}

/// A plain file, to be looked at.
pub struct Plain {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Plain {
    /// The open file `file`; `path` is for messages.
    pub fn new(file: File, path: &Path) -> Result<Plain> {
        let len = file.metadata().context("stat", path)?.len();
        Ok(Plain { file, path: path.to_owned(), len })
    }
}

impl Source for Plain {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buf, offset).context("read", &self.path)
    }
}

/// The files beside it.
pub(super) struct Beside<'a> {
    pub(super) dir: File,
    pub(super) at: &'a Path,
}

impl Siblings for Beside<'_> {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        match statat(self.dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(u64::try_from(stat.st_size).ok()),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context("look beside", self.at),
        }
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(self.dir.as_fd(), name, flags, Mode::empty()) {
            Ok(file) => Ok(Some(Box::new(Plain::new(file.into(), self.at)?))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error).context("open beside", self.at),
        }
    }
}
