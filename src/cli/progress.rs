//! Progress for people: a bar on a terminal, a line every 10 s elsewhere. On stderr, so that results stay clean.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::tell;
use crate::base::monitor::Monitor;

const LINE_EVERY: Duration = Duration::from_secs(10);

/// A monitor that draws. Units are bytes.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    lines: Mutex<Lines>,
}

struct Lines {
    what: String,
    total: u64,
    said: Instant,
}

impl Progress {
    /// For stderr as it is.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style()));
        Progress { bar, lines: Lines { what: String::new(), total: 0, said: Instant::now() }.into() }
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn style() -> ProgressStyle {
    let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Monitor for Progress {
    fn begin(&self, what: &str, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            bar.set_length(total);
            bar.set_position(0);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.what, lines.total) = (what.to_owned(), total);
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(done);
        }
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.said.elapsed() >= LINE_EVERY {
            lines.said = Instant::now();
            tell(&format!("{}: {} of {}", lines.what, ByteSize(done), ByteSize(lines.total)));
        }
    }
}
