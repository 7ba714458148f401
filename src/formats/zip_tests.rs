//! Directories of each kind, built byte by byte: zip64, comments, and what contradicts itself.

use super::samples::{self, Bytes, Huge};
use super::zip::{Entries, check, data_offset, directory, names};
use crate::base::bytes::Put;

/// An entry of the directory; `wide` puts its numbers into the zip64 field.
fn central(out: &mut Vec<u8>, name: &str, method: u16, len: u64, local: u64, wide: bool) {
    let short = |number: u64| if wide { u32::MAX } else { u32::try_from(number).unwrap() };
    out.raw(b"PK\x01\x02").raw(&[0; 6]).u16(method).raw(&[0; 8]).u32(short(len)).u32(short(len));
    out.u16(u16::try_from(name.len()).unwrap())
        .u16(if wide { 36 } else { 8 })
        .u16(2)
        .raw(&[0; 8])
        .u32(short(local));
    out.raw(name.as_bytes());
    out.u16(0x7075).u16(4).raw(b"xxxx");
    if wide {
        out.u16(1).u16(24).u64(len).u64(len).u64(local);
    }
    out.raw(b"cc");
}

/// What lies behind the entries: directory, zip64 records when `wide`, end record with a comment.
fn ending(at: u64, entries: &[(&str, u16, u64, u64)], wide: bool, comment: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    entries
        .iter()
        .for_each(|(name, method, len, local)| central(&mut out, name, *method, *len, *local, wide));
    let (len, count) = (out.len() as u64, entries.len() as u64);
    if wide {
        let record = at + len;
        out.raw(b"PK\x06\x06").u64(44).raw(&[0; 12]).u64(count).u64(count).u64(len).u64(at);
        out.raw(b"PK\x06\x07").u32(0).u64(record).u32(1);
    }
    let short = |number: u64| if wide { u32::MAX } else { u32::try_from(number).unwrap() };
    let count = if wide { u16::MAX } else { u16::try_from(count).unwrap() };
    out.raw(b"PK\x05\x06").raw(&[0; 4]).u16(count).u16(count).u32(short(len)).u32(short(at));
    out.u16(u16::try_from(comment.len()).unwrap()).raw(comment);
    out
}

fn local(name: &str, data: &[u8]) -> Vec<u8> {
    let mut out = b"PK\x03\x04".to_vec();
    out.raw(&[0; 22])
        .u16(u16::try_from(name.len()).unwrap())
        .u16(3)
        .raw(name.as_bytes())
        .raw(b"eee")
        .raw(data);
    out
}

/// A zip of one entry `a/b` of four bytes, whose directory says of it what is given.
fn zip(method: u16, len: u64, place: u64, wide: bool, comment: &[u8]) -> Vec<u8> {
    let mut bytes = local("a/b", b"data");
    let at = bytes.len() as u64;
    bytes.extend(ending(at, &[("a/b", method, len, place)], wide, comment));
    bytes
}

fn said(bytes: &[u8]) -> String {
    samples::said(check(&Bytes::new(bytes), "zip"))
}

#[test]
fn a_zip_of_each_kind_is_valid_and_every_cut_of_it_is_not() {
    for wide in [false, true] {
        for comment in [&b""[..], b"a comment", &[b'P'; 60_000]] {
            let whole = zip(0, 4, 0, wide, comment);
            assert_eq!(said(&whole), "");
            assert_eq!(names(&Bytes::new(&whole[..]), 9).unwrap(), [b"a/b"]);
            for len in (0..whole.len()).filter(|len| *len < 300 || len % 7000 == 0) {
                assert!(said(&whole[..len]).contains("cut short"), "{wide} {len}");
            }
        }
        let source = Bytes::new(zip(0, 4, 0, wide, b""));
        let found = directory(&source).unwrap().unwrap();
        let entry = Entries::new(&source, &found).next().unwrap_or_else(|_| panic!("no entry")).unwrap();
        assert_eq!(data_offset(&source, &entry).unwrap(), Some(36));
    }
}

#[test]
fn an_entry_outside_the_file_or_in_an_unknown_compression_is_seen() {
    for wide in [false, true] {
        assert!(said(&zip(0, 8, 0, wide, b"")).contains("a/b lies outside the file"));
        assert!(said(&zip(0, 4, 60, wide, b"")).contains("lies outside"));
        assert!(said(&zip(99, 4, 0, wide, b"")).contains("unknown compression"));
        assert_eq!(said(&zip(8, 4, 0, wide, b"")), "");
    }
    assert!(said(&zip(0, u64::MAX, u64::MAX, true, b"")).contains("lies outside"));
}

#[test]
fn a_directory_that_contradicts_its_end_record_is_seen() {
    let whole = zip(0, 4, 0, false, b"");
    let at = whole.len() - 22;
    for (place, why) in
        [(10, "damaged entry"), (12, "without its central directory"), (16, "without its central")]
    {
        let mut bad = whole.clone();
        bad[at + place] += 1;
        assert!(said(&bad).contains(why), "{place}: {}", said(&bad));
    }
    let mut fewer = whole.clone();
    fewer[at + 10] = 0;
    assert!(said(&fewer).contains("longer than its entries"));
    let mut torn = whole;
    torn[40] ^= 1;
    assert!(said(&torn).contains("damaged entry"));
}

#[test]
fn an_archive_of_a_terabyte_is_checked_by_its_directory() {
    let at = 1 << 40;
    let end = ending(at, &[("a/data.pkl", 0, 100, 0), ("a/data/0", 0, at - 1000, 200)], true, b"");
    let source = Tail { front: Huge { head: local("a/data.pkl", b""), len: at, fill: 0 }, end: end.clone() };
    assert!(check(&source, "zip").is_ok());
    let short = ending(at, &[("a/data.pkl", 0, 100, 0), ("a/data/0", 0, at, 200)], true, b"");
    let source = Tail { front: source.front, end: short };
    assert!(check(&source, "zip").is_err());
}

/// A long front and some bytes behind it.
struct Tail {
    front: Huge,
    end: Vec<u8>,
}

impl super::Source for Tail {
    fn len(&self) -> u64 {
        self.front.len + self.end.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> crate::base::Result<()> {
        match offset.checked_sub(self.front.len) {
            Some(at) => {
                let at = usize::try_from(at).unwrap();
                buf.copy_from_slice(&self.end[at..at + buf.len()]);
                Ok(())
            }
            None => self.front.read_exact_at(offset, buf),
        }
    }
}
