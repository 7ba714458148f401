//! HDF5: the superblock says where the file ends.
//!
//! The superblock lies at 0, or behind a user block of 512, 1024, 2048 ... bytes. Versions 0 to 3 of the format
//! specification; the end-of-file address counts from the begin of the file, user block included, as the library reads it.

mod datasets;
mod datatype;
mod dense;
mod file;
mod group;
mod object;

use super::Source;
use super::describe::Described;
use super::read::{self, Fault, invalid};
use super::tensors::Tensor;
use crate::base::Result;
use crate::base::bytes::Cursor;

/// How a superblock begins.
pub(super) const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Where it may lie.
const PLACES: [u64; 6] = [0, 512, 1024, 2048, 4096, 8192];
/// The longest part of a superblock that is looked at, in bytes.
const SUPERBLOCK: usize = 96;

/// What is looked at of a superblock.
struct Superblock {
    base: u64,
    end: u64,
    /// Bytes of an address and of a length.
    widths: (usize, usize),
    /// The header of the group that all others are below.
    root: u64,
    /// A writer has it open, or had when it was killed.
    open: bool,
}

/// Where the superblock lies.
pub(super) fn find(source: &dyn Source) -> Result<Option<u64>> {
    for place in PLACES {
        if read::at_most(source, place, SIGNATURE.len())? == SIGNATURE {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Checks that the file ends where the superblock says.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    let Some(place) = find(source)? else { return invalid("hdf5 without its superblock") };
    let Some(superblock) = parse(&read::at_most(source, place, SUPERBLOCK)?) else {
        return invalid("hdf5 with a damaged superblock");
    };
    if superblock.open {
        return invalid("hdf5 that its writer did not close");
    }
    // A user block that was put before the file later is not counted in its addresses.
    let end = superblock.end.checked_sub(superblock.base).and_then(|len| len.checked_add(place));
    let (Some(end), len) = (end, source.len()) else { return invalid("hdf5 with a damaged superblock") };
    match end.cmp(&len) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => {
            invalid(format!("hdf5 of {len} bytes whose superblock names {end}: cut short"))
        }
        std::cmp::Ordering::Less => {
            invalid(format!("hdf5 of {len} bytes whose superblock names {end}: not closed"))
        }
    }
}

/// The datasets of the file whose bytes lie in it as they are, and the chunks of those that have some.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    let datasets = datasets(source)?.into_iter();
    Ok(datasets.flat_map(datasets::Dataset::tensors).collect())
}

/// Every dataset of the file as its header describes it.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    Ok(datasets(source)?.into_iter().map(datasets::Dataset::described).collect())
}

fn datasets(source: &dyn Source) -> Result<Vec<datasets::Dataset>, Fault> {
    let Some(place) = find(source)? else { return invalid("hdf5 without its superblock") };
    let Some(superblock) = parse(&read::at_most(source, place, SUPERBLOCK)?) else {
        return invalid("hdf5 with a damaged superblock");
    };
    // As the library does: addresses count from where the superblock is, whatever it says.
    let mut file = file::File::new(source, place, superblock.widths);
    Ok(datasets::all(&mut file, superblock.root)?)
}

fn parse(bytes: &[u8]) -> Option<Superblock> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(SIGNATURE.len())?;
    let version = cursor.u8()?;
    let (open, offset_bytes, length_bytes) = match version {
        0 | 1 => {
            cursor.take(4)?;
            let (offset_bytes, length_bytes) = (cursor.u8()?, cursor.u8()?);
            // Version 1 has one more number, of four bytes, before the addresses.
            cursor.take(if version == 0 { 9 } else { 13 })?;
            (false, offset_bytes, length_bytes)
        }
        2 | 3 => {
            let (offset_bytes, length_bytes, flags) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
            // Bit 0: open for writing; bit 2: open for writing while others read.
            (version == 3 && flags & 0b101 != 0, offset_bytes, length_bytes)
        }
        _ => return None,
    };
    let (offset_bytes, length_bytes) = (usize::from(offset_bytes), usize::from(length_bytes));
    [2, 4, 8].contains(&offset_bytes).then_some(())?;
    let mut address = || file::number(&mut cursor, offset_bytes);
    // Between the base and the end: the free space (0 and 1), the extension (2 and 3).
    let (base, _, end) = (address()?, address()?, address()?);
    if version < 2 {
        // The driver's information; then the root's entry begins with the offset of its name.
        for _ in 0..2 {
            address()?;
        }
    }
    Some(Superblock { base, end, widths: (offset_bytes, length_bytes), root: address()?, open })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{self, Bytes, fixture};

    fn said(bytes: &[u8]) -> String {
        samples::said(check(&Bytes::new(bytes)))
    }

    #[test]
    fn each_version_is_valid_and_every_cut_of_it_is_not() {
        for name in ["v0.h5", "v3.h5", "user.h5"] {
            let whole = fixture(name);
            assert_eq!(said(&whole), "", "{name}");
            for len in (0..whole.len()).step_by(7) {
                assert!(!said(&whole[..len]).is_empty(), "{name} cut to {len}");
            }
            assert!(said(&[&whole[..], b"x"].concat()).contains("not closed"));
        }
        let prefixed = [vec![0; 512], fixture("v0.h5")].concat();
        assert_eq!(said(&prefixed), "");
    }

    #[test]
    fn a_file_that_a_killed_writer_left_open_is_invalid() {
        let mut open = fixture("v3.h5");
        open[11] |= 0b101;
        assert!(said(&open).contains("did not close"));
    }
}
