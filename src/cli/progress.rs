//! Progress for people: a bar on a terminal, a line every 10 s elsewhere. On stderr, so that results stay clean.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};

use super::tell;
use crate::base::monitor::Monitor;
use crate::base::text::one_line;

const LINE_EVERY: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(1);

/// A monitor that draws.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    /// Nothing is drawn before.
    from: Instant,
    lines: Mutex<Lines>,
}

struct Lines {
    what: String,
    total: u64,
    said: Instant,
    /// The bar knows of the phase.
    is_drawn: bool,
}

impl Progress {
    /// For stderr as it is.
    pub(super) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| ProgressBar::new(0).with_style(style(false)));
        let now = Instant::now();
        let lines = Lines { what: String::new(), total: 0, said: now, is_drawn: false };
        Progress { bar, from: now, lines: lines.into() }
    }

    /// For work that is mostly done in a moment: draws nothing in the first second.
    pub(super) fn patient() -> Self {
        let new = Self::new();
        Progress { from: new.from + PATIENCE, ..new }
    }

    fn draw(&self, bar: &ProgressBar, lines: &mut Lines, done: u64) {
        if Instant::now() < self.from {
            return;
        }
        if !std::mem::replace(&mut lines.is_drawn, true) {
            bar.set_style(style(is_counted(&lines.what)));
            bar.set_message(one_line(&lines.what));
            bar.set_length(lines.total);
        }
        bar.set_position(done);
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.iter().for_each(ProgressBar::finish_and_clear);
    }
}

/// Whether the units of a phase are not bytes.
fn is_counted(what: &str) -> bool {
    what.ends_with(')')
}

fn style(counted: bool) -> ProgressStyle {
    let template = match counted {
        true => "{msg} {wide_bar} {human_pos}/{human_len} {eta}",
        false => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

impl Monitor for Progress {
    fn begin(&self, what: &str, total: u64) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.what, lines.total, lines.is_drawn) = (what.to_owned(), total, false);
        if let Some(bar) = &self.bar {
            self.draw(bar, &mut lines, 0);
        }
    }

    fn advance(&self, done: u64) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = &self.bar {
            return self.draw(bar, &mut lines, done);
        }
        if lines.said.elapsed() >= LINE_EVERY {
            lines.said = Instant::now();
            tell(&match is_counted(&lines.what) {
                true => format!("{}: {done} of {}", lines.what, lines.total),
                false => format!("{}: {} of {}", lines.what, ByteSize(done), ByteSize(lines.total)),
            });
        }
    }
}
