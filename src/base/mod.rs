//! What every layer stands on: ids, errors, byte cursors, durable file operations, the clock, the machine.

pub mod bytes;
pub mod clock;
pub mod durable;
pub mod error;
pub mod fault;
pub mod id;
pub mod lock;
pub mod machine;
pub mod monitor;
pub mod mounts;
pub mod name;
pub mod namespaces;
pub mod nearest;
pub mod priority;
pub mod private;
pub mod text;

/// The store format that this program reads and writes (docs/format.md).
pub const STORE_FORMAT: u32 = 4;

pub use error::{Error, IoContext, Result};
