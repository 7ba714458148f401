//! How long work tells of its progress without printing.

/// Hears of progress. The library calls it; the command line draws it.
pub trait Monitor: Send + Sync {
    /// A phase begins: what is done, and how many units there are (0 = unknown). Units are bytes, unless `what` ends with their
    /// name in parentheses: `replaying the journal (records)`.
    fn begin(&self, what: &str, total: u64);
    /// `done` units of the phase are finished.
    fn advance(&self, done: u64);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {
    fn begin(&self, _what: &str, _total: u64) {}
    fn advance(&self, _done: u64) {}
}
