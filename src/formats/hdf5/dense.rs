//! Links of a group with many: messages in a fractal heap, found by a B-tree of version 2 over their names
//! (format specification, III.A.2 and III.G).

use super::file::{File, number};
use super::group::{Link, link};
use crate::base::Result;
use crate::base::bytes::Cursor;

/// The deepest B-tree that is read.
const DEPTH_MAX: usize = 8;
/// A node or a link beyond this, in bytes, is not read.
const NODE_MAX: usize = 1 << 20;
/// Signature, version and type before the records of a node, and the checksum behind them, in bytes.
const NODE: usize = 10;
/// The hash of a name before a record's place in the heap, in bytes.
const HASH: usize = 4;

/// Adds the links that a link info message leads to.
pub(super) fn links(file: &mut File<'_>, message: &[u8], found: &mut Vec<Link>) -> Result<()> {
    let mut cursor = Cursor::new(message);
    let (Some(_), Some(flags)) = (cursor.u8(), cursor.u8()) else { return Ok(()) };
    cursor.take(if flags & 1 != 0 { 8 } else { 0 });
    let (Some(heap), Some(tree)) = (file.address(&mut cursor), file.address(&mut cursor)) else {
        return Ok(());
    };
    let head = file.read(heap, 256)?;
    let Some(heap) = Heap::parse(file, &head) else { return Ok(()) };
    for record in records(file, tree)? {
        let Some((offset, len)) = record.get(HASH..).and_then(|id| heap.managed(id)) else { continue };
        if let Some(at) = heap.address(file, offset)? {
            let message = file.read(at, len)?;
            found.extend(link(file, &message));
        }
    }
    Ok(())
}

/// The records of a B-tree of version 2 of names.
fn records(file: &mut File<'_>, address: u64) -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let head = file.read(address, 22 + file.address_bytes())?;
    let Some((shape, root, count)) = Shape::parse(file, &head) else { return Ok(found) };
    let mut todo = vec![(root, count, shape.depth)];
    while let Some((at, count, depth)) = todo.pop() {
        if !file.is_new(at) {
            continue;
        }
        let node = file.read(at, shape.node)?;
        let mut cursor = Cursor::new(&node);
        let signature: &[u8; 4] = if depth == 0 { b"BTLF" } else { b"BTIN" };
        if cursor.array() != Some(*signature) || cursor.take(2).is_none() {
            continue;
        }
        for _ in 0..count {
            let Some(record) = cursor.take(shape.record) else { break };
            found.push(record.to_vec());
        }
        // The nodes below: one more than there are records.
        for _ in 0..if depth == 0 { 0 } else { count.saturating_add(1) } {
            let below = depth - 1;
            let child = (file.address(&mut cursor), number(&mut cursor, shape.count_bytes));
            cursor.take(shape.total_bytes.get(below).copied().unwrap_or(0));
            let (Some(child), Some(count)) = child else { break };
            todo.push((child, count, below));
        }
    }
    Ok(found)
}

/// How the nodes of a B-tree of version 2 are written.
struct Shape {
    /// Bytes of a node and of a record.
    node: usize,
    record: usize,
    depth: usize,
    /// Bytes of the number of records in a node below.
    count_bytes: usize,
    /// By depth of the node below, 0 for a leaf: bytes of the number of records in it and in all below it.
    total_bytes: Vec<usize>,
}

impl Shape {
    /// The shape, the address of the root, and its number of records.
    fn parse(file: &File<'_>, head: &[u8]) -> Option<(Shape, u64, u64)> {
        let mut cursor = Cursor::new(head);
        // Type 5: links by name.
        (cursor.array()? == *b"BTHD" && cursor.u8()? == 0 && cursor.u8()? == 5).then_some(())?;
        let node = usize::try_from(cursor.u32()?).ok().filter(|node| *node <= NODE_MAX)?;
        let record = usize::from(cursor.u16()?);
        let depth = usize::from(cursor.u16()?);
        (record > HASH && depth <= DEPTH_MAX).then_some(())?;
        cursor.take(2)?;
        let (root, count) = (file.address(&mut cursor)?, u64::from(cursor.u16()?));
        let mut most = (node.checked_sub(NODE)? / record) as u64;
        let count_bytes = bytes_for(most);
        let mut total_bytes = vec![0];
        for _ in 1..depth {
            let pointer = file.address_bytes() + count_bytes + total_bytes.last().copied().unwrap_or(0);
            let own = (node.checked_sub(NODE + pointer)? / (record + pointer)) as u64;
            most = own.checked_add(1)?.checked_mul(most)?.checked_add(own)?;
            total_bytes.push(bytes_for(most));
        }
        Some((Shape { node, record, depth, count_bytes, total_bytes }, root, count))
    }
}

/// How many bytes hold every number up to `most`.
fn bytes_for(most: u64) -> usize {
    (most.max(1).ilog2() / 8 + 1) as usize
}

/// A fractal heap: blocks of doubling lengths, `width` of each, in one space of offsets.
struct Heap {
    /// Bytes of an offset, and of a length, in the place of an object.
    offset_bytes: usize,
    len_bytes: usize,
    width: u64,
    /// Bytes of the least and of the greatest direct block.
    least: u64,
    greatest: u64,
    root: u64,
    /// 0: the root is a direct block.
    rows: u64,
}

impl Heap {
    fn parse(file: &File<'_>, head: &[u8]) -> Option<Heap> {
        let mut cursor = Cursor::new(head);
        (cursor.array()? == *b"FRHP" && cursor.u8()? == 0).then_some(())?;
        cursor.take(2)?;
        let filters = cursor.u16()?;
        cursor.take(1)?;
        let object_max = u64::from(cursor.u32()?);
        cursor.take(10 * file.length_bytes() + 2 * file.address_bytes())?;
        let width = u64::from(cursor.u16()?);
        let (least, greatest) = (file.length(&mut cursor)?, file.length(&mut cursor)?);
        let offset_bytes = usize::from(cursor.u16()?).div_ceil(8);
        cursor.take(2)?;
        let (root, rows) = (file.address(&mut cursor)?, u64::from(cursor.u16()?));
        // Filtered heaps are written by nobody for links.
        let sound = filters == 0 && width > 0 && least.is_power_of_two() && greatest.is_power_of_two();
        let len_bytes = bytes_for(greatest.min(object_max));
        (sound && least <= greatest).then_some(Heap {
            offset_bytes,
            len_bytes,
            width,
            least,
            greatest,
            root,
            rows,
        })
    }

    /// Offset and length of an object that lies in the blocks.
    fn managed(&self, id: &[u8]) -> Option<(u64, usize)> {
        let mut cursor = Cursor::new(id);
        (cursor.u8()? & 0xf0 == 0).then_some(())?;
        let offset = number(&mut cursor, self.offset_bytes)?;
        let len = usize::try_from(number(&mut cursor, self.len_bytes)?).ok()?;
        (len <= NODE_MAX).then_some((offset, len))
    }

    /// The address of the object at `offset`. One below a second indirect block is not found: that takes 10,000 links.
    fn address(&self, file: &mut File<'_>, offset: u64) -> Result<Option<u64>> {
        if self.rows == 0 {
            return Ok(self.root.checked_add(offset));
        }
        let Some((block, inside)) = self.block(offset) else { return Ok(None) };
        // Signature, version, address of the heap, offset of the block.
        let head = 5 + file.address_bytes() + self.offset_bytes;
        let at = (file.address_bytes() as u64).checked_mul(block).and_then(|at| at.checked_add(head as u64));
        let Some(at) = at.and_then(|at| at.checked_add(self.root)) else { return Ok(None) };
        let entry = file.read(at, file.address_bytes())?;
        Ok(file.address(&mut Cursor::new(&entry)).and_then(|at| at.checked_add(inside)))
    }

    /// The number of the direct block that holds `offset`, and where in it. Two rows have the least blocks, each later
    /// row has blocks twice as long.
    fn block(&self, offset: u64) -> Option<(u64, u64)> {
        let first = self.least.checked_mul(self.width)?;
        let row = (offset / first).checked_ilog2().map_or(0, |doubled| u64::from(doubled) + 1);
        let (begin, len) = match row.checked_sub(1) {
            None => (0, self.least),
            Some(doubled) => (
                first.checked_shl(u32::try_from(doubled).ok()?)?,
                self.least.checked_shl(u32::try_from(doubled).ok()?)?,
            ),
        };
        let inside = offset.checked_sub(begin)?;
        let is_direct = row < self.rows && len > 0 && len <= self.greatest;
        is_direct.then(|| (row * self.width + inside / len, inside % len))
    }
}
