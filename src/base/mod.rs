//! What every layer stands on: ids, errors, byte cursors, durable file operations, the clock.

pub mod bytes;
pub mod clock;
pub mod durable;
pub mod error;
pub mod id;
pub mod monitor;
pub mod priority;

pub use error::{Error, IoContext, Result};
