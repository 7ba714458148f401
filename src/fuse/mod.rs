//! The kernel's side: decodes a request, calls the engine, replies. No decisions.
//!
//! Only this folder knows `fuser`.

mod backing;
mod convert;
mod core;
mod dirs;
mod filesystem;
mod history;
mod mount;
mod notify;
pub mod requests;
pub mod session;
mod slow;

pub use session::{MountSpec, Mounted, Passthrough};
