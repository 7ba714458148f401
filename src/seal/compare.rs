//! Whether a plain file holds the bytes of a sealed content.
//!
//! Every byte is read and hashed; where the content has a hole the file has one, too, or zeros.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;

use crate::base::{Error, IoContext, Result};
use crate::content::hash::chunk_id;
use crate::content::manifest::{Extent, Manifest};

/// What is read of a hole at a time, in bytes.
const PIECE: u64 = 1 << 20;

/// Whether `file` holds what `manifest` lists, byte for byte. `go_on` is told of every byte that was read.
pub fn is_same(
    file: &File,
    path: &Path,
    manifest: &Manifest,
    go_on: &dyn Fn(u64) -> Result<()>,
) -> Result<bool> {
    if file.metadata().context("stat", path)?.len() != manifest.size() {
        return Ok(false);
    }
    let (mut at, mut buffer) = (0, Vec::new());
    for extent in manifest.extents() {
        let same = match extent {
            Extent::Data { len, id } => {
                go_on(u64::from(*len))?;
                read(file, path, at, u64::from(*len), &mut buffer)? && chunk_id(&buffer) == *id
            }
            Extent::Hole { len } => is_hole(file, path, at, *len, &mut buffer, go_on)?,
        };
        if !same {
            return Ok(false);
        }
        at += extent.len();
    }
    Ok(true)
}

/// Whether `len` bytes from `from` on are zeros; holes are not read.
fn is_hole(
    file: &File,
    path: &Path,
    from: u64,
    len: u64,
    buffer: &mut Vec<u8>,
    go_on: &dyn Fn(u64) -> Result<()>,
) -> Result<bool> {
    let (mut at, end) = (from, from + len);
    while at < end {
        at = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => return Ok(true),
            Err(error) => return Err(error).context("seek in", path),
        };
        if at >= end {
            break;
        }
        let piece = PIECE.min(end - at);
        go_on(piece)?;
        if !read(file, path, at, piece, buffer)? || buffer.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
        at += piece;
    }
    Ok(true)
}

/// Fills `buffer` with `len` bytes; false where the file ends before.
fn read(file: &File, path: &Path, at: u64, len: u64, buffer: &mut Vec<u8>) -> Result<bool> {
    let len = usize::try_from(len).map_err(|_| Error::damaged(path, "hot file: impossible length"))?;
    buffer.resize(len, 0);
    match file.read_exact_at(buffer, at) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        other => other.context("read", path).map(|()| true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::Level;

    #[test]
    fn any_other_byte_is_noticed_and_zeros_stand_for_a_hole() {
        let (dir, data) = (tempfile::tempdir().unwrap(), vec![7; 5000]);
        let path = dir.path().join("file");
        let mut manifest = Manifest::new(Level::Content);
        manifest.push_hole(100_000);
        manifest.push_data(5000, chunk_id(&data));
        manifest.push_hole(70_000);
        let whole = [vec![0; 100_000], data.clone(), vec![0; 70_000]].concat();
        let same = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            is_same(&File::open(&path).unwrap(), &path, &manifest, &|_| Ok(())).unwrap()
        };
        assert!(same(&whole));
        for at in [0, 99_999, 100_000, 104_999, 105_000, 174_999] {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            assert!(!same(&bad), "byte {at}");
        }
        assert!(!same(&whole[..174_999]) && !same(&[&whole[..], b"x"].concat()));
        let sparse = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        sparse.write_all_at(&data, 100_000).unwrap();
        sparse.set_len(175_000).unwrap();
        assert!(is_same(&sparse, &path, &manifest, &|_| Ok(())).unwrap());
    }
}
