//! Codecs measured beside others on the training series that scripts/python/series.py makes, on one thread:
//!
//!     cargo bench --bench codec -- SERIES [--rounds N]
//!
//! scripts/bench.sh codec runs it with all that it needs; docs/codec.md says what each column is.

// Figures are its output, and what cannot be measured ends it.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)]

mod delta;
mod pipelines;
mod planes;
mod race;
mod report;
mod series;
mod sides;
mod single;
mod zipnn;

use std::path::PathBuf;

const ROUNDS: usize = 5;

fn main() {
    // Cargo adds `--bench`; under `cargo test` nothing is measured.
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (dir, rounds) = match &given[..] {
        [dir] if !dir.starts_with('-') => (dir, ROUNDS),
        [dir, flag, rounds] if flag == "--rounds" => (dir, rounds.parse().expect("a number of rounds")),
        _ => {
            eprintln!("usage: cargo bench --bench codec -- SERIES [--rounds N]");
            return;
        }
    };
    let dir = PathBuf::from(dir);
    println!(
        "{} {}: 1 MiB chunks, one thread, processor time, medians of {rounds}",
        std::env::consts::ARCH,
        model()
    );
    single::table(&dir, rounds);
    delta::table(&dir, rounds);
    pipelines::table(&dir);
}

/// The processor's name.
fn model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).unwrap_or("unknown processor").trim().to_owned()
}
