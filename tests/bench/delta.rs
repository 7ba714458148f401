//! The second table: chunks against the same ones of another save. Chunks that are equal are left out.

use std::path::Path;

use ckptfs::codec::{Encoder, estimate_delta};

use super::planes::Change;
use super::race::{self, Figures, raw_bytes};
use super::report::{Targets, head, percent, row, speed};
use super::series::{self, Against, Pair};
use super::sides::{OwnDelta, Planes, Side};

/// Series, and which save each is compared with.
const ROWS: [(&str, Against); 10] = [
    ("adamw-far", Against::Previous),
    ("adamw-near", Against::Previous),
    ("bf16-far", Against::Previous),
    ("bf16-near", Against::Previous),
    ("bf16-pure", Against::Previous),
    ("bf16-finetune", Against::Previous),
    ("bf16-finetune", Against::First),
    ("frozen", Against::Previous),
    ("lora", Against::Previous),
    ("tf", Against::Previous),
];
/// What a delta must gain to be kept instead of the chunk by itself.
const WORTH: f64 = 0.98;

/// How a row of pairs would be stored.
struct Choice {
    /// All by themselves, as a share.
    alone: f64,
    /// As the store chooses.
    chosen: f64,
    /// Share of the chunks that are deltas.
    deltas: f64,
    /// Chunks whose choice is longer than by themselves.
    worse: usize,
}

/// Measures and prints.
pub fn table(dir: &Path, rounds: usize) {
    let columns = [
        "series",
        "data",
        "XOR %",
        "subtract %",
        "ckptfs delta %",
        "alone %",
        "chosen %",
        "deltas %",
        "delta MB/s",
        "back MB/s",
    ];
    head("Chunks against another save (XOR and subtract: + byte planes + zstd -1)", &columns);
    let mut targets = Targets::default();
    for (name, against) in ROWS {
        let folder = dir.join(name);
        if !folder.exists() {
            continue;
        }
        let label = if against == Against::First { format!("{name} vs base") } else { name.to_owned() };
        for (kind, mut pairs) in series::chunks(&folder, against) {
            one(&label, &kind, &mut pairs, rounds, &mut targets);
        }
    }
    targets.print();
}

fn one(name: &str, kind: &str, pairs: &mut [Pair], rounds: usize, targets: &mut Targets) {
    let mut encoder = Encoder::new();
    let mut own = Vec::new();
    let alone: Vec<usize> = pairs
        .iter_mut()
        .map(|pair| {
            pair.like = Some(encoder.encode(&pair.raw, &mut own));
            own.len()
        })
        .collect();
    let mut sides: Vec<Box<dyn Side>> = vec![
        Box::new(Planes::new(Change::Xor)),
        Box::new(Planes::new(Change::Subtract)),
        Box::new(OwnDelta(Encoder::new())),
    ];
    let figures = race::race(&mut sides, pairs, rounds);
    let [xor, subtract, delta] = &figures[..] else { unreachable!("three sides were given") };
    let choice = choose(pairs, &alone, delta);
    let mut cells = vec![name.to_owned(), kind.to_owned()];
    let shares =
        [xor.ratio, subtract.ratio, delta.ratio, choice.alone, choice.chosen, choice.deltas].map(percent);
    cells.extend(shares);
    cells.extend([speed(delta.encode), speed(delta.decode)]);
    row(&cells);
    let what = |text: &str| format!("{name} {kind}: {text}");
    // Adam's m is better off by itself, and the store sees that: there it is enough not to lose.
    let least = if choice.deltas > 0.5 { 3.0 } else { 0.0 };
    targets.at_least(&what("points below XOR"), 100.0 * (xor.ratio - choice.chosen), least);
    targets.at_most(&what("chunks longer than by themselves"), choice.worse as f64, 0.0);
    if choice.deltas > 0.5 {
        targets.at_least(&what("decoding, GB/s"), delta.decode / 1e3, 1.0);
    }
}

/// What the store would take of each chunk: the delta where its estimate and the delta itself are worth it.
fn choose(pairs: &[Pair], alone: &[usize], delta: &Figures) -> Choice {
    let (mut chosen, mut deltas, mut worse) = (0, 0, 0);
    for ((pair, alone), delta) in pairs.iter().zip(alone).zip(&delta.stored) {
        let worth = |length: usize| length as f64 <= WORTH * *alone as f64;
        let like = pair.like.as_ref().unwrap();
        let takes = estimate_delta(like, &pair.raw, &pair.base).is_some_and(worth) && worth(*delta);
        let length = if takes { *delta } else { *alone };
        chosen += length;
        deltas += usize::from(takes);
        worse += usize::from(length > *alone);
    }
    let total = raw_bytes(pairs) as f64;
    Choice {
        alone: alone.iter().sum::<usize>() as f64 / total,
        chosen: chosen as f64 / total,
        deltas: deltas as f64 / pairs.len() as f64,
        worse,
    }
}
