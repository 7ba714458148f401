//! Ctrl-C, and waiting: a signal is only noted, so that whatever was begun is ended in order and cleaned up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::super::failure::{Failure, Outcome};

/// How often something that is waited for is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// What takes longer does not come any more.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Whether it was asked to end.
#[derive(Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Notes signals from now on. A second one ends the program at once, and leaves what it has made.
    pub(super) fn watch() -> Outcome<Self> {
        let noted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let watched = flag::register_conditional_shutdown(signal, 1, noted.clone())
                .and_then(|_| flag::register(signal, noted.clone()));
            watched.map_err(|error| Failure::Failed(format!("cannot watch signals: {error}")))?;
        }
        Ok(Stop(noted))
    }

    /// An error once a signal has come.
    pub(super) fn check(&self) -> Outcome {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Failure::Failed("stopped by a signal".into())),
            false => Ok(()),
        }
    }

    /// Waits until `holds`.
    pub(super) fn wait_for(&self, what: &str, mut holds: impl FnMut() -> Outcome<bool>) -> Outcome {
        let begun = Instant::now();
        while !holds()? {
            self.check()?;
            if begun.elapsed() > WAIT_MAX {
                let seconds = WAIT_MAX.as_secs();
                return Err(Failure::Failed(format!("{what}: not within {seconds} s; try a smaller --size")));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
