//! Bodies over the files of a store: journal, packs and index files, the records of the catalog.
//!
//! Where a checksum guards what is behind it, the body makes it right, so that the fuzzer does not stop at it.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use ckptfs::base::Error;
use ckptfs::base::id::ChunkId;
use ckptfs::base::name::{is_name, is_path_down};
use ckptfs::catalog::keys;
use ckptfs::catalog::records::{Dentry, Inode};
use ckptfs::codec::{Codec, Encoding};
use ckptfs::content::hash::chunk_id;
use ckptfs::engine::lock::Holder;
use ckptfs::journal::{self, export, record};
use ckptfs::pack::format::{self as pack, BlobHeader, Kind, PackEntry};
use ckptfs::pack::index::IndexFile;
use ckptfs::pack::{reader, scan};
use ckptfs::version::record::{self as history, Pending, Run, Version, path_bytes, path_text};

/// The longest file that a body makes, in bytes.
const LONGEST: usize = 256 << 10;

/// A folder in memory, for what is read by its path; it goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = PathBuf::from(format!("/dev/shm/ckptfs-fuzz-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a folder in /dev/shm");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file in /dev/shm");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("our own folder");
    }
}

/// The pieces of an input: a byte for the kind, two for the length, so many bytes.
fn pieces(mut input: &[u8]) -> Vec<(u8, &[u8])> {
    let mut found = Vec::new();
    while let Some((&[kind, a, b], rest)) = input.split_first_chunk::<3>() {
        let len = usize::from(u16::from_le_bytes([a, b])).min(rest.len());
        let (piece, after) = rest.split_at(len);
        found.push((kind, piece));
        input = after;
    }
    found
}

fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// A refusal or a find of damage; nothing that the disk did.
fn expected(error: &Error) {
    assert!(matches!(error, Error::Damaged { .. } | Error::Refused(_)), "{error}");
}

/// A journal is read to its end or refused, and what is read is what was written.
///
/// What it is (a byte: records, an export, either as raw bytes), then pieces. A piece of a journal is a record: its kind, how far its
/// seq jumps (high bits of the kind), its payload; kinds above make it a raw run of bytes, or begin the next segment.
pub(super) fn journal(input: &[u8]) {
    let Some((what, rest)) = input.split_first() else { return };
    match what % 4 {
        0 => segments(rest, what & 4 == 0, u64::from(what >> 3)),
        1 => exported(rest),
        2 => {
            let folder = Folder::new();
            let path = folder.file("0000000000000001.export", rest);
            export::read(&path, &mut |_, _| Ok(())).as_ref().err().into_iter().for_each(expected);
            folder.file("0000000000000001.log", rest);
            scanned(&folder, true, 0);
        }
        _ => {
            let mut bytes = vec![0; 24];
            bytes.extend_from_slice(rest);
            if bytes.len() >= record::RECORD_HEADER_LEN {
                record::seal(&mut bytes, 7, 5);
                decoded(&bytes);
            }
        }
    }
}

/// What a record decodes to encodes to the same bytes.
fn decoded(bytes: &[u8]) {
    let Some(found) = record::decode(bytes) else { return };
    let mut again = found.body.encode().expect("a payload that fits once fits again");
    record::seal(&mut again, found.seq, found.durable);
    assert_eq!(again, bytes[..found.len], "{:?}", found.body);
}

fn segment_header() -> Vec<u8> {
    let mut header = b"ckptjrnl".to_vec();
    for field in [1_u32, ckptfs::base::STORE_FORMAT] {
        header.extend_from_slice(&field.to_le_bytes());
    }
    header.extend_from_slice(&[9; 16]);
    header.extend_from_slice(&[0; 12]);
    with_crc(header)
}

fn segments(input: &[u8], same_boot: bool, covered: u64) {
    let folder = Folder::new();
    let (mut bytes, mut first, mut seq) = (segment_header(), 1_u64, 1_u64);
    for (kind, piece) in pieces(input) {
        match kind & 15 {
            0..=9 => {
                seq += u64::from(kind >> 6);
                let mut one = vec![0; 24];
                one.push(kind & 15);
                one.extend_from_slice(piece);
                record::seal(&mut one, seq, seq.saturating_sub(u64::from(kind >> 4 & 3)));
                bytes.extend_from_slice(&one);
                seq += 1;
            }
            10..=13 => bytes.extend_from_slice(piece),
            _ => {
                folder.file(&format!("{first:016x}.log"), &bytes);
                (bytes, first) = (segment_header(), seq + u64::from(kind >> 6));
                seq = first;
            }
        }
        if bytes.len() > LONGEST {
            break;
        }
    }
    folder.file(&format!("{first:016x}.log"), &bytes);
    scanned(&folder, same_boot, covered);
}

fn scanned(folder: &Folder, same_boot: bool, covered: u64) {
    let boot = if same_boot { [9; 16] } else { [8; 16] };
    let last = Cell::new(0);
    let found = journal::scan(&folder.0, &boot, &mut || Ok(covered), &mut |record| {
        assert!(record.seq > last.get(), "seq {} after {}", record.seq, last.get());
        last.set(record.seq);
        let mut bytes = record.body.encode()?;
        record::seal(&mut bytes, record.seq, record.durable);
        assert_eq!(record::decode(&bytes).as_ref(), Some(&record));
        Ok(())
    });
    match found {
        Ok(found) => assert!(found.last_seq >= last.get() && found.contiguous_from <= found.last_seq + 1),
        Err(error) => expected(&error),
    }
}

/// Pieces are blocks; an odd kind is a block whose bytes are keys and values in their pieces' order.
fn exported(input: &[u8]) {
    let folder = Folder::new();
    let mut bytes = b"ckptexpt".to_vec();
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&ckptfs::base::STORE_FORMAT.to_le_bytes());
    bytes.extend_from_slice(&5_u64.to_le_bytes());
    bytes.extend_from_slice(&0_u32.to_le_bytes());
    let mut bytes = with_crc(bytes);
    let (mut entries, mut blocks, mut chain) = (0_u64, 0_u64, 0_u32);
    for (kind, piece) in pieces(input) {
        let len = (piece.len() as u32).to_le_bytes();
        let crc = crc32c::crc32c_append(crc32c::crc32c(&len), piece);
        bytes.extend_from_slice(&len);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(piece);
        chain = crc32c::crc32c_append(chain, &crc.to_le_bytes());
        (entries, blocks) = (entries + u64::from(kind), blocks + 1);
    }
    let mut counts = entries.to_le_bytes().to_vec();
    counts.extend_from_slice(&blocks.to_le_bytes());
    counts.extend_from_slice(&chain.to_le_bytes());
    bytes.extend_from_slice(&u32::MAX.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&counts).to_le_bytes());
    bytes.extend_from_slice(&counts);
    let path = folder.file("0000000000000005.export", &bytes);
    let mut last: Option<Vec<u8>> = None;
    let read = export::read(&path, &mut |key, _| {
        assert!(last.as_deref().is_none_or(|last| last < key), "keys ascend");
        last = Some(key.to_vec());
        Ok(())
    });
    match read {
        Ok(position) => assert_eq!(position, 5),
        Err(error) => expected(&error),
    }
}

/// A pack gives entries that lie inside of it, by its footer or without; an index file gives places or says that it is damaged.
///
/// What it is (a byte: a pack, an index file, either as raw bytes), then pieces. A piece of a pack is a blob of these bytes, a header with a
/// right checksum around wrong ones, raw bytes, or a footer.
pub(super) fn pack(input: &[u8]) {
    let Some((what, rest)) = input.split_first() else { return };
    match what % 4 {
        0 => packed(&made_pack(rest)),
        1 => indexed(&made_index(rest)),
        2 => packed(rest),
        _ => indexed(rest),
    }
}

fn made_pack(input: &[u8]) -> Vec<u8> {
    let mut bytes = pack::encode_pack_header(1);
    let mut entries = Vec::new();
    for (kind, piece) in pieces(input) {
        let offset = bytes.len() as u32;
        match kind & 7 {
            0..=3 => {
                let id = if kind & 7 == 3 { ChunkId([kind; 32]) } else { chunk_id(piece) };
                let codec = if kind & 7 == 2 { kind >> 3 } else { Codec::Raw as u8 };
                let base = (kind & 0x80 != 0).then_some(ChunkId([1; 32]));
                let encoding = Encoding { codec, version: 1, width: 1, phase: 0, base };
                let (raw_len, stored_crc) = (piece.len() as u32, crc32c::crc32c(piece));
                let header = BlobHeader {
                    kind: Kind::Chunk,
                    encoding,
                    raw_len,
                    stored_len: raw_len,
                    stored_crc: stored_crc ^ u32::from(kind & 7 == 1),
                    id,
                };
                header.encode(&mut bytes);
                bytes.extend_from_slice(piece);
                let (len, has_base) = (header.blob_len() as u32, base.is_some());
                entries.push(PackEntry { id, offset, len, raw_len, kind: Kind::Chunk, codec, has_base });
            }
            4 | 5 => bytes.extend_from_slice(piece),
            _ => {
                entries.sort_unstable_by_key(|entry| entry.id);
                bytes.extend(pack::encode_footer(1, offset, &entries));
            }
        }
        if bytes.len() > LONGEST {
            break;
        }
    }
    bytes
}

fn packed(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.file("00000001.pack", bytes);
    let file = fs::File::open(&path).expect("the file that was just written");
    let inside = |entry: &PackEntry| {
        let end = u64::from(entry.offset) + u64::from(entry.len);
        entry.offset as usize >= pack::PACK_HEADER && end <= bytes.len() as u64
    };
    let walked = scan::scan(&file, &path).expect("a walk that ends");
    assert!(walked.iter().all(inside), "{walked:?}");
    let one_after_the_other = walked.windows(2).all(|two| two[0].offset + two[0].len <= two[1].offset);
    assert!(one_after_the_other, "{walked:?}");
    for entry in &walked {
        let header = BlobHeader::decode(&bytes[entry.offset as usize..]).expect("a header that verified");
        assert_eq!((header.id, header.blob_len()), (entry.id, u64::from(entry.len)));
    }
    match reader::read_footer(&file, &path) {
        Ok(_) => {}
        Err(error) => expected(&error),
    }
    match scan::entries(&path) {
        Ok(_) => {}
        Err(error) => expected(&error),
    }
}

/// Bits, covers (a byte each), entries (48 bytes each); the fanout says where they are, or lies when bits are above 7.
fn made_index(input: &[u8]) -> Vec<u8> {
    let Some((&[bits, covers, lie], rest)) = input.split_first_chunk::<3>() else { return Vec::new() };
    let (bits, covers) = (u32::from(bits % 8), usize::from(covers % 8));
    let (entries, _) = rest.as_chunks::<48>();
    let mut sorted = entries.to_vec();
    sorted.sort_unstable();
    let mut out: Vec<u8> = sorted.concat();
    let mut middle = Vec::new();
    let bucket = |entry: &[u8; 48]| {
        let top = u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]);
        (u64::from(top) >> (32 - bits)) as usize
    };
    for number in 0..1_usize << bits {
        let first = sorted.partition_point(|entry| bucket(entry) < number);
        let end = sorted.partition_point(|entry| bucket(entry) <= number);
        let first = if lie & 1 != 0 { first as u64 ^ u64::from(lie) } else { first as u64 };
        middle.extend_from_slice(&first.to_le_bytes());
        let crc = sorted.get(first as usize..end).map_or(0, |found| crc32c::crc32c(&found.concat()));
        middle.extend_from_slice(&crc.to_le_bytes());
    }
    for number in 0..covers as u32 {
        middle.extend_from_slice(&number.to_le_bytes());
        middle.extend_from_slice(&4096_u32.to_le_bytes());
    }
    out.extend_from_slice(&middle);
    let mut trailer = b"CKPTINDX".to_vec();
    trailer.extend_from_slice(&2_u32.to_le_bytes());
    trailer.extend_from_slice(&bits.to_le_bytes());
    trailer.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    trailer.extend_from_slice(&(covers as u32).to_le_bytes());
    trailer.extend_from_slice(&3_u64.to_le_bytes());
    trailer.extend_from_slice(&crc32c::crc32c(&middle).to_le_bytes());
    trailer.extend_from_slice(&u32::from(lie & 2 != 0).to_le_bytes());
    out.extend(with_crc(trailer));
    out
}

fn indexed(bytes: &[u8]) {
    let folder = Folder::new();
    let path = folder.file("0000000000000003.idx", bytes);
    let index = match IndexFile::open(&path) {
        Ok(index) => index,
        Err(error) => return expected(&error),
    };
    assert!(index.len() * 48 <= bytes.len() as u64 && index.covers().len() * 8 <= bytes.len());
    let ids = bytes.as_chunks::<48>().0.iter().take(64);
    for id in ids.filter_map(|entry| entry.first_chunk::<32>()).map(|id| ChunkId(*id)) {
        let mut found = Vec::new();
        match index.find(&id, &mut found) {
            Ok(()) => assert!(found.len() as u64 <= index.len()),
            Err(error) => expected(&error),
        }
    }
}

/// Every value that the catalog can hold decodes and encodes to the same bytes, or, where it is JSON, to the same value; names lead
/// nowhere but down.
///
/// What it is (a byte: inode, entry, run, version, moment, holder of a lock, any key, a path), its bytes.
pub(super) fn records(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else { return };
    match what % 8 {
        0 => {
            if let Some(inode) = Inode::decode(bytes) {
                assert_eq!(inode.encode(), bytes, "{inode:?}");
                assert!(inode.home.is_none_or(|home| is_name(&home.name)));
            }
        }
        1 => {
            if let Some(entry) = Dentry::decode(bytes) {
                assert_eq!(entry.encode(), bytes);
            }
        }
        2 => {
            if let Some(run) = comes_back::<Run>(bytes) {
                assert!(is_path_down(&path_bytes(&run.path)));
            }
        }
        3 => {
            if let Some(version) = comes_back::<Version>(bytes) {
                assert!(is_path_down(&path_bytes(&version.path)));
                assert!(version.metrics.values().all(|value| value.is_finite()));
            }
        }
        4 => drop(comes_back::<Pending>(bytes)),
        5 => drop(comes_back::<Holder>(bytes)),
        6 => a_key(bytes),
        _ => {
            let text = path_text(bytes);
            assert_eq!(path_bytes(&text), bytes);
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(path_bytes(&path_text(&path_bytes(&text))), path_bytes(&text));
        }
    }
}

fn comes_back<T>(bytes: &[u8]) -> Option<T>
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let value: T = history::decode(&[&[1], bytes].concat())?;
    assert_eq!(history::decode::<T>(&history::encode(&value)).as_ref(), Some(&value));
    Some(value)
}

fn a_key(key: &[u8]) {
    if let Some((_, name)) = keys::parse_dentry(key) {
        assert!(is_name(name));
    }
    assert!(keys::parse_hot(key).is_none() || key.len() == 10);
    if let Some((run, number)) = keys::parse_version(key) {
        assert_eq!(keys::version(run, number)[1..], key[1..]);
    }
    if let Some(ino) = keys::parse_orphan(key) {
        assert_eq!(keys::orphan(ino)[1..], key[1..]);
    }
    if let Some((id, of)) = keys::parse_saved(key) {
        assert_eq!(keys::saved(id, of)[1..], key[1..]);
        assert!(keys::covered_number(of).is_none() || of.len() >= 9);
    }
    assert!(keys::parse_number(key).is_none() || key.len() == 9);
    assert!(keys::parse_xattr(key).is_none_or(|name| name.len() + 9 == key.len()));
}
