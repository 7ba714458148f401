//! Any bytes, and every fixture with one byte changed, give an answer and give it soon.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::samples::{Beside, Bytes, One, fixture, fixtures};
use super::{Format, Siblings, Source, describe, facts, recognise, tensors, trainer_state, validate};

/// Far more than any answer takes, even where tests are slow.
const SOON: Duration = Duration::from_secs(5);

/// Asks all there is to ask of a file, as every format.
fn ask(name: &str, bytes: &[u8], formats: &[Format]) {
    let (source, begin) = (Bytes::new(bytes), Instant::now());
    let beside = Beside(vec![("ckpt-5.data-00000-of-00001", 172)]);
    let found = recognise(name.as_bytes(), &source).unwrap();
    for format in formats.iter().chain(&found) {
        let _ = validate(*format, name.as_bytes(), &source, &beside).unwrap();
        let _ = facts(*format, &source).unwrap();
        let mut end = 0;
        for tensor in tensors(*format, name.as_bytes(), &source, &beside).unwrap() {
            assert!(tensor.offset >= end && tensor.len > 0, "{name}: {tensor:?}");
            end = tensor.offset.checked_add(tensor.len).unwrap();
        }
        assert!(end <= bytes.len() as u64, "{name}");
        rows(name, *format, &source, &beside);
    }
    assert!(begin.elapsed() < SOON, "{name} took {:?}", begin.elapsed());
}

/// Asks for the tensors for people, and holds that their parts lie inside the file.
fn rows(name: &str, format: Format, source: &Bytes, siblings: &dyn Siblings) -> usize {
    let found = describe(format, name.as_bytes(), source, siblings).unwrap();
    for row in &found {
        let inside = |(offset, len): &(u64, u64)| *len > 0 && offset + len <= source.len();
        assert!(row.parts.iter().all(inside), "{name}: {row:?}");
    }
    found.len()
}

#[test]
fn every_changed_byte_and_every_cut_of_a_table_beside_gives_an_answer() {
    for (format, name, beside, table) in [
        (Format::TfData, "ckpt-5.data-00000-of-00001", "ckpt-5.index", "ckpt-5.index"),
        (Format::DcpData, "__1_0.distcp", ".metadata", "sharded.metadata"),
    ] {
        let (source, bytes, begin) = (Bytes::new(fixture(name)), fixture(table), Instant::now());
        assert!(rows(name, format, &source, &One(beside, bytes.clone())) > 0, "{name}");
        for at in 0..bytes.len() {
            for flip in [0x01, 0x04, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                rows(name, format, &source, &One(beside, changed));
            }
            rows(name, format, &source, &One(beside, bytes[..at].to_vec()));
        }
        assert!(begin.elapsed() < 4 * SOON, "{name} took {:?}", begin.elapsed());
    }
}

#[test]
fn every_single_changed_byte_of_every_fixture_gives_an_answer() {
    for name in fixtures() {
        let bytes = fixture(&name);
        for at in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                ask(&name, &changed, &[]);
            }
        }
    }
}

#[test]
fn every_cut_of_every_fixture_gives_an_answer() {
    for name in fixtures() {
        let bytes = fixture(&name);
        (0..bytes.len()).for_each(|len| ask(&name, &bytes[..len], &[]));
    }
}

proptest! {
    #[test]
    fn any_bytes_give_an_answer_as_any_format(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        ask("a.index", &bytes, &Format::ALL);
        trainer_state(&bytes);
    }

    #[test]
    fn any_opcodes_give_an_answer(ops in proptest::collection::vec(0_usize..OPS.len(), 0..400)) {
        let body: Vec<u8> = ops.iter().flat_map(|op| OPS[*op]).copied().collect();
        let bytes = [b"\x80\x04", &body[..], b"."].concat();
        ask("a.pkl", &bytes, &[Format::Pickle, Format::DcpMetadata]);
    }

    #[test]
    fn any_spliced_fixtures_give_an_answer(first in 0..40_usize, second in 0..40_usize, cut in 0.0..1.0_f64) {
        let names = fixtures();
        let (first, second) = (&names[first % names.len()], &names[second % names.len()]);
        let (front, back) = (fixture(first), fixture(second));
        let at = |len: usize| (len as f64 * cut) as usize;
        ask(first, &[&front[..at(front.len())], &back[at(back.len())..]].concat(), &[]);
    }
}

/// Opcodes with small arguments, so that most sequences of them get far.
const OPS: &[&[u8]] = &[
    b"(",
    b"}",
    b"]",
    b")",
    b"N",
    b"\x88",
    b"K\x05",
    b"X\x01\0\0\0a",
    b"\x8c\x04step",
    b"q\0",
    b"h\0",
    b"\x94",
    b"s",
    b"u",
    b"a",
    b"e",
    b"t",
    b"\x85",
    b"\x86",
    b"\x87",
    b"0",
    b"1",
    b"2",
    b"b",
    b"R",
    b"\x81",
    b"cos\nsystem\n",
    b"\x93",
    b"Q",
    b"o",
    b"i__main__\nA\n",
    b"l",
    b"d",
    b"\x8f",
    b"\x90",
    b"\x91",
    b"\x92",
    b"G\x3f\xf0\0\0\0\0\0\0",
    b"I01\n",
    b"L5L\n",
    b"P7\n",
    b"S'x'\n",
    b"g0\n",
    b"p0\n",
    b"\x8a\x01\xff",
    b".",
    b"\x95\0\0\0\0\0\0\0\0",
];
