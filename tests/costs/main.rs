//! What things cost, counted: a build that does more for the same work fails, whatever the machine is busy with.
//!
//! Of each scenario the table in `table.txt` holds the FUSE requests by kind, the daemon's system calls by the place they
//! work on (hot files, journal, packs ...), and the bytes that they read and write; of the codec, instructions. A count
//! above its line is a regression, one far below it a table that is out of date; `UPDATE=1 cargo test --test costs -- --ignored`
//! writes it anew. Needs what a mount needs, strace and valgrind; where one is missing the test fails and says so.

// A test stops where it fails, in its helpers too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

#[path = "../common/mod.rs"]
mod common;

mod codec;
mod history;
mod names;
mod reads;
mod saves;
mod scenario;
mod table;
mod trace;

use scenario::Scenario;

const ALL: [&[Scenario]; 4] = [saves::ALL, reads::ALL, names::ALL, history::ALL];

#[test]
#[ignore = "a tier of its own: scripts/test.sh --all"]
fn files_and_names_cost_what_the_table_says_with_passthrough() {
    scenario::run(ALL.iter().copied().flatten(), "on");
}

#[test]
#[ignore = "a tier of its own: scripts/test.sh --all"]
fn files_and_names_cost_what_the_table_says_without_passthrough() {
    // What background threads do to stored content is the same in both ways.
    let all = [saves::ALL, reads::ALL, names::ALL];
    scenario::run(all.iter().copied().flatten(), "off");
}
