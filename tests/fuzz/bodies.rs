//! What is fuzzed: functions that take any bytes and panic where a promise is broken.
//!
//! The fuzz crate beside this file runs them under libFuzzer, `tests/corpus.rs` over a fixed corpus. What an input means
//! is said at each body; a change of it makes the corpus worthless, so change it only by what follows at the end.

mod spoken;
mod stored;

use std::cell::Cell;
use std::sync::OnceLock;

use ckptfs::base::Result;
use ckptfs::base::id::ChunkId;
use ckptfs::codec::{self, Codec, Encoder, Encoding, Malformed};
use ckptfs::content::manifest::Manifest;
use ckptfs::content::tree::Node;
use ckptfs::formats::{self, Format, Siblings, Source};
use ckptfs::pack::format::{self as pack, BlobHeader, Trailer};

/// A function that takes any input, and panics where a promise is broken.
type Body = fn(&[u8]);

/// Every body by its name, which is also the name of its folder of the corpus.
pub(crate) const BODIES: [(&str, Body); 9] = [
    ("decode", decode),
    ("roundtrip", roundtrip),
    ("tensors", tensors),
    ("blob", blob),
    ("journal", stored::journal),
    ("pack", stored::pack),
    ("records", stored::records),
    ("control", spoken::control),
    ("settings", spoken::settings),
];

/// Runs the body `name`.
pub(crate) fn run(name: &str, input: &[u8]) {
    let (_, body) = BODIES.iter().find(|(known, _)| *known == name).expect("a body of that name");
    body(input);
}

/// The longest raw bytes that are made, in bytes: more than two Huffman tables' worth.
const LONGEST: usize = 300 << 10;
/// The longest where an input does not ask for more: twenty times as many inputs are decoded a second with it.
const SHORT: usize = 24 << 10;
/// Stands for any base: the decoder is given the base's bytes, not looking for them.
const BASE_ID: ChunkId = ChunkId([7; 32]);
/// Flags of an input of `decode`.
const HAS_BASE: u8 = 1;
const LONGER_BASE: u8 = 2;
const OTHER_VERSION: u8 = 4;
const LONG: u8 = 8;

/// The next one of a row of numbers that look random and are the same every time (Steele's splitmix64).
pub(crate) fn noise(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The first `len` bytes of the base that `decode` gives: floats in a narrow range, of 4 bytes each.
pub(crate) fn base(len: usize) -> &'static [u8] {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    let float = |state: &mut u64| (0.001 + (noise(state) % 4096) as f32 * 1e-5).to_le_bytes();
    let bytes = BASE.get_or_init(|| {
        let mut state = 1;
        (0..=LONGEST / 4).flat_map(|_| float(&mut state)).collect()
    });
    &bytes[..len]
}

/// What `stored` decodes to, or that it does not: the same from whatever was in the buffer before, and nothing outside of
/// the buffer is written.
fn decoded(encoding: &Encoding, stored: &[u8], base: Option<&[u8]>, len: usize) -> Option<Vec<u8>> {
    const EDGE: usize = 64;
    let once = |fill: u8| -> std::result::Result<Vec<u8>, Malformed> {
        let mut out = vec![fill; len + 2 * EDGE];
        let answer = codec::decode(encoding, stored, base, &mut out[EDGE..EDGE + len]);
        let edges = out[..EDGE].iter().chain(&out[EDGE + len..]);
        assert!(edges.into_iter().all(|byte| *byte == fill), "bytes outside of the buffer were written");
        answer.map(|()| out[EDGE..EDGE + len].to_vec())
    };
    let (first, second) = (once(0xA5), once(0x5A));
    assert_eq!(first, second, "what was in the buffer before counts");
    first.ok()
}

/// Any stored bytes give exactly as many raw bytes as are asked for, or an error.
///
/// Codec, width, phase, flags (a byte each), raw length (u32), stored bytes.
fn decode(input: &[u8]) {
    let Some((&[codec, width, phase, flags, a, b, c, d], stored)) = input.split_first_chunk::<8>() else {
        return;
    };
    let longest = if flags & LONG == 0 { SHORT } else { LONGEST };
    let len = u32::from_le_bytes([a, b, c, d]) as usize % longest;
    let of_base = (flags & HAS_BASE != 0).then(|| base(len + usize::from(flags & LONGER_BASE != 0)));
    let version = if flags & OTHER_VERSION == 0 { 1 } else { 2 };
    let encoding = Encoding { codec, version, width, phase, base: of_base.map(|_| BASE_ID) };
    let raw = decoded(&encoding, stored, of_base, len);
    assert!(raw.is_none() || (Codec::from_number(codec).is_some() && version == 1));
    if let (Some(of_base), Some(_)) = (of_base, &raw) {
        assert_eq!((codec, of_base.len()), (Codec::Delta as u8, len));
    }
}

/// What is encoded comes back, is never longer than it was, and does not depend on what was encoded before.
///
/// Shape (copies, log2: 3 bits; which bytes of a copy are changed: 2 bits; long: the last bit), width and phase for the delta (4 bits each),
/// bytes. The first half is encoded against the second.
fn roundtrip(input: &[u8]) {
    let Some((&[shape, elements], body)) = input.split_first_chunk::<2>() else { return };
    let raw = spread(body, shape);
    let mut encoder = Encoder::new();
    let encoding = comes_back(&mut encoder, &raw);
    let (half, of_base) = raw.split_at(raw.len() / 2);
    let of_base = &of_base[..half.len()];
    let alone = comes_back(&mut encoder, half);
    assert_eq!(comes_back(&mut encoder, &raw), encoding, "what was encoded between counts");
    let forced = Encoding { width: elements & 15, phase: elements >> 4, ..Encoding::plain(Codec::Rot) };
    for like in [alone, forced] {
        delta_comes_back(&mut encoder, &like, half, of_base);
        delta_comes_back(&mut encoder, &like, half, half);
    }
}

/// Copies of `body`, each changed a little, as `shape` says.
fn spread(body: &[u8], shape: u8) -> Vec<u8> {
    let longest = if shape & 0x80 == 0 { SHORT } else { LONGEST };
    let len = (body.len() << (shape & 7)).min(longest);
    let changed: [u8; 4] = match (shape >> 3) & 3 {
        0 => [0; 4],
        1 => [0xff; 4],
        2 => [0x0f, 0, 0x0f, 0],
        _ => [0xff, 0xff, 0x0f, 0],
    };
    let mut state = u64::from(shape);
    let copies = body.iter().cycle().take(len).zip(changed.iter().cycle()).enumerate();
    copies
        .map(
            |(at, (byte, changed))| {
                if at < body.len() { *byte } else { byte ^ (noise(&mut state).to_le_bytes()[0] & changed) }
            },
        )
        .collect()
}

/// Encodes and decodes `raw`, and tells the encoding.
fn comes_back(encoder: &mut Encoder, raw: &[u8]) -> Encoding {
    let mut stored = b"what was there before".to_vec();
    let encoding = encoder.encode(raw, &mut stored);
    assert!(stored.len() <= raw.len(), "{} bytes of {}", stored.len(), raw.len());
    let back = decoded(&encoding, &stored, None, raw.len());
    assert!(back.as_deref() == Some(raw), "{encoding:?} of {} bytes", raw.len());
    encoding
}

/// Encodes `raw` against `base`, where that applies, and decodes it.
fn delta_comes_back(encoder: &mut Encoder, like: &Encoding, raw: &[u8], base: &[u8]) {
    let mut stored = b"what was there before".to_vec();
    let estimate = codec::estimate_delta(like, raw, base);
    let Some(delta) = encoder.encode_delta(like, raw, base, &mut stored) else { return };
    assert!(stored.len() < raw.len() && estimate.is_some() && delta.codec == Codec::Delta as u8);
    assert_eq!(decoded(&delta, &stored, None, raw.len()), None, "a delta without its base");
    let named = Encoding { base: Some(BASE_ID), ..delta };
    let back = decoded(&named, &stored, Some(base), raw.len());
    assert!(back.as_deref() == Some(raw), "{named:?} of {} bytes", raw.len());
}

/// Names that a file may have, for `tensors`; add at the end only.
pub(crate) const NAMES: [&str; 16] = [
    "model.pt",
    "plain.pkl",
    "model.safetensors",
    "ckpt-5.index",
    "ckpt-5.data-00000-of-00001",
    "saved_model.pb",
    "model.h5",
    "model.keras",
    "array.npy",
    "arrays.npz",
    "__0_0.distcp",
    "run/.metadata",
    "manifest.ocdbt",
    "w/c/0/0",
    "model.gguf",
    "weights.bin",
];

/// A file in memory; each read must lie inside of it.
struct File<'a> {
    bytes: &'a [u8],
    reads: Cell<u64>,
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        File { bytes, reads: Cell::new(0) }
    }
}

impl Source for File<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.reads.set(self.reads.get() + 1);
        let from = usize::try_from(offset).expect("an offset inside of the file");
        let end = from.checked_add(buf.len()).expect("an end inside of the file");
        buf.copy_from_slice(self.bytes.get(from..end).expect("nothing is read past the end"));
        Ok(())
    }
}

/// The file again, as each file beside it that tells of tensors.
struct Beside<'a>(&'a [u8]);

impl Siblings for Beside<'_> {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        assert!(!name.contains(&b'/'), "a name that is a path");
        Ok(name.starts_with(b"ckpt-5.").then_some(172))
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        assert!(!name.contains(&b'/'), "a name that is a path");
        let tells =
            name.ends_with(b".index") || [&b".metadata"[..], b".zarray", b"zarr.json"].contains(&name);
        Ok(tells.then(|| Box::new(File::new(self.0)) as Box<dyn Source>))
    }
}

/// Any file gets an answer, and the tensors told are in order, inside of it, and do not overlap.
///
/// Number of a name, number of a format (0 = as recognised, 16 = trainer state), the file.
fn tensors(input: &[u8]) {
    let Some((&[name, format], bytes)) = input.split_first_chunk::<2>() else { return };
    let name = NAMES[usize::from(name) % NAMES.len()].as_bytes();
    let (file, beside) = (File::new(bytes), Beside(bytes));
    let answer = "an error comes only from the source";
    let recognised = formats::recognise(name, &file).expect(answer);
    assert!(file.reads.get() <= 16, "{} reads to recognise a file", file.reads.get());
    if format == 16 {
        formats::trainer_state(bytes);
    }
    for format in Format::from_number(format).into_iter().chain(recognised) {
        formats::validate(format, name, &file, &beside).expect(answer);
        let facts = formats::facts(format, &file).expect(answer);
        assert!(facts.metrics.len() <= 64 && facts.metrics.values().all(|value| value.is_finite()));
        let mut end = 0;
        for tensor in formats::tensors(format, name, &file, &beside).expect(answer) {
            assert!(tensor.len > 0 && tensor.offset >= end, "{tensor:?} begins before {end}");
            end = tensor.offset.checked_add(tensor.len).expect("an end below 2^64");
        }
        assert!(end <= file.len(), "a tensor reaches past the end");
        described(format, name, &file, &beside);
    }
}

/// Every part of a tensor lies inside of the file, and what is told as plain elements is exactly as long as they are.
fn described(format: Format, name: &[u8], file: &File<'_>, beside: &Beside<'_>) {
    let mut last = 0;
    for row in formats::describe(format, name, file, beside).expect("an error comes only from the source") {
        let first = row.parts.first().map_or(u64::MAX, |(offset, _)| *offset);
        assert!(first >= last, "{row:?} is out of order");
        last = first;
        for (offset, len) in &row.parts {
            let end = offset.checked_add(*len).expect("an end below 2^64");
            assert!(*len > 0 && end <= file.len(), "{row:?} reaches past the end");
        }
        let elements = row.shape.iter().map(|side| u128::from(*side)).try_fold(1, u128::checked_mul);
        if let (false, Some(elements)) = (row.encoded, elements) {
            let bytes = u128::from(row.bytes());
            let whole = if elements == 0 { bytes == 0 } else { bytes % elements == 0 };
            assert!(whole && bytes / elements.max(1) <= 16, "{row:?} is not of its shape");
        }
    }
}

/// What decodes encodes to the same bytes.
///
/// What it is (a byte: header of a blob, footer of a pack, trailer of one, manifest, node of a tree), its bytes. Checksums
/// of headers and footers are made right, so that what lies behind them is reached.
fn blob(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => header(bytes),
        1 => footer(bytes),
        2 => trailer(bytes),
        3 => manifest(bytes),
        _ => {
            if let Some(node) = Node::decode(bytes) {
                assert!(node.encode() == bytes, "{node:?}");
            }
        }
    }
}

fn header(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    assert!(BlobHeader::decode(&bytes).is_none_or(|header| encoded(&header) == bytes[..header.len()]));
    let has_base = bytes.get(9).is_some_and(|flags| flags & 1 != 0);
    let end = pack::MAX_BLOB_HEADER - 4 - if has_base { 0 } else { ChunkId::LEN };
    let Some(crc) = bytes.get(..end).map(crc32c::crc32c) else { return };
    bytes.truncate(end);
    bytes.extend_from_slice(&crc.to_le_bytes());
    if let Some(header) = BlobHeader::decode(&bytes) {
        assert_eq!(encoded(&header), bytes);
        assert!(header.stored_len <= header.raw_len && header.raw_len as usize <= codec::MAX_RAW);
    }
}

fn encoded(header: &BlobHeader) -> Vec<u8> {
    let mut out = Vec::new();
    header.encode(&mut out);
    out
}

/// Offset of the entries and number of the pack (u32 each), entries.
fn footer(bytes: &[u8]) {
    let Some((&[a, b, c, d, e, f, g, h], entries)) = bytes.split_first_chunk::<8>() else { return };
    let (offset, number) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
    let count = (entries.len() / pack::ENTRY) as u32;
    let mut trailer = Vec::new();
    for field in [offset, count, number, crc32c::crc32c(entries)] {
        trailer.extend_from_slice(&field.to_le_bytes());
    }
    trailer.extend_from_slice(b"CKPTFOOT");
    trailer.extend_from_slice(&crc32c::crc32c(&trailer).to_le_bytes());
    let len = u64::from(offset) + u64::from(count) * pack::ENTRY as u64 + pack::TRAILER as u64;
    assert_eq!(Trailer::decode(&trailer, len + 1), None, "a pack of another length");
    let decoded = Trailer::decode(&trailer, len).expect("a trailer as it is written");
    assert_eq!((decoded.offset, decoded.count, decoded.number), (offset, count, number));
    let Some(read) = decoded.entries(entries) else { return };
    assert_eq!(read.len() * pack::ENTRY, entries.len());
    // The last byte of an entry and the flags that nobody gave a meaning are not looked at.
    let mut known = entries.to_vec();
    for entry in known.chunks_exact_mut(pack::ENTRY) {
        entry[pack::ENTRY - 2] &= 1;
        entry[pack::ENTRY - 1] = 0;
    }
    let written = pack::encode_footer(number, offset, &read);
    assert_eq!(written[..known.len()], known);
}

/// Length of the pack (u64), trailer.
fn trailer(bytes: &[u8]) {
    let Some((len, trailer)) = bytes.split_first_chunk::<8>() else { return };
    let len = u64::from_le_bytes(*len);
    if let Some(trailer) = Trailer::decode(trailer, len) {
        let entries = u64::from(trailer.count) * pack::ENTRY as u64;
        assert_eq!(u64::from(trailer.offset) + entries + pack::TRAILER as u64, len);
    }
}

fn manifest(bytes: &[u8]) {
    let Some(manifest) = Manifest::decode(bytes) else { return };
    assert!(manifest.encode() == bytes, "{manifest:?}");
    let lengths: u64 = manifest.extents().iter().map(|extent| extent.len()).sum();
    assert_eq!(lengths, manifest.size());
    assert_eq!(manifest.locate(manifest.size()), None);
    for index in 0..manifest.extents().len() {
        let extent = manifest.extent(index).expect("as many extents as there are");
        assert_eq!(manifest.locate(extent.start), Some(extent));
        assert_eq!(manifest.locate(extent.end() - 1), Some(extent));
    }
}
