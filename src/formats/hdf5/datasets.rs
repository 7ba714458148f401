//! The bytes of datasets: one run of each that is contiguous, one of each chunk of those with a B-tree of chunks.

use super::file::File;
use super::object::{self, Message};
use super::{datatype, group};
use crate::base::Result;
use crate::base::bytes::Cursor;
use crate::formats::describe::Described;
use crate::formats::dtype::element_bytes;
use crate::formats::tensors::{TENSORS_MAX, Tensor};

/// The deepest nesting of groups that is read.
const DEPTH_MAX: u32 = 64;
/// A path beyond this, in bytes, is cut short.
const PATH_MAX: usize = 4096;

/// A dataset: what its header says of it, and where its bytes are.
#[derive(Default)]
pub(super) struct Dataset {
    path: Vec<u8>,
    dtype: String,
    shape: Vec<u64>,
    /// Bytes lie as they are in the memory of a little-endian machine.
    native: bool,
    /// Elements of a chunk along each side; empty when there are no chunks.
    chunk: Vec<u64>,
    runs: Vec<Run>,
}

/// A run of bytes, of the chunk that begins at `place`.
struct Run {
    offset: u64,
    len: u64,
    place: Vec<u64>,
}

/// The datasets below the group at `root`, with their paths as names.
pub(super) fn all(file: &mut File<'_>, root: u64) -> Result<Vec<Dataset>> {
    let (mut found, mut runs, mut todo) = (Vec::new(), 0, vec![(Vec::new(), root, 0)]);
    while let Some((path, address, depth)) = todo.pop()
        && runs < TENSORS_MAX
    {
        // Hard links may lead to an object twice, or back to a group above.
        if !file.is_new(address) {
            continue;
        }
        let messages = object::messages(file, address)?;
        if let Some(layout) = messages.iter().find(|message| message.kind == 0x08) {
            let mut dataset = about(file, &messages);
            dataset.path = path;
            dataset.lay(file, layout)?;
            runs += dataset.runs.len();
            found.push(dataset);
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

/// What the messages of a dataset say of its elements.
fn about(file: &File<'_>, messages: &[Message]) -> Dataset {
    let mut dataset = Dataset { native: true, ..Dataset::default() };
    for message in messages {
        match message.kind {
            0x01 => dataset.shape = datatype::shape(file, message).unwrap_or_default(),
            0x03 => {
                let (dtype, native) = datatype::dtype(message);
                dataset.dtype = dtype;
                dataset.native &= native;
            }
            // Behind its version, the number of filters.
            0x0b => dataset.native &= message.data.get(1) == Some(&0),
            _ => {}
        }
    }
    dataset
}

impl Dataset {
    /// Takes where its bytes lie from its layout message.
    fn lay(&mut self, file: &mut File<'_>, layout: &Message) -> Result<()> {
        let mut cursor = Cursor::new(&layout.data);
        match (cursor.u8(), cursor.u8()) {
            (Some(3 | 4), Some(1)) => {
                let (address, len) = (file.address(&mut cursor), file.length(&mut cursor));
                let run = address.and_then(|address| file.place(address)).zip(len);
                self.runs.extend(run.map(|(offset, len)| Run { offset, len, place: Vec::new() }));
            }
            // Later versions find their chunks in other ways, which only writers that ask for them use.
            (Some(3), Some(2)) => {
                let (Some(sides), Some(tree)) = (cursor.u8(), file.address(&mut cursor)) else {
                    return Ok(());
                };
                let sides = usize::from(sides);
                // The last one is the bytes of an element.
                let elements = |_| cursor.u32().map(u64::from);
                self.chunk = (1..sides).map_while(elements).collect();
                // Bytes of the chunk, filters that were left out, and its place in each dimension.
                for leaf in group::leaves(file, tree, 1, 8 + 8 * sides)? {
                    let mut key = Cursor::new(&leaf.key);
                    let len = key.u32().map(u64::from);
                    if let Some((offset, len)) = file.place(leaf.child).zip(len)
                        && file.pay(self.path.len())
                    {
                        key.u32();
                        let place = (1..sides).map_while(|_| key.u64()).collect();
                        self.runs.push(Run { offset, len, place });
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Each run as a tensor of its own.
    pub(super) fn tensors(self) -> impl Iterator<Item = Tensor> {
        let Dataset { path, runs, .. } = self;
        runs.into_iter().map(move |Run { offset, len, .. }| Tensor { name: path.clone(), offset, len })
    }

    /// All of it as one tensor.
    pub(super) fn described(mut self) -> Described {
        self.runs.sort_by(|left, right| left.place.cmp(&right.place));
        let whole = if self.native { self.rows_of_chunks() } else { None };
        let native = self.native && (self.chunk.is_empty() || whole.is_some());
        if let Some(lens) = whole {
            for (run, len) in self.runs.iter_mut().zip(lens) {
                run.len = run.len.min(len);
            }
        }
        Described {
            name: String::from_utf8_lossy(&self.path).into_owned(),
            dtype: self.dtype,
            shape: self.shape,
            global_shape: None,
            parts: self.runs.iter().map(|run| (run.offset, run.len)).collect(),
            encoded: !native,
        }
    }

    /// The bytes of each chunk that are elements of the dataset, where the chunks are rows of it one after the other:
    /// one element along the first sides, then some along one, then all along the others. The last chunk may reach
    /// beyond the dataset.
    fn rows_of_chunks(&self) -> Option<Vec<u64>> {
        let (shape, chunk) = (&self.shape, &self.chunk);
        (!chunk.is_empty() && shape.len() == chunk.len()).then_some(())?;
        let split = chunk.iter().position(|side| *side > 1).unwrap_or(chunk.len() - 1);
        let (inner_of_chunk, inner) = (chunk.get(split + 1..)?, shape.get(split + 1..)?);
        (inner_of_chunk == inner).then_some(())?;
        let row = inner.iter().try_fold(element_bytes(&self.dtype)?, |all, side| all.checked_mul(*side))?;
        let (side, length) = (*shape.get(split)?, *chunk.get(split)?);
        let len = |run: &Run| side.checked_sub(*run.place.get(split)?)?.min(length).checked_mul(row);
        self.runs.iter().map(len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A dataset of `i16` in chunks of which one lies at each place, 100 bytes apart.
    fn described(shape: &[u64], chunk: &[u64], places: &[&[u64]]) -> Described {
        let len = 2 * chunk.iter().product::<u64>();
        let runs = (0..).zip(places).map(|(n, place)| Run { offset: 100 * n, len, place: place.to_vec() });
        let (shape, chunk, runs) = (shape.to_vec(), chunk.to_vec(), runs.collect());
        Dataset { path: Vec::new(), dtype: "i16".into(), shape, native: true, chunk, runs }.described()
    }

    #[test]
    fn chunks_of_whole_rows_are_told_in_order_and_the_last_without_what_is_beyond_the_dataset() {
        let rows = described(&[3, 2], &[2, 2], &[&[2, 0], &[0, 0]]);
        assert_eq!((rows.parts, rows.encoded), (vec![(100, 8), (0, 4)], false));
        let line = described(&[5], &[2], &[&[0], &[2], &[4]]);
        assert_eq!((line.parts, line.encoded), (vec![(0, 4), (100, 4), (200, 2)], false));
        let planes = described(&[2, 3, 4], &[1, 2, 4], &[&[0, 0, 0], &[0, 2, 0], &[1, 0, 0], &[1, 2, 0]]);
        let lens: Vec<u64> = planes.parts.iter().map(|(_, len)| *len).collect();
        assert_eq!((lens, planes.encoded), (vec![16, 8, 16, 8], false));
    }

    #[test]
    fn tiles_and_what_a_writer_left_out_are_encoded() {
        let tiles = described(&[2, 4], &[2, 2], &[&[0, 0], &[0, 2]]);
        assert_eq!((tiles.parts, tiles.encoded), (vec![(0, 8), (100, 8)], true));
        let beyond = described(&[2, 2], &[2, 2], &[&[4, 0]]);
        assert_eq!((beyond.parts, beyond.encoded), (vec![(0, 8)], true));
        let mut missing = described(&[4, 2], &[2, 2], &[&[0, 0]]);
        missing.settle(1000);
        assert!(missing.encoded, "half of it is not there");
    }
}
