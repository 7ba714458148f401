//! Files of the chunk index, written as docs/format.md describes them: a store writes them only for far more blobs.

use std::fs;
use std::path::Path;

/// Bits of an id that choose a bucket.
const BITS: u32 = 2;

/// Writes two index files that cover every other pack each.
pub(crate) fn write(store: &Path) {
    let packs = crate::places::files(store, "packs", ".pack");
    for sequence in [1, 2] {
        let covered: Vec<&String> = packs.iter().skip(sequence as usize - 1).step_by(2).collect();
        let bytes = file(store, &covered, sequence);
        fs::write(store.join(format!("index/{sequence:016x}.idx")), bytes).unwrap();
    }
}

fn file(store: &Path, packs: &[&String], sequence: u64) -> Vec<u8> {
    let (mut entries, mut covers) = (Vec::new(), Vec::new());
    for pack in packs {
        let bytes = fs::read(store.join(pack)).unwrap();
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = bytes.len();
        let (list, count, number) = (u32_at(end - 28) as usize, u32_at(end - 24) as usize, u32_at(end - 20));
        covers.extend(number.to_le_bytes().into_iter().chain((end as u32).to_le_bytes()));
        for at in (0..count).map(|n| list + 48 * n) {
            let has_base = u32::from(bytes[at + 46] & 1) << 31;
            let mut entry = bytes[at..at + 32].to_vec();
            for field in [number, u32_at(at + 32), u32_at(at + 36), u32_at(at + 40) | has_base] {
                entry.extend(field.to_le_bytes());
            }
            entries.push(entry);
        }
    }
    entries.sort();
    let mut fanout = Vec::new();
    for bucket in 0..1_usize << BITS {
        let of = |entry: &&Vec<u8>| usize::from(entry[0] >> (8 - BITS)) == bucket;
        let first = entries
            .iter()
            .position(|entry| usize::from(entry[0] >> (8 - BITS)) >= bucket)
            .unwrap_or(entries.len());
        let held: Vec<u8> = entries.iter().filter(of).flatten().copied().collect();
        fanout.extend((first as u64).to_le_bytes());
        fanout.extend(crc32c::crc32c(&held).to_le_bytes());
    }
    let table = [fanout, covers].concat();
    let mut trailer = b"CKPTINDX".to_vec();
    trailer.extend([2, BITS].into_iter().flat_map(u32::to_le_bytes));
    trailer.extend((entries.len() as u64).to_le_bytes());
    trailer.extend((packs.len() as u32).to_le_bytes());
    trailer.extend(sequence.to_le_bytes());
    trailer.extend(crc32c::crc32c(&table).to_le_bytes());
    trailer.extend(0_u32.to_le_bytes());
    trailer.extend(crc32c::crc32c(&trailer).to_le_bytes());
    [entries.concat(), table, trailer].concat()
}
