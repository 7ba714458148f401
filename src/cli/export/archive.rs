//! Writes a version as a tar archive in pax format: long and foreign names, nanoseconds, attributes and hard links.
//!
//! An archive cannot take back what it has begun: a damaged file ends it, without the mark that makes an archive whole.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::base::{Error, IoContext, Result};
use crate::content::tree::{Body, Entry};
use crate::engine::history::export::{Event, Sink};

/// An archive is made of blocks of this many bytes.
const BLOCK: u64 = 512;
/// Zeros for holes and the ends of blocks.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// An archive that takes a version.
pub(super) struct Archive<W: Write> {
    out: Builder<W>,
    /// For messages.
    target: String,
    dir: Vec<Vec<u8>>,
    left: u64,
    size: u64,
    links: HashMap<u64, Vec<u8>>,
    begun: bool,
    now: Vec<u8>,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W, target: &str) -> Self {
        Archive {
            out: Builder::new(out),
            target: target.to_owned(),
            dir: Vec::new(),
            left: 0,
            size: 0,
            links: HashMap::new(),
            begun: false,
            now: Vec::new(),
        }
    }

    /// Ends the archive; what it was written to.
    pub(super) fn finish(self) -> Result<W> {
        let target = self.target;
        self.out.into_inner().context("write", Path::new(&target))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.get_mut().write_all(bytes).context("write", Path::new(&self.target))
    }

    fn zeros(&mut self, mut len: u64) -> Result<()> {
        while len > 0 {
            let some =
                ZEROS.get(..usize::try_from(len).unwrap_or(usize::MAX).min(ZEROS.len())).unwrap_or(&ZEROS);
            self.write(some)?;
            len -= some.len() as u64;
        }
        Ok(())
    }

    fn path(&self, entry: &Entry) -> Vec<u8> {
        let names: Vec<&[u8]> = self.dir.iter().map(Vec::as_slice).chain([entry.name.as_slice()]).collect();
        let mut path = names.join(&b'/');
        if entry.is_dir() {
            if path.is_empty() {
                path.push(b'.');
            }
            path.push(b'/');
        }
        path
    }

    fn header(&mut self, entry: &Entry, kind: EntryType, size: u64, link: Option<&[u8]>) -> Result<()> {
        let path = self.path(entry);
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(entry.mode & 0o7777);
        header.set_uid(entry.uid.into());
        header.set_gid(entry.gid.into());
        header.set_size(size);
        header.set_mtime(u64::try_from(entry.mtime.secs).unwrap_or(0));
        if let Body::Special(rdev) = entry.body {
            let (major, minor) = (libc::major(rdev.into()), libc::minor(rdev.into()));
            header
                .set_device_major(major)
                .and_then(|()| header.set_device_minor(minor))
                .context("write", Path::new(&self.target))?;
        }
        // What a reader shows that knows no pax; the real name is in the extension.
        put(&mut header.as_old_mut().name, &path);
        put(&mut header.as_old_mut().linkname, link.unwrap_or_default());
        header.set_cksum();
        let mtime = format!("{}.{:09}", entry.mtime.secs, entry.mtime.nanos);
        let mut more: Vec<(String, &[u8])> = vec![("path".into(), &path), ("mtime".into(), mtime.as_bytes())];
        if let Some(link) = link {
            more.push(("linkpath".into(), link));
        }
        let size = size.to_string();
        if size.len() > 11 - 1 {
            more.push(("size".into(), size.as_bytes()));
        }
        let xattrs = entry.xattrs.iter().filter_map(|(name, value)| {
            let name = std::str::from_utf8(name).ok().filter(|name| !name.contains('='))?;
            Some((format!("SCHILY.xattr.{name}"), value.as_slice()))
        });
        more.extend(xattrs);
        let more = more.iter().map(|(name, value)| (name.as_str(), *value));
        self.out.append_pax_extensions(more).context("write", Path::new(&self.target))?;
        self.write(header.as_bytes())
    }
}

/// As much of `bytes` as fits, ended by a zero where it is shorter.
fn put(field: &mut [u8], bytes: &[u8]) {
    for (to, from) in field.iter_mut().zip(bytes) {
        *to = *from;
    }
}

impl<W: Write> Sink for Archive<W> {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Total(_) => Ok(()),
            Event::Enter(entry) => {
                self.header(entry, EntryType::Directory, 0, None)?;
                if std::mem::replace(&mut self.begun, true) || !entry.name.is_empty() {
                    self.dir.push(entry.name.clone());
                }
                Ok(())
            }
            Event::Leave => {
                self.dir.pop();
                Ok(())
            }
            Event::Leaf(entry) => {
                self.begun = true;
                match &entry.body {
                    Body::File { size, .. } => {
                        (self.left, self.size, self.now) = (*size, *size, self.path(entry));
                        if entry.nlink > 1 {
                            self.links.insert(entry.ino, self.now.clone());
                        }
                        self.header(entry, EntryType::Regular, *size, None)
                    }
                    Body::Symlink(target) => self.header(entry, EntryType::Symlink, 0, Some(target)),
                    Body::Special(_) => match entry.mode & libc::S_IFMT {
                        libc::S_IFIFO => self.header(entry, EntryType::Fifo, 0, None),
                        libc::S_IFCHR => self.header(entry, EntryType::Char, 0, None),
                        libc::S_IFBLK => self.header(entry, EntryType::Block, 0, None),
                        // A socket is nothing without the program that listens on it, and tar has no word for it.
                        _ => Ok(()),
                    },
                    Body::Dir { .. } => Err(Error::Errno(libc::EISDIR)),
                }
            }
            Event::Link(entry) => {
                let first = self.links.get(&entry.ino).cloned().ok_or(Error::Errno(libc::ENOENT))?;
                self.header(entry, EntryType::Link, 0, Some(&first))
            }
            Event::Data(bytes) => {
                self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Error::Errno(libc::EFBIG))?;
                self.write(bytes)
            }
            Event::Hole(zeros) => {
                self.left = self.left.checked_sub(zeros).ok_or(Error::Errno(libc::EFBIG))?;
                self.zeros(zeros)
            }
            Event::End if self.left == 0 => self.zeros(self.size.next_multiple_of(BLOCK) - self.size),
            Event::End => Err(Error::Errno(libc::EIO)),
            Event::Broken => Err(Error::Refused(format!(
                "'{}' is damaged, and the archive ends there; export into a folder, which leaves out only what is damaged",
                String::from_utf8_lossy(&self.now)
            ))),
        }
    }
}
