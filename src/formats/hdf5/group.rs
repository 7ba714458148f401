//! The links of a group: a symbol table (a B-tree of version 1 over nodes of entries, names in a local heap; what h5py
//! writes by default), or link messages in the header or in a fractal heap (groups that keep their order; Keras).

use super::dense;
use super::file::{File, number};
use super::object::Message;
use crate::base::Result;
use crate::base::bytes::Cursor;

/// Entries of a node of a B-tree beyond this are not read.
const ENTRIES_MAX: usize = 1 << 12;
/// Names beyond this, in bytes, are cut short.
const NAME_MAX: usize = 1024;
/// A local heap beyond this, in bytes, is not read.
const HEAP_MAX: usize = 16 << 20;
/// The deepest B-tree that is read.
const DEPTH_MAX: u8 = 16;

/// A name in a group and the address of the object's header.
pub(super) struct Link {
    pub(super) name: Vec<u8>,
    pub(super) address: u64,
}

/// The links that the messages of an object tell; none when it is no group.
pub(super) fn links(file: &mut File<'_>, messages: &[Message]) -> Result<Vec<Link>> {
    let mut found = Vec::new();
    for message in messages {
        match message.kind {
            0x02 => dense::links(file, &message.data, &mut found)?,
            0x06 => found.extend(link(file, &message.data)),
            0x11 => symbol_table(file, &message.data, &mut found)?,
            _ => {}
        }
    }
    Ok(found)
}

/// The hard link that a link message is.
pub(super) fn link(file: &File<'_>, message: &[u8]) -> Option<Link> {
    let mut cursor = Cursor::new(message);
    let (version, flags) = (cursor.u8()?, cursor.u8()?);
    let kind = if flags & 0x08 != 0 { cursor.u8()? } else { 0 };
    cursor.take(if flags & 0x04 != 0 { 8 } else { 0 })?;
    cursor.take(usize::from(flags & 0x10 != 0))?;
    let len = number(&mut cursor, 1 << (flags & 3))?;
    let name = cursor.take(usize::try_from(len).ok()?)?.to_vec();
    (version == 1 && kind == 0).then_some(Link { name, address: file.address(&mut cursor)? })
}

fn symbol_table(file: &mut File<'_>, message: &[u8], found: &mut Vec<Link>) -> Result<()> {
    let mut cursor = Cursor::new(message);
    let (Some(tree), Some(heap)) = (file.address(&mut cursor), file.address(&mut cursor)) else {
        return Ok(());
    };
    let names = local_heap(file, heap)?;
    for node in leaves(file, tree, 0, file.length_bytes())? {
        symbols(file, node.child, &names, found)?;
    }
    Ok(())
}

/// The bytes of a local heap.
fn local_heap(file: &mut File<'_>, address: u64) -> Result<Vec<u8>> {
    let head = file.read(address, 8 + 2 * file.length_bytes() + file.address_bytes())?;
    let mut cursor = Cursor::new(&head);
    let parsed = (|| {
        (cursor.array()? == *b"HEAP").then_some(())?;
        cursor.take(4)?;
        let len = file.length(&mut cursor)?;
        file.length(&mut cursor)?;
        Some((file.address(&mut cursor)?, usize::try_from(len).ok()?))
    })();
    match parsed {
        Some((at, len)) if len <= HEAP_MAX => file.read(at, len),
        _ => Ok(Vec::new()),
    }
}

/// One entry of a leaf of a B-tree of version 1.
pub(super) struct Leaf {
    /// What is left of it.
    pub(super) key: Vec<u8>,
    pub(super) child: u64,
}

/// The entries of the leaves of the B-tree of version 1 at `address`, whose nodes are of type `kind` with keys of
/// `key_len` bytes.
pub(super) fn leaves(file: &mut File<'_>, address: u64, kind: u8, key_len: usize) -> Result<Vec<Leaf>> {
    let (mut found, mut todo) = (Vec::new(), vec![(address, DEPTH_MAX)]);
    while let Some((at, depth)) = todo.pop() {
        if !file.is_new(at) {
            continue;
        }
        let addresses = 2 * file.address_bytes();
        let head = file.read(at, 8 + addresses)?;
        let mut cursor = Cursor::new(&head);
        let parsed = (|| {
            let is_tree = cursor.array()? == *b"TREE" && cursor.u8()? == kind;
            let (level, count) = (cursor.u8()?, usize::from(cursor.u16()?));
            is_tree.then_some((level, count.min(ENTRIES_MAX)))
        })();
        // A level that does not fall would lead in circles.
        let Some((level, count)) = parsed.filter(|(level, _)| *level < depth) else { continue };
        let entries =
            file.read(at.saturating_add(head.len() as u64), count * (key_len + file.address_bytes()))?;
        let mut cursor = Cursor::new(&entries);
        while let (Some(key), Some(child)) = (cursor.take(key_len), file.address(&mut cursor)) {
            match level {
                0 => found.push(Leaf { key: key.to_vec(), child }),
                level => todo.push((child, level)),
            }
        }
    }
    Ok(found)
}

/// The entries of a symbol table node.
fn symbols(file: &mut File<'_>, address: u64, names: &[u8], found: &mut Vec<Link>) -> Result<()> {
    if !file.is_new(address) {
        return Ok(());
    }
    let head = file.read(address, 8)?;
    let mut cursor = Cursor::new(&head);
    let count =
        (cursor.array() == Some(*b"SNOD")).then(|| cursor.take(2).and_then(|_| cursor.u16())).flatten();
    let count = usize::from(count.unwrap_or(0));
    let entries = file.read(address.saturating_add(8), count * (24 + 2 * file.address_bytes()))?;
    let mut cursor = Cursor::new(&entries);
    while let (Some(name), Some(address), Some(_)) =
        (number(&mut cursor, file.address_bytes()), file.address(&mut cursor), cursor.take(24))
    {
        let name = usize::try_from(name).ok().and_then(|at| names.get(at..)).unwrap_or_default();
        let name: Vec<u8> = name.iter().take(NAME_MAX).take_while(|byte| **byte != 0).copied().collect();
        if !file.pay(name.len()) {
            break;
        }
        found.push(Link { name, address });
    }
    Ok(())
}
