//! Instructions that the codec takes for fixed buffers, under callgrind.
//!
//! This program runs itself under callgrind. What CPU there is says callgrind: up to AVX2, on any machine that has it.
//! Each job is one call of [`ckptfs_counted`], and one dump; what it needs is made before, uncounted. The table holds the
//! instructions of a test build: its own code less optimised than in a release, its dependencies as there.

use std::fs;
use std::path::Path;
use std::process::Command;

use ckptfs::codec::{Codec, Encoder, Encoding, decode};
use ckptfs::content::cut::Plan;
use ckptfs::content::hash::chunk_id;

use crate::common::noise;
use crate::table::{self, Counts};

const CURE: &str = "valgrind is missing; install it with: apt-get install valgrind";
/// Names what the program under callgrind is to do.
const UNDER: &str = "CKPTFS_COSTS_UNDER_CALLGRIND";
const SECTION: &str = "codec";
const MIB: usize = 1 << 20;
/// What is counted, in the order of [`jobs`].
const JOBS: &[&str] = &[
    "ROT fp32 encode",
    "ROT fp32 decode",
    "ROT bf16 encode",
    "ROT bf16 decode",
    "delta fp32 encode",
    "delta fp32 decode",
    "delta bf16 encode",
    "delta bf16 decode",
    "text encode",
    "text decode",
    "hash of 4 MiB",
    "cut of 4 MiB",
];

#[test]
#[ignore = "a tier of its own: scripts/test.sh --all"]
fn the_codec_takes_the_instructions_of_the_table() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--toggle-collect=ckptfs_counted", "--dump-after=ckptfs_counted"]);
    command.arg(format!("--callgrind-out-file={}", folder.path().join("out").display()));
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "codec::jobs", "--ignored", "--test-threads=1"]).env(UNDER, "1");
    let done = command.output().expect(CURE);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let counts: Counts = JOBS
        .iter()
        .enumerate()
        .map(|(at, job)| {
            (format!("{job} instructions"), total(&folder.path().join(format!("out.{}", at + 1))))
        })
        .collect();
    if table::is_renewed() {
        table::renew(SECTION, &counts);
    } else {
        table::none(&table::differences(SECTION, &counts));
    }
}

/// The instructions in a dump of callgrind.
fn total(dump: &Path) -> u64 {
    let text = fs::read_to_string(dump).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
    line.trim().parse().unwrap()
}

/// The function that callgrind counts; its name is looked for, so it must stay as it is.
#[unsafe(no_mangle)]
#[inline(never)]
fn ckptfs_counted(work: &mut dyn FnMut()) {
    work();
}

#[test]
#[ignore = "the other test runs it, under callgrind"]
fn jobs() {
    if std::env::var_os(UNDER).is_none() {
        return;
    }
    let wide = floats(MIB / 4, 1, 0.0);
    let wide_next = floats(MIB / 4, 1, 1e-4);
    both_ways(&bytes(&wide), Codec::Rot);
    both_ways(&halves(&wide), Codec::Rot);
    delta_both_ways(&bytes(&wide_next), &bytes(&wide));
    delta_both_ways(&halves(&wide_next), &halves(&wide));
    let text: Vec<u8> = (0..MIB / 40)
        .flat_map(|step| format!("{{\"step\": {step}, \"loss\": {:.4}}}\n", wide[step]).into_bytes())
        .collect();
    both_ways(&text, Codec::Zstd);
    let large = noise(4 * MIB, 1);
    ckptfs_counted(&mut || {
        std::hint::black_box(chunk_id(&large));
    });
    let plan = Plan::of_sample(&text, large.len() as u64);
    let mut at = 0;
    ckptfs_counted(&mut || {
        while at < large.len() {
            at += plan.cut(at as u64, &large[at..]);
        }
    });
}

/// Encodes and decodes.
fn both_ways(raw: &[u8], codec: Codec) {
    let (mut encoder, mut stored) = (Encoder::new(), Vec::new());
    // Contexts and buffers are made once in a thread.
    let mut encoding = encoder.encode(raw, &mut stored);
    ckptfs_counted(&mut || encoding = encoder.encode(raw, &mut stored));
    assert_eq!(encoding.codec, codec as u8);
    decodes(&encoding, &stored, None, raw);
}

/// Encodes against a base and decodes.
fn delta_both_ways(raw: &[u8], base: &[u8]) {
    let (mut encoder, mut stored) = (Encoder::new(), Vec::new());
    let like = encoder.encode(raw, &mut stored);
    let mut encoding = None;
    ckptfs_counted(&mut || encoding = encoder.encode_delta(&like, raw, base, &mut stored));
    let encoding = Encoding { base: Some(chunk_id(base)), ..encoding.unwrap() };
    assert!(stored.len() < raw.len() / 10 * 9);
    decodes(&encoding, &stored, Some(base), raw);
}

fn decodes(encoding: &Encoding, stored: &[u8], base: Option<&[u8]>, raw: &[u8]) {
    let mut back = vec![0; raw.len()];
    ckptfs_counted(&mut || decode(encoding, stored, base, &mut back).unwrap());
    assert!(back == raw);
}

/// Weights about zero as of a trained network, each moved by up to `step` of a weight's usual size.
fn floats(count: usize, seed: u64, step: f32) -> Vec<f32> {
    let bytes = noise(count * 10, seed);
    let part = |two: &[u8]| f32::from(u16::from_le_bytes([two[0], two[1]])) / 32768.0 - 1.0;
    let weight = |ten: &[u8]| {
        let bell: f32 = ten[..8].chunks(2).map(part).sum();
        0.02 * (bell + step * part(&ten[8..]))
    };
    bytes.chunks_exact(10).map(weight).collect()
}

fn bytes(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| float.to_le_bytes()).collect()
}

/// As bfloat16: the upper half of each.
fn halves(floats: &[f32]) -> Vec<u8> {
    floats.iter().flat_map(|float| [float.to_le_bytes()[2], float.to_le_bytes()[3]]).collect()
}
