//! The bytes of datasets: one run of each that is contiguous, one of each chunk of those with a B-tree of chunks.

use super::file::File;
use super::group;
use super::object::{self, Message};
use crate::base::Result;
use crate::base::bytes::Cursor;
use crate::formats::tensors::{TENSORS_MAX, Tensor};

/// The deepest nesting of groups that is read.
const DEPTH_MAX: u32 = 64;
/// A path beyond this, in bytes, is cut short.
const PATH_MAX: usize = 4096;

/// The datasets below the group at `root`, with their paths as names.
pub(super) fn all(file: &mut File<'_>, root: u64) -> Result<Vec<Tensor>> {
    let (mut found, mut todo) = (Vec::new(), vec![(Vec::new(), root, 0)]);
    while let Some((path, address, depth)) = todo.pop()
        && found.len() < TENSORS_MAX
    {
        // Hard links may lead to an object twice, or back to a group above.
        if !file.is_new(address) {
            continue;
        }
        let messages = object::messages(file, address)?;
        if let Some(layout) = messages.iter().find(|message| message.kind == 0x08) {
            dataset(file, layout, &path, &mut found)?;
            continue;
        }
        if depth >= DEPTH_MAX {
            continue;
        }
        for link in group::links(file, &messages)? {
            let separator: &[u8] = if path.is_empty() { b"" } else { b"/" };
            let mut below = [&path, separator, &link.name].concat();
            below.truncate(PATH_MAX);
            if !file.pay(below.len()) {
                break;
            }
            todo.push((below, link.address, depth + 1));
        }
    }
    Ok(found)
}

/// Where the bytes of a dataset lie, by its layout message.
fn dataset(file: &mut File<'_>, layout: &Message, path: &[u8], found: &mut Vec<Tensor>) -> Result<()> {
    let mut cursor = Cursor::new(&layout.data);
    match (cursor.u8(), cursor.u8()) {
        (Some(3 | 4), Some(1)) => {
            let (address, len) = (file.address(&mut cursor), file.length(&mut cursor));
            let place = address.and_then(|address| file.place(address)).zip(len);
            found.extend(place.map(|(offset, len)| Tensor { name: path.to_vec(), offset, len }));
        }
        // Later versions find their chunks in other ways, which only writers that ask for them use.
        (Some(3), Some(2)) => {
            let (Some(sides), Some(tree)) = (cursor.u8(), file.address(&mut cursor)) else { return Ok(()) };
            // Bytes of the chunk, filters that were left out, and its place in each dimension.
            for leaf in group::leaves(file, tree, 1, 8 + 8 * usize::from(sides))? {
                let len = Cursor::new(&leaf.key).u32().map(u64::from);
                if let Some((offset, len)) = file.place(leaf.child).zip(len)
                    && file.pay(path.len())
                {
                    found.push(Tensor { name: path.to_vec(), offset, len });
                }
            }
        }
        _ => {}
    }
    Ok(())
}
