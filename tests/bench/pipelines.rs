//! The third table: what whole series would take, by what their chunks rely on. Tensors of at least 64 KiB only.
//!
//! It says what a store may be held to on the same saves; the newest save is a delta here too, which a store keeps whole.

use std::collections::HashSet;
use std::path::Path;

use ckptfs::codec::{Encoder, estimate_delta};
use ckptfs::content::hash::chunk_id;

use super::report::{head, percent, row};
use super::series::{Pair, Saves};

/// Which save the chunks of save `n` may rely on.
type Base = fn(usize) -> Option<usize>;

const PIPELINES: [(&str, Base); 5] = [
    ("sealing only", |_| None),
    ("keyframe and 3 after it", |n| (n % 4 != 0).then_some(n - n % 4)),
    ("keyframe and 7 after it", |n| (n % 8 != 0).then_some(n - n % 8)),
    ("all on the first", |n| (n > 0).then_some(0)),
    ("chained", |n| n.checked_sub(1)),
];
const NAMES: [&str; 9] = [
    "adamw-far",
    "adamw-near",
    "bf16-far",
    "bf16-near",
    "bf16-pure",
    "bf16-finetune",
    "frozen",
    "lora",
    "tf",
];
/// What a delta must gain to be kept instead of the chunk by itself.
const WORTH: f64 = 0.98;

/// Measures and prints.
pub fn table(dir: &Path) {
    let columns: Vec<&str> = ["series"].into_iter().chain(PIPELINES.map(|(name, _)| name)).collect();
    head("Whole series, % of the bytes of all tensors", &columns);
    for name in NAMES.into_iter().filter(|name| dir.join(name).exists()) {
        let saves = Saves::open(&dir.join(name));
        let mut cells = vec![name.to_owned()];
        cells.extend(PIPELINES.map(|(_, base)| percent(share(&saves, base))));
        row(&cells);
    }
}

/// Stored bytes as a share of the raw ones. A chunk that was met before takes nothing.
fn share(saves: &Saves, base: Base) -> f64 {
    let (mut encoder, mut out, mut seen) = (Encoder::new(), Vec::new(), HashSet::new());
    let (mut raw, mut stored) = (0, 0);
    for number in 0..saves.len() {
        saves.each(number, base(number), |pair| {
            raw += pair.raw.len();
            if seen.insert(chunk_id(&pair.raw)) {
                stored += length(&mut encoder, pair, &mut out);
            }
        });
    }
    stored as f64 / raw as f64
}

fn length(encoder: &mut Encoder, pair: &Pair, out: &mut Vec<u8>) -> usize {
    let like = encoder.encode(&pair.raw, out);
    let alone = out.len();
    let worth = |length: usize| length as f64 <= WORTH * alone as f64;
    if !pair.base.is_empty()
        && estimate_delta(&like, &pair.raw, &pair.base).is_some_and(worth)
        && encoder.encode_delta(&like, &pair.raw, &pair.base, out).is_some()
    {
        return out.len().min(alone);
    }
    alone
}
