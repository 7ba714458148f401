//! Random operations on an engine and on a simple model of a POSIX tree: they agree after every step that looks, across
//! sealing, orderly ends and kills.
//!
//! `CKPTFS_SEED=n cargo test --test model` repeats one run; a failure prints its seed and its last steps. The engine's
//! background threads run beside the steps, so a repeated run may need a few tries.

// A test stops where it fails, in its helpers too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod look;
mod steps;
mod tree;
mod world;

use std::time::{Duration, Instant};

use world::World;

/// Steps of one run.
const STEPS: usize = 250;

fn run(seed: u64, steps: usize) {
    let mut world = World::new(seed);
    for _ in 0..steps {
        world.step();
    }
    world.remount(true);
    world.look();
}

fn run_for(time: Duration, steps: usize) {
    if let Ok(seed) = std::env::var("CKPTFS_SEED") {
        return run(seed.parse().unwrap(), steps);
    }
    let begun = Instant::now();
    let mut seed = 0;
    while begun.elapsed() < time {
        run(seed, steps);
        seed += 1;
    }
    eprintln!("{seed} runs of {steps} steps");
}

#[test]
fn the_engine_agrees_with_the_model() {
    run_for(Duration::from_secs(50), STEPS);
}

/// `cargo test --test model -- --ignored`
#[test]
#[ignore = "takes half an hour"]
fn the_engine_agrees_with_the_model_for_long() {
    run_for(Duration::from_secs(1800), 2000);
}
