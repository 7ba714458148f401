//! The bodies that are fuzzed, over a fixed corpus: `tests/data/corpus/<body>/`, and the fixtures of the formats.
//!
//! Each input is run as it is, and then changed a little in ways that are the same every time. What fuzzing found
//! (`scripts/fuzz.sh`) goes into the corpus, so it is found by every run of the tests after that.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "the helpers of a test panic as the test does; clippy knows only functions under #[test] as tests"
)]

#[path = "fuzz/bodies.rs"]
mod bodies;
#[path = "fuzz/handmade.rs"]
mod handmade;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use bodies::{BODIES, NAMES, base, noise};
use ckptfs::base::id::ChunkId;
use ckptfs::codec::{Codec, Encoder, Encoding};
use ckptfs::content::manifest::{Level, Manifest};
use ckptfs::content::tree::Node;
use ckptfs::pack::format::{BlobHeader, Kind, PackEntry, encode_footer};

/// Changed inputs made of each one.
const CHANGES: u64 = 2000;
/// Bounds of the corpus, in files and in bytes.
const FILES_MAX: usize = 150;
const BYTES_MAX: u64 = 200 << 10;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// The files of a folder by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).expect("a folder of the corpus, or of the fixtures");
    let named =
        |path: PathBuf| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap());
    let mut found: Vec<_> = entries.map(|entry| named(entry.unwrap().path())).collect();
    found.sort();
    found
}

/// Runs a body; where it panics, says on what.
fn run(body: &str, name: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| bodies::run(body, input))) {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{body}-failed"));
        fs::write(&kept, input).unwrap();
        eprintln!("{body} failed on {name}; the input is kept as {}", kept.display());
        resume_unwind(panic);
    }
}

/// Runs a body over its corpus and over `more`, each as it is and changed.
fn run_all(body: &str, more: Vec<(String, Vec<u8>)>, changes: u64) {
    let mut inputs = files(&data().join("corpus").join(body));
    assert!(inputs.len() >= 5, "the corpus of {body} is gone");
    inputs.extend(more);
    for (place, (name, input)) in inputs.iter().enumerate() {
        run(body, name, input);
        let other = &inputs[(place + 1) % inputs.len()].1;
        for number in 0..changes {
            run(body, &format!("{name}, change {number}"), &changed(input, other, number));
        }
    }
}

/// `input` with one to four changes, of kinds that break parsers: a bit, a byte that is a border, a cut, a piece that is
/// doubled, taken out, or another input's.
fn changed(input: &[u8], other: &[u8], number: u64) -> Vec<u8> {
    let mut state = number;
    let mut bytes = input.to_vec();
    for _ in 0..=noise(&mut state) % 4 {
        let mut below = |len: usize| (noise(&mut state) % (len as u64 + 1)) as usize;
        let (kind, at, len) = (below(6), below(bytes.len()), below(16));
        let end = (at + len).min(bytes.len());
        match (kind, bytes.get_mut(at)) {
            (0 | 1, Some(byte)) => *byte ^= 1 << below(7),
            (2 | 3, Some(byte)) => *byte = [0, 1, 0x7f, 0x80, 0xfe, 0xff][below(5)],
            (4, _) => bytes.truncate(at.max(bytes.len() - bytes.len().min(len))),
            (5, _) => drop(bytes.drain(at..end)),
            (6, _) if below(1) == 0 => {
                let piece = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, piece));
            }
            (6, _) => {
                let from = below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn stored_bytes_decode_or_do_not() {
    run_all("decode", Vec::new(), CHANGES);
}

#[test]
fn raw_bytes_come_back() {
    run_all("roundtrip", Vec::new(), CHANGES / 10);
}

#[test]
fn files_get_an_answer() {
    run_all("tensors", fixtures(), CHANGES);
}

#[test]
fn blobs_decode_to_what_encodes_to_them() {
    run_all("blob", Vec::new(), CHANGES);
}

#[test]
fn journals_are_read_or_refused() {
    run_all("journal", Vec::new(), CHANGES);
}

#[test]
fn packs_and_index_files_are_read_or_refused() {
    run_all("pack", Vec::new(), CHANGES);
}

#[test]
fn records_come_back_and_lead_nowhere_but_down() {
    run_all("records", Vec::new(), CHANGES);
}

#[test]
fn lines_on_the_socket_come_back_or_are_refused() {
    run_all("control", Vec::new(), CHANGES);
}

#[test]
fn settings_are_taken_or_refused() {
    run_all("settings", Vec::new(), CHANGES);
}

#[test]
fn the_corpus_is_small_and_each_folder_has_a_body() {
    let corpus = data().join("corpus");
    let folders: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
    let mut sizes = Vec::new();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        assert!(BODIES.iter().any(|(body, _)| *body == name), "{name} is no body");
        sizes.extend(files(&folder).iter().map(|(_, bytes)| bytes.len() as u64));
    }
    assert!(sizes.len() <= FILES_MAX && sizes.iter().sum::<u64>() <= BYTES_MAX, "{sizes:?}");
}

/// The fixtures of the formats as inputs of `tensors`.
fn fixtures() -> Vec<(String, Vec<u8>)> {
    let input = |(name, bytes): (String, Vec<u8>)| {
        let ending = |name: &str| name.rsplit('.').next().unwrap().to_owned();
        let same = NAMES.iter().position(|known| *known == name || ending(known) == ending(&name));
        (name, [&[same.unwrap_or(0) as u8, 0], &bytes[..]].concat())
    };
    files(&data().join("formats")).into_iter().map(input).collect()
}

/// Writes the handmade part of the corpus anew: what each encoder writes, cut and under wrong headers too.
#[test]
#[ignore = "writes into tests/data; for who changes what an input means"]
fn write_the_handmade_corpus() {
    for (body, inputs) in [
        ("decode", stored()),
        ("roundtrip", raws()),
        ("tensors", shells()),
        ("blob", blobs()),
        ("journal", handmade::journals()),
        ("pack", handmade::packs()),
        ("records", handmade::records()),
        ("control", handmade::lines()),
        ("settings", handmade::settings()),
    ] {
        let folder = data().join("corpus").join(body);
        fs::create_dir_all(&folder).unwrap();
        inputs.iter().for_each(|(name, bytes)| fs::write(folder.join(name), bytes).unwrap());
    }
}

/// Bytes of each kind that an encoder treats in its own way, by name.
fn kinds() -> Vec<(&'static str, Vec<u8>)> {
    let mut state = 3;
    let text: Vec<u8> = (0..200).flat_map(|n| format!("step {} loss 0.{n}\n", n * n).into_bytes()).collect();
    let random: Vec<u8> = (0..300).map(|_| noise(&mut state) as u8).collect();
    let f32s: Vec<u8> = base(9000).chunks(4).flat_map(|b| [0, 0, b[2], b[3]]).collect();
    let bf16s: Vec<u8> = base(9000).chunks(4).flat_map(|b| [b[2] & 0xf0, b[3]]).chain([1; 4096]).collect();
    let shifted = [&[1, 2, 3], &f32s[..]].concat();
    vec![
        ("text", text),
        ("random", random),
        ("f32", f32s),
        ("bf16", bf16s),
        ("f32-shifted", shifted),
        ("zeros", vec![0; 9000]),
    ]
}

fn decode_input(encoding: &Encoding, flags: u8, len: usize, stored: &[u8]) -> Vec<u8> {
    let len = (len as u32).to_le_bytes();
    [&[encoding.codec, encoding.width, encoding.phase, flags], &len[..], stored].concat()
}

fn stored() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut bytes = Vec::new();
    for (name, raw) in kinds() {
        let encoding = Encoder::new().encode(&raw, &mut bytes);
        let whole = decode_input(&encoding, 0, raw.len(), &bytes);
        let codec = Codec::from_number(encoding.codec).unwrap();
        let name = format!("{codec:?}-{name}").to_lowercase();
        if name == "rot-f32" {
            found.push((format!("{name}-cut"), whole[..whole.len() - 5].to_vec()));
            let wrong = Encoding { width: 2, ..encoding };
            found.push((format!("{name}-wrong-width"), decode_input(&wrong, 0, raw.len(), &bytes)));
            let wrong = Encoding { phase: 3, ..encoding };
            found.push((format!("{name}-wrong-phase"), decode_input(&wrong, 0, raw.len(), &bytes)));
        }
        found.push((name, whole));
    }
    for (width, phase, len) in [(2, 0, 2000), (4, 0, 2000), (4, 3, 1001)] {
        let mut raw = base(len).to_vec();
        raw.iter_mut().skip(usize::from(phase)).step_by(8).for_each(|byte| *byte ^= 3);
        let like = Encoding { width, phase, ..Encoding::plain(Codec::Rot) };
        let delta = Encoder::new().encode_delta(&like, &raw, base(len), &mut bytes).unwrap();
        let name = format!("delta-{width}-{phase}");
        found.push((format!("{name}-without-base"), decode_input(&delta, 0, len, &bytes)));
        found.push((format!("{name}-longer-base"), decode_input(&delta, 3, len, &bytes)));
        found.push((name, decode_input(&delta, 1, len, &bytes)));
    }
    found
}

fn raws() -> Vec<(String, Vec<u8>)> {
    let input = |(name, mut raw): (&str, Vec<u8>)| {
        raw.truncate(600);
        let shape = if name == "bf16" { 4 | 2 << 3 } else { 4 | 3 << 3 };
        let elements = if name == "bf16" { 2 } else { 4 };
        (name.to_owned(), [&[shape, elements], &raw[..]].concat())
    };
    let unaligned = ("f32-phase-3", [&[5 | 3 << 3, 0x34], &base(300)[1..]].concat());
    let mut found: Vec<_> = kinds().into_iter().map(input).collect();
    found.push((unaligned.0.to_owned(), unaligned.1));
    found
}

/// Files whose tables are empty or lie, for what the fixtures do not have.
fn shells() -> Vec<(String, Vec<u8>)> {
    let lying = br#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},"b":{"dtype":"F32","shape":[9],"data_offsets":[8,44]}}"#;
    let safetensors = [&(lying.len() as u64).to_le_bytes(), &lying[..], &[0; 44]].concat();
    let gguf = [&b"GGUF\x03\0\0\0"[..], &1_u64.to_le_bytes(), &0_u64.to_le_bytes(), &[1; 60]].concat();
    let zip_end = [&b"PK\x05\x06"[..], &[0xff; 18]].concat();
    [
        ("safetensors-overlap", 2, 0, safetensors),
        ("gguf", 14, 0, gguf),
        ("zip-end", 0, 1, zip_end),
        ("trainer-state", 0, 16, br#"{"global_step":5,"epoch":1.5,"log_history":[{"loss":0.25,"step":5}]}"#.to_vec()),
        ("npy", 8, 0, b"\x93NUMPY\x01\0\x46\0{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }       \n\0\0\0\0".to_vec()),
    ]
    .map(|(name, file, format, bytes)| (name.to_owned(), [&[file, format], &bytes[..]].concat()))
    .into()
}

fn blobs() -> Vec<(String, Vec<u8>)> {
    let id = ChunkId([3; 32]);
    let header = |base| {
        let encoding = Encoding { width: 4, phase: 3, base, ..Encoding::plain(Codec::Delta) };
        let mut out = vec![0];
        let header =
            BlobHeader { kind: Kind::Chunk, encoding, raw_len: 1000, stored_len: 900, stored_crc: 77, id };
        header.encode(&mut out);
        out
    };
    let entry =
        PackEntry { id, offset: 20, len: 99, raw_len: 200, kind: Kind::Tree, codec: 4, has_base: true };
    let footer = encode_footer(5, 119, &[entry, PackEntry { offset: 40, ..entry }]);
    let (entries, trailer) = footer.split_at(96);
    let mut manifest = Manifest::new(Level::Content);
    manifest.push_hole(5000);
    manifest.push_data(70, id);
    manifest.push_data(90, ChunkId([4; 32]));
    let nodes = [
        ("fan", Node::Fan(vec![None, Some(id), None, Some(id)])),
        ("about", Node::About(b"{\"version\":1}".to_vec())),
    ];
    let mut found = vec![
        ("header".to_owned(), header(None)),
        ("header-with-base".to_owned(), header(Some(id))),
        ("footer".to_owned(), [&[1], &119_u32.to_le_bytes()[..], &5_u32.to_le_bytes(), entries].concat()),
        ("trailer".to_owned(), [&[2], &(119 + footer.len() as u64).to_le_bytes()[..], trailer].concat()),
        ("manifest".to_owned(), [&[3], &manifest.encode()[..]].concat()),
    ];
    found.push(("leaf".to_owned(), [&[4], &leaf().encode()[..]].concat()));
    found.extend(nodes.map(|(name, node)| (name.to_owned(), [&[4], &node.encode()[..]].concat())));
    found
}

/// A directory with an entry of each kind.
fn leaf() -> Node {
    use ckptfs::base::clock::Time;
    use ckptfs::content::tree::{Body, Entry, Soundness};
    let id = ChunkId([9; 32]);
    let file = Body::File { content: id, size: 70, blocks: 8, format: 3, soundness: Soundness::Valid };
    let bodies = [
        Body::Special(0x103),
        Body::Dir { tree: id, files: 2, bytes: 140 },
        Body::Symlink(b"a/b".into()),
        file,
    ];
    let entry = |(ino, body): (u64, Body)| Entry {
        name: format!("name {ino}").into_bytes(),
        ino,
        mode: 0o100_644,
        uid: 1000,
        gid: 100,
        nlink: 1,
        mtime: Time { secs: 1_700_000_000, nanos: 5 },
        xattrs: vec![(b"user.a".to_vec(), b"b".to_vec())],
        body,
    };
    let mut entries: Vec<Entry> = (1..).zip(bodies).map(entry).collect();
    entries.sort_by_key(|entry| ckptfs::content::hash::name_hash(&entry.name));
    Node::Leaf(entries)
}
