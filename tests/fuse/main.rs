//! The rules of ARCHITECTURE.md, "Two states of content", held through a real mount by the built program.
//!
//! Each rule is a test, with passthrough on and off where it applies. Needs root, /dev/fuse and Linux 6.9; where one is
//! missing each test fails and says so.

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

mod backup;
mod bench;
mod commands;
mod costs;
mod daemon;
mod damage;
mod export;
#[cfg(debug_assertions)]
mod faults;
mod history;
mod hostile;
mod import;
mod killed;
mod limits;
mod modes;
mod mount8;
mod names;
mod posix;
mod privileges;
mod quiet;
mod restore;
mod sealed;
mod service;
mod times;
mod upgrade;
