//! The engine's background threads: they end when the engine is shut down, and are waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::Engine;
use crate::base::priority::hurry_thread;
use crate::base::{Error, IoContext, Result};

/// The running threads of one engine.
#[derive(Debug)]
pub struct Workers {
    engine: Arc<Engine>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    /// Starts sealing, syncing, making versions, encoding them anew, reclaiming and looking for damage.
    pub fn start(engine: &Arc<Engine>) -> Result<Workers> {
        let workers = Workers::none(engine);
        let stop = workers.stop.clone();
        for n in 0..engine.options.threads.max(1) {
            let engine = engine.clone();
            workers.spawn(format!("seal-{n}"), move || engine.seal_loop())?;
        }
        for (name, body) in [
            ("settle", Engine::settle_loop as fn(&Engine)),
            ("versions", Engine::build_loop),
            ("reclaim", Engine::reclaim_loop),
            ("reencode", Engine::reencode_loop),
            ("pressure", Engine::pressure_loop),
            ("scrub", Engine::scrub_loop),
        ] {
            let engine = engine.clone();
            workers.spawn(name.to_owned(), move || body(&engine))?;
        }
        let deleter = engine.clone();
        workers.spawn("delete".to_owned(), move || {
            deleter.grave.delete_loop(&deleter.hot, &|error| deleter.report(error, "delete a hot file"));
        })?;
        let engine = engine.clone();
        workers.spawn("sync".to_owned(), move || engine.sync_loop(&|| stop.load(Ordering::Relaxed)))?;
        Ok(workers)
    }

    /// No threads: nothing is sealed or deleted until [`start`](Self::start).
    pub fn none(engine: &Arc<Engine>) -> Workers {
        Workers { engine: engine.clone(), stop: Arc::default(), threads: Mutex::default() }
    }

    fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let watched = Watched(self.engine.clone());
        let body = move || {
            // Moved in: dropped when the body ends, by return or by panic.
            let _watched = watched;
            body();
        };
        let thread = std::thread::Builder::new().name(name).spawn(body);
        self.threads.lock().push(thread.context("start a thread for", self.engine.store())?);
        Ok(())
    }

    /// Asks all threads to end, and waits for them. A file that is being sealed stays hot.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.engine.queue.stop();
        self.engine.history.stop();
        self.engine.reclaim.stop();
        self.engine.reencode.stop();
        self.engine.scrub.stop();
        self.engine.wake_sync.now();
        self.engine.grave.stop();
        let mut threads = self.threads.lock();
        // On a busy machine an idle one would not come to its end in time.
        threads.iter().for_each(hurry_thread);
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a background thread had panicked");
            }
        }
    }
}

/// A background thread that dies takes no more writes: its part of the promises is not kept any more.
struct Watched(Arc<Engine>);

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let name = std::thread::current().name().unwrap_or("background").to_owned();
            self.0.poison(&Error::Refused(format!("the {name} thread died")));
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}
