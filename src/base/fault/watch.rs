//! Tells the one who listens, if there is one.
//!
//! The observer is called by the thread that is at the point or syncs, while that thread holds whatever it holds: it must
//! not call into the store that it observes.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};

use super::{Point, Sync};
use crate::base::lock::{read, write};

/// Listens to everything that happens in this process.
pub trait Observer: Send + std::marker::Sync {
    /// A thread is at `point`.
    fn reached(&self, point: Point);

    /// `path` is about to be made durable; an error is what the sync then returns, and nothing is made durable.
    fn syncing(&self, sync: Sync, path: &Path) -> io::Result<()>;

    /// `file`, which is or was at `path`, has been made durable.
    fn synced(&self, sync: Sync, file: &File, path: &Path);
}

static OBSERVER: RwLock<Option<Arc<dyn Observer>>> = RwLock::new(None);

/// From now on `observer` is told everything; `None`: nobody is.
pub fn observe(observer: Option<Arc<dyn Observer>>) {
    *write(&OBSERVER) = observer;
}

fn observer() -> Option<Arc<dyn Observer>> {
    read(&OBSERVER).clone()
}

/// Says that this thread is at `point`.
pub fn reached(point: Point) {
    if let Some(observer) = observer() {
        observer.reached(point);
    }
}

/// Says that `path` is about to be made durable.
///
/// # Errors
/// What the observer wants the sync to return.
pub fn syncing(sync: Sync, path: &Path) -> io::Result<()> {
    observer().map_or(Ok(()), |observer| observer.syncing(sync, path))
}

/// Says that `file` has been made durable.
pub fn synced(sync: Sync, file: &File, path: &Path) {
    if let Some(observer) = observer() {
        observer.synced(sync, file, path);
    }
}
