//! Sees every crash point and every sync of this process, keeps the simulated disk, and has images made and checked.
//!
//! Only one thread of the store works at a time: whoever has the turn. The test's thread has it during an operation (and
//! loses it when an engine that ends waits for its threads); the checkpoint thread takes it for a whole checkpoint, others
//! for one event. So an image is of one moment.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use ckptfs::base::fault::{Observer, Point, Sync, observe};

use crate::disk::Disk;

/// Nobody holds the turn longer than this.
const TURN_MAX: Duration = Duration::from_secs(60);

/// Who works.
#[derive(Default)]
pub(crate) struct Turn {
    owner: Mutex<Option<(ThreadId, usize)>>,
    freed: Condvar,
}

impl Turn {
    pub(crate) fn take(&self) {
        let me = std::thread::current().id();
        let mut owner = self.owner.lock().unwrap();
        loop {
            match &mut *owner {
                Some((holder, depth)) if *holder == me => {
                    *depth += 1;
                    return;
                }
                Some(_) => {
                    let (again, waited) = self.freed.wait_timeout(owner, TURN_MAX).unwrap();
                    assert!(!waited.timed_out(), "{:?} never gets its turn", std::thread::current().name());
                    owner = again;
                }
                None => {
                    *owner = Some((me, 1));
                    return;
                }
            }
        }
    }

    pub(crate) fn give(&self) {
        let mut owner = self.owner.lock().unwrap();
        let (holder, depth) = owner.as_mut().expect("somebody has the turn");
        assert_eq!(*holder, std::thread::current().id());
        *depth -= 1;
        if *depth == 0 {
            *owner = None;
            self.freed.notify_all();
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A point, and how often it has been reached.
    Point(Point, usize),
    /// A sync, and how many there have been.
    Sync(usize),
}

/// Is called at each event with the disk as it is.
pub(crate) type Camera = dyn FnMut(Event, &Disk) + Send;

/// Which sync fails: by kind and path.
pub(crate) type Fails = dyn Fn(Sync, &Path) -> bool + Send;

struct Seen {
    disk: Disk,
    points: BTreeMap<Point, usize>,
    syncs: usize,
    camera: Box<Camera>,
}

/// The observer of a test.
pub(crate) struct Watch {
    pub(crate) turn: Turn,
    seen: Mutex<Seen>,
    fails: Mutex<Option<Box<Fails>>>,
}

impl Watch {
    /// Watches from now on, until [`Watch::end`].
    pub(crate) fn begin(disk: Disk, camera: Box<Camera>) -> Arc<Watch> {
        let seen = Seen { disk, points: BTreeMap::new(), syncs: 0, camera };
        let watch =
            Arc::new(Watch { turn: Turn::default(), seen: Mutex::new(seen), fails: Mutex::default() });
        observe(Some(watch.clone()));
        watch
    }

    /// From now on every sync that `fails` chooses fails with EIO.
    pub(crate) fn fail(&self, fails: Box<Fails>) {
        *self.fails.lock().unwrap() = Some(fails);
    }

    /// Nothing is watched any more; how often each point was reached, and the number of syncs.
    pub(crate) fn end(&self) -> (BTreeMap<Point, usize>, usize) {
        observe(None);
        let seen = self.seen.lock().unwrap();
        (seen.points.clone(), seen.syncs)
    }

    fn happened(&self, note: impl FnOnce(&mut Seen) -> Event) {
        let mut seen = self.seen.lock().unwrap();
        let event = note(&mut seen);
        let Seen { disk, camera, .. } = &mut *seen;
        camera(event, disk);
    }
}

impl Observer for Watch {
    fn reached(&self, point: Point) {
        self.turn.take();
        self.happened(|seen| {
            let count = seen.points.entry(point).or_default();
            *count += 1;
            Event::Point(point, *count)
        });
        match point {
            // It keeps the turn until the checkpoint has ended.
            Point::CheckpointBegun => return,
            // What comes now waits for the checkpoint thread to end.
            Point::CheckpointEnded | Point::EndDurable => self.turn.give(),
            _ => {}
        }
        self.turn.give();
    }

    fn syncing(&self, sync: Sync, path: &Path) -> io::Result<()> {
        match &*self.fails.lock().unwrap() {
            Some(fails) if fails(sync, path) => Err(io::Error::from_raw_os_error(libc::EIO)),
            _ => Ok(()),
        }
    }

    fn synced(&self, sync: Sync, file: &File, path: &Path) {
        // Whoever has the turn waits for the thread that makes everything durable.
        let alone = sync != Sync::Filesystem;
        if alone {
            self.turn.take();
        }
        self.happened(|seen| {
            seen.disk.synced(sync, file, path);
            seen.syncs += 1;
            Event::Sync(seen.syncs)
        });
        if alone {
            self.turn.give();
        }
    }
}
