//! Opening a store: as it was closed, after a killed daemon, or after a power cut.
//!
//! Order: journal and catalog; renames whose bytes may be lost are taken back (only after a reboot) or
//! made good (after a kill: the page cache has them); orphans are erased; hot files that no record names
//! are deleted, and records whose hot file never reached the disk get an empty one (only after a
//! reboot: nobody had asked for their durability; at any other time it is damage, and reading says so).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::live::LiveTable;
use super::{Engine, Handles, Options, ballast, cache, kept, status, sync};
use parking_lot::Mutex;

use crate::base::Result;
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::catalog::keys::{self, HotId, HotState, Ino};
use crate::catalog::records::{Body, Content};
use crate::hot::HotDir;
use crate::hot::grave::Grave;
use crate::meta::{Meta, Opened};
use crate::namespace::{Caller, Namespace};
use crate::pack::PackStore;
use crate::seal::queue::SealQueue;
use crate::seal::read_ahead::ReadPool;

impl Engine {
    /// Opens the store in folder `store`, which the caller has locked. `owner` owns the root of a new one.
    pub fn start(
        store: &Path,
        options: Options,
        owner: Caller,
        monitor: &dyn Monitor,
    ) -> Result<Arc<Engine>> {
        ballast::release(store)?;
        fault::reached(Point::BallastReleased);
        let opened =
            Meta::open(&store.join("journal"), &store.join("catalog"), options.meta.clone(), monitor)?;
        let Opened { meta, rebooted, unclean, pending } = opened;
        let packs =
            PackStore::open(&store.join("packs"), &store.join("index"), options.cache_bytes, monitor)?;
        let hot = HotDir::open(options.hot.as_deref().unwrap_or(&store.join("hot")))?;
        let ns = Namespace::open(Arc::new(meta), owner)?;
        let history = super::history::History::load(&ns, &options.history)?;
        let boot = match options.meta.boot {
            Some(boot) => boot,
            None => crate::journal::current_boot()?,
        };
        let boot = format!("{:032x}", u128::from_be_bytes(boot));
        let ns_floor = ns.peek_hot();
        let grave = Grave::default();
        grave.sync_begins(ns_floor);
        let engine = Engine {
            store: store.to_owned(),
            ns,
            hot,
            grave,
            packs: Arc::new(packs),
            readers: Arc::new(ReadPool::new(options.hydrate_threads)?),
            live: Arc::new(LiveTable::default()),
            handles: Handles::default(),
            cache: cache::HotCache::default(),
            doubts: super::doubt::Doubts::new(ns_floor, !unclean),
            kernel: super::kernel::Told::default(),
            kept: kept::KeptPages::default(),
            unprovable: Mutex::default(),
            hot_at_cut: Mutex::default(),
            queue: SealQueue::default(),
            passthrough: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            poison: Mutex::default(),
            faults: status::Faults::default(),
            descriptors: super::descriptors::Descriptors::new()?,
            totals: status::Totals::default(),
            wake_sync: sync::Wake::default(),
            history,
            reclaim: super::reclaim::Reclaim::default(),
            reencode: super::reencode::Reencode::default(),
            scrub: super::scrub::Scrub::default(),
            boot,
            options,
        };
        if unclean {
            engine.recover(rebooted, &pending, monitor)?;
        }
        engine.load_hot_files(unclean)?;
        engine.load_scrub()?;
        engine.bury_runs()?;
        // Of moments whose end was recorded just before a kill.
        let (gone, seq) = engine.ns.release_captured()?;
        gone.into_iter().for_each(|hot| engine.bury(hot, seq));
        ballast::hold(store);
        fault::reached(Point::BallastHeld);
        Ok(Arc::new(engine))
    }

    fn recover(&self, rebooted: bool, pending: &[(u64, Vec<u8>)], monitor: &dyn Monitor) -> Result<()> {
        monitor.begin("recovering after an unclean end", 0);
        tracing::warn!("the last daemon did not end in order; recovering (reboot since: {rebooted})");
        self.match_hot_files(rebooted)?;
        fault::reached(Point::RecoverMatched);
        if !rebooted {
            // Which files' entries were durable is forgotten; a later fsync must be able to rely on all.
            self.hot.sync_everything()?;
        }
        if rebooted {
            self.ns.undo(pending, &|inode| match inode.content() {
                Some(Content::Hot(id)) => Ok(self.hot.attr(*id)?.size == 0),
                _ => Ok(false),
            })?;
            fault::reached(Point::RecoverTakenBack);
            if let Some((last, _)) = pending.last() {
                self.ns.meta().barrier(*last)?;
            }
        }
        self.sync_names()?;
        for ino in self.ns.orphans()? {
            self.reap(ino)?;
        }
        fault::reached(Point::RecoverReaped);
        self.sync_names()?;
        self.ns.meta().recovered()
    }

    /// Compares the hot files on record with those in the folder.
    fn match_hot_files(&self, rebooted: bool) -> Result<()> {
        let mut named: HashMap<HotId, Ino> = HashMap::new();
        for state in HotState::ALL {
            named.extend(self.ns.hot_files(state)?);
        }
        let present: HashSet<HotId> = self.hot.list()?.into_iter().collect();
        for (id, ino) in self.ns.hot_files(HotState::Cache)? {
            if rebooted || !present.contains(&id) {
                named.remove(&id);
                self.drop_copy(ino)?;
            }
        }
        for id in present.iter().filter(|id| !named.contains_key(id)) {
            self.hot.delete(*id)?;
        }
        if rebooted {
            self.hot_at_cut.lock().extend(named.values());
            // A mark may have become durable before the bytes that it is of.
            let small = self.ns.hot_files(HotState::Small)?;
            self.ns.unmark(&small.into_iter().map(|(id, _)| id).collect::<Vec<_>>())?;
        }
        for (id, ino) in named.into_iter().filter(|(id, _)| !present.contains(id)) {
            if rebooted {
                tracing::warn!(
                    "inode {ino}: written shortly before the power cut and never synced; it is empty"
                );
                self.hot.create(id)?;
            } else {
                self.report(
                    &crate::base::Error::damaged(&self.hot.path(id), "hot file: it is missing"),
                    "find a file's bytes",
                );
            }
        }
        Ok(())
    }

    /// A hot copy was never made durable, its chunks were: after a power cut only they count.
    fn drop_copy(&self, ino: Ino) -> Result<()> {
        let content = self.ns.find(ino)?.and_then(|inode| inode.content().copied());
        if let Some(Content::Both(hot, sealed)) = content {
            // A version in the making may know the hot file only.
            self.ns.redirect_snapshots(ino, hot, Content::Sealed(sealed))?;
        }
        let (_, seq) = self.ns.set_content(ino, HotState::Cache, |inode| {
            if let Some(Content::Both(_, sealed)) = inode.content().copied() {
                inode.body = Body::File(Content::Sealed(sealed));
            }
            Ok(())
        })?;
        if let Some(Content::Both(hot, _)) = content {
            // A moment that has it from that record has the chunks, too: it is not to wait for a file that is gone.
            self.ns.record(vec![(keys::hot(HotState::Captured, hot), None)])?;
        }
        tracing::debug!("inode {ino}: the hot copy is dropped by record {seq}");
        Ok(())
    }

    /// Queues what is not sealed yet and counts what is cached.
    fn load_hot_files(&self, unclean: bool) -> Result<()> {
        let mut unsealed = self.ns.hot_files(HotState::Unsealed)?;
        if unclean {
            // A small file may have grown since it was recorded as small, or a client of the killed daemon
            // may still write to it.
            for (id, ino) in self.ns.hot_files(HotState::Small)? {
                let Ok(attr) = self.hot.attr(id) else { continue };
                let is_quiet = self.is_quiet(id).unwrap_or(false);
                self.doubt_mark(id, &attr, is_quiet)?;
                if attr.size >= super::sealer::SMALL_MAX_BYTES || !is_quiet {
                    unsealed.push((id, ino));
                }
            }
        }
        for (_, ino) in unsealed {
            self.schedule(ino);
            // What was closed before the last mount ended may be in no version yet.
            if let Err(error) = self.closed_before(ino) {
                self.report(&error, "look at a file for history");
            }
        }
        for (id, ino) in self.ns.hot_files(HotState::Cache)? {
            match self.hot.attr(id) {
                Ok(attr) => self.cache.add(ino, attr.blocks.saturating_mul(512)),
                // The chunks have the bytes.
                Err(error) => {
                    self.report(&error, "find a hot copy");
                    self.drop_copy(ino)?;
                }
            }
        }
        Ok(())
    }
}
