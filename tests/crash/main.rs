//! Crashes: at every named point and at syncs, by a kill and by a power cut, everything that must survive does.
//!
//! A workload runs over a simulated disk (`disk.rs`), which keeps live and durable bytes apart; images of it are opened by
//! a fresh engine in another process and checked against an oracle (`oracle.rs`, `check.rs`).

#![cfg(debug_assertions)]
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

mod acts;
mod check;
mod content;
mod disk;
mod eio;
mod jury;
mod oracle;
mod page;
mod stage;
mod watch;
mod work;

/// Not a test: what the others start to have an image checked.
#[test]
#[ignore = "started by the other tests"]
fn a_process_that_checks() {
    if let Some(question) = std::env::var_os(jury::QUESTION) {
        check::answer(std::path::Path::new(&question));
    }
}
