//! The first table: chunks by themselves, beside other codecs; and what sealing costs.

use std::collections::BTreeMap;
use std::path::Path;

use ckptfs::codec::Encoder;
use ckptfs::content::hash::chunk_id;

use super::planes::{self, Change};
use super::race::{self, Figures};
use super::report::{Targets, head, percent, row, speed};
use super::series::{self, Against, Pair};
use super::sides::{GroupedLz4, Own, Pco, Planes, Side, Zstd};
use super::zipnn;

/// Series whose kinds of tensors are the rows: fp32 weights, m and v, and bf16 weights.
const SERIES: [&str; 2] = ["adamw-far", "bf16-far"];

/// Measures and prints.
pub fn table(dir: &Path, rounds: usize) {
    head(
        "Chunks by themselves",
        &["data", "codec", "ratio %", "over entropy, points", "encode MB/s", "decode MB/s"],
    );
    let mut targets = Targets::default();
    for (kind, pairs) in kinds(dir) {
        one(&kind, &pairs, rounds, &mut targets);
    }
    targets.print();
}

fn kinds(dir: &Path) -> BTreeMap<String, Vec<Pair>> {
    let there = SERIES.iter().map(|name| dir.join(name)).filter(|folder| folder.exists());
    there.flat_map(|folder| series::chunks(&folder, Against::Nothing)).collect()
}

fn one(kind: &str, pairs: &[Pair], rounds: usize, targets: &mut Targets) {
    let entropy: f64 = pairs.iter().map(|pair| planes::entropy(&pair.raw, pair.width)).sum();
    let limit = entropy / race::raw_bytes(pairs) as f64;
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(Zstd::new()),
        Box::new(GroupedLz4::new()),
        Box::new(Planes::new(Change::None)),
        Box::new(Pco),
        Box::new(Own(Encoder::new())),
    ];
    let figures = race::race(&mut sides, pairs, rounds);
    row(&[kind.into(), "order-0 entropy of planes".into(), percent(limit), String::new()]);
    for side in &figures {
        print(kind, side, limit);
    }
    match zipnn::measure(pairs, rounds) {
        Ok(side) => print(kind, &side, limit),
        Err(why) => row(&[kind.into(), format!("zipnn: NOT MEASURED: {why}")]),
    }
    let known = race::speed(pairs, rounds, |pair| {
        std::hint::black_box(chunk_id(&pair.raw));
    });
    let (mut encoder, mut out) = (Encoder::new(), Vec::new());
    let sealing = race::speed(pairs, rounds, |pair| {
        std::hint::black_box((chunk_id(&pair.raw), encoder.encode(&pair.raw, &mut out)));
    });
    row(&[
        kind.into(),
        "ckptfs, sealing: hash and encode".into(),
        String::new(),
        String::new(),
        speed(sealing),
    ]);
    row(&[kind.into(), "ckptfs, known chunks: hash".into(), String::new(), String::new(), speed(known)]);
    let (zstd, own) = (&figures[0], figures.last().unwrap());
    hold(kind, zstd, own, limit, sealing, known, targets);
}

fn print(kind: &str, side: &Figures, limit: f64) {
    let over = format!("{:+.2}", 100.0 * (side.ratio - limit));
    row(&[kind.into(), side.name.clone(), percent(side.ratio), over, speed(side.encode), speed(side.decode)]);
}

fn hold(
    kind: &str,
    zstd: &Figures,
    own: &Figures,
    limit: f64,
    sealing: f64,
    known: f64,
    targets: &mut Targets,
) {
    let what = |text: &str| format!("{kind}: {text}");
    targets.at_most(&what("ratio over order-0 entropy, points"), 100.0 * (own.ratio - limit), 0.5);
    targets.at_least(&what("encoding, times zstd -1"), own.encode / zstd.encode, 2.0);
    targets.at_least(&what("sealing, times zstd -1"), sealing / zstd.encode, 1.3);
    targets.at_least(&what("decoding, times zstd -1"), own.decode / zstd.decode, 3.0);
    targets.at_least(&what("sealing, GB/s"), sealing / 1e3, 1.6);
    targets.at_least(&what("known chunks, GB/s"), known / 1e3, 3.0);
    targets.at_least(&what("decoding, GB/s"), own.decode / 1e3, 4.0);
}
