//! A segment prepared ahead, so that going on to the next one takes no time and no space.
//!
//! A helper thread holds exactly one finished spare and offers it; when it is taken it makes the next. When
//! it cannot (disk full) it tries again every second; the taker then makes its own, or fails.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::record::BootId;
use super::segment;
use crate::base::fault::{self, Point};
use crate::base::{IoContext, Result};

const RETRY: Duration = Duration::from_secs(1);

/// A segment file under its temporary name.
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) path: PathBuf,
}

/// Makes spares.
struct Maker {
    dir: PathBuf,
    segment_bytes: u64,
    boot: BootId,
    next: AtomicU64,
}

/// The source of prepared segments.
pub(super) struct Spares {
    maker: Arc<Maker>,
    ready: Receiver<Spare>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spares {
    /// Deletes what an earlier process prepared and begins to prepare.
    pub(super) fn start(dir: &Path, segment_bytes: u64, boot: BootId) -> Result<Self> {
        for entry in fs::read_dir(dir).context("list", dir)? {
            let path = entry.context("list", dir)?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                fs::remove_file(&path).context("delete", &path)?;
            }
        }
        let maker = Arc::new(Maker { dir: dir.to_owned(), segment_bytes, boot, next: AtomicU64::new(0) });
        let (offer, ready) = bounded(0);
        let (stop, stopped) = bounded(0);
        let helper = Arc::clone(&maker);
        let thread = std::thread::Builder::new()
            .name("journal-spare".into())
            .spawn(move || helper.run(&offer, &stopped))
            .context("start a thread for", dir)?;
        Ok(Spares { maker, ready, stop: Some(stop), thread: Some(thread) })
    }

    /// The prepared segment, or a new one when there is none. On a full disk the one that the helper is about
    /// to finish may have got the last space: it is waited for.
    pub(super) fn take(&self) -> Result<Spare> {
        let make = || self.maker.make().or_else(|error| self.ready.recv_timeout(RETRY).map_err(|_| error));
        self.ready.try_recv().or_else(|_| make())
    }
}

impl Drop for Spares {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that prepares journal segments panicked");
        }
    }
}

impl Maker {
    fn make(&self) -> Result<Spare> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("spare-{number}.tmp"));
        let file = segment::prepare(&path, self.segment_bytes, &self.boot).inspect_err(|_| discard(&path))?;
        fault::reached(Point::JournalSpare);
        Ok(Spare { file, path })
    }

    fn run(&self, offer: &Sender<Spare>, stopped: &Receiver<()>) {
        loop {
            match self.make() {
                Ok(spare) => {
                    let path = spare.path.clone();
                    select! {
                        send(offer, spare) -> sent => if sent.is_err() { return discard(&path) },
                        recv(stopped) -> _ => return discard(&path),
                    }
                }
                Err(error) => {
                    tracing::warn!("no journal segment can be prepared: {error}");
                    select! {
                        recv(stopped) -> _ => return,
                        default(RETRY) => {}
                    }
                }
            }
        }
    }
}

fn discard(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!("{} stays until the next open: {error}", path.display());
    }
}
