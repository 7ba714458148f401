//! Damage: what a store gives after any file of it, or any part of one, was changed behind its back.
//!
//! One store is built once. For each cell of the matrix, and for each random damage, two copies of it are damaged alike and
//! used by a process of their own (`child.rs`), and what that saw is judged (`trial.rs`). The table of outcomes is
//! docs/damage.md; `UPDATE=1 cargo test --test damage` renews it.
//!
//! `CKPTFS_DAMAGE_TRIALS=400 cargo test --test damage random` makes so many random damages (40 otherwise);
//! `CKPTFS_SEED=n` begins with another one, and with one trial repeats it. `CKPTFS_KEEP=DIR` keeps the stores of failed trials.

// A test stops where it fails, in its helpers too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod bytes;
mod child;
mod harm;
mod index;
mod places;
mod reading;
mod store;
mod table;
mod trial;
mod truth;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use harm::{Harm, Random};
use places::Place;
use store::Template;
use trial::Trial;

/// Processes at a time.
const AT_ONCE: usize = 3;

static TEMPLATE: LazyLock<Template> = LazyLock::new(Template::build);

/// Runs `count` trials, some at a time; in order, those that changed something.
fn run_all(count: usize, one: &(dyn Fn(usize) -> Option<Trial> + Sync)) -> Vec<(usize, Trial)> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        break;
                    }
                    if let Some(trial) = one(n) {
                        done.lock().unwrap().push((n, trial));
                    }
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(n, _)| *n);
    done
}

/// Fails with everything that is not as it must be.
#[track_caller]
fn all_hold(trials: &[(usize, Trial)]) {
    let broken: Vec<String> = trials
        .iter()
        .filter(|(_, trial)| !trial.broken.is_empty())
        .map(|(n, trial)| format!("{n}: {}\n    {}", trial.what, trial.broken.join("\n    ")))
        .collect();
    assert!(broken.is_empty(), "{} of {}:\n{}", broken.len(), trials.len(), broken.join("\n"));
}

#[test]
fn every_damage_of_every_place_is_told_and_costs_no_more_than_it_hit() {
    let template = &*TEMPLATE;
    let filter = std::env::var("CKPTFS_DAMAGE_CELL").unwrap_or_default();
    let mut cells: Vec<(bool, Place, Harm)> = Vec::new();
    for killed in [false, true] {
        let store = if killed { template.killed() } else { template.clean() };
        let parts = places::parts(&store, &template.truth);
        let whole = places::whole(&store, &template.truth);
        let of_parts =
            parts.iter().flat_map(|place| Harm::OF_PARTS.map(|harm| (killed, place.clone(), harm)));
        let of_files =
            whole.iter().flat_map(|place| Harm::OF_FILES.map(|harm| (killed, place.clone(), harm)));
        // Of packs and of the folder's own files nothing depends on how the store was closed.
        cells.extend(
            of_parts.chain(of_files).filter(|(killed, place, _)| !killed || depends_on_the_end(place)),
        );
    }
    cells.retain(|(_, place, harm)| format!("{}: {}", place.name, harm.name()).contains(&filter));
    let run = |n: usize| {
        let (killed, place, harm) = &cells[n];
        let name = format!("{}{}: {}", if *killed { "killed, " } else { "" }, place.name, harm.name());
        let damage = |store: &Path| harm.apply(store, &template.older(), place).then(|| name.clone());
        trial::run(template, *killed, &damage)
    };
    let trials = run_all(cells.len(), &run);
    if filter.is_empty() {
        table::renew(&cells, &trials);
    }
    all_hold(&trials);
    if filter.is_empty() {
        table::compare(&cells, &trials);
    }
}

fn depends_on_the_end(place: &Place) -> bool {
    ["journal/", "catalog/", "hot/"].iter().any(|folder| place.file.starts_with(folder))
}

#[test]
fn random_damage_gives_no_wrong_byte_and_is_found() {
    let template = &*TEMPLATE;
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let (count, seed) = (number("CKPTFS_DAMAGE_TRIALS").unwrap_or(40), number("CKPTFS_SEED").unwrap_or(1));
    let run = |n: usize| {
        let seed = seed + n;
        let killed = seed % 4 == 3;
        let damage = |store: &Path| {
            let mut random = Random::new(seed as u64);
            let files = harm::all_files(store);
            // What changes nothing (zeros over zeros) is no damage.
            let mut tries = (0..20).map(|_| harm::at_random(store, &template.older(), &files, &mut random));
            let told = tries.find_map(|told| told);
            told.map(|what| format!("CKPTFS_SEED={seed} CKPTFS_DAMAGE_TRIALS=1, {what}"))
        };
        trial::run(template, killed, &damage)
    };
    let trials = run_all(count, &run);
    eprintln!("{} random damages of {count} changed something", trials.len());
    all_hold(&trials);
}

/// Not a test of its own: the process that a trial starts.
#[test]
#[ignore = "started by the trials"]
fn a_process_of_a_trial() {
    let job = std::env::var_os("CKPTFS_DAMAGE_JOB").expect("started by a trial");
    child::run(Path::new(&job));
}
