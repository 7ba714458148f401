//! A running daemon, as the control socket sees it: what it says of itself, and what it is asked to do.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use super::Event;
use crate::base::clock::{Time, rfc3339};
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::command::{self, Answer, Command, Export, Exported};
use crate::control::status::{
    LastError, PassthroughStatus, PressureStatus, Reencoding, ScrubStatus, Sealing, Status, path_text,
};
use crate::control::{Handler, Leave, advice};
use crate::engine::Engine;
use crate::engine::history::export::Sink;
use crate::engine::lock::Holder;
use crate::engine::reclaim::pressure::Pressure;
use crate::engine::reclaim::{How, Reclaimed};
use crate::engine::scrub::Scrubbed;
use crate::engine::status::Report;
use crate::fuse::requests::Requests;
use crate::fuse::session::Unmounter;

/// A running daemon, as the control socket sees it.
pub(super) struct Running {
    pub(super) engine: Arc<Engine>,
    pub(super) unmounter: Unmounter,
    pub(super) requests: Arc<Requests>,
    pub(super) mountpoint: PathBuf,
    pub(super) holder: Holder,
    pub(super) no_passthrough: Option<String>,
    pub(super) events: mpsc::Sender<Event>,
    pub(super) read_only: bool,
}

impl Handler for Running {
    fn status(&self) -> Status {
        let (report, failure) = match self.engine.report_status() {
            Ok(report) => (report, None),
            Err(error) => (Report::default(), Some(error.to_string())),
        };
        let free = self.engine.space().map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        let stored = report.packs.stored_bytes;
        let mut status = Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.holder.pid,
            host: self.holder.host.clone(),
            store: path_text(self.engine.store()),
            mountpoint: path_text(&self.mountpoint),
            since: self.holder.since.clone(),
            health: match (&report.poisoned, failure) {
                (Some(why), _) => format!("read-only: {why}"),
                (None, Some(why)) => format!("not readable: {why}"),
                (None, None) => "ok".to_owned(),
            },
            passthrough: PassthroughStatus {
                on: self.no_passthrough.is_none(),
                why: self
                    .no_passthrough
                    .clone()
                    .unwrap_or_else(|| "the kernel works on hot files by itself".to_owned()),
            },
            requests: self.requests.by_kind(),
            sealing: Sealing {
                queued_files: report.queued_files as u64,
                queued_bytes: report.queued_bytes,
                in_progress: report.in_progress as u64,
                sealed_files: report.sealed_files,
                sealed_bytes: report.sealed_bytes,
                lag_seconds: report.lag.as_secs(),
                bytes_per_second: report.sealing_rate,
            },
            reencoding: if report.is_reencoding { Reencoding::Working } else { Reencoding::Idle },
            reencoded_bytes: report.reencoded.from_bytes,
            reencoded_saved_bytes: report.reencoded.saved_bytes(),
            scrub: scrub_status(&report.scrubbed),
            hot_files: report.hot_files,
            hot_bytes: report.hot_bytes,
            logical_bytes: report.logical_bytes,
            stored_bytes: stored,
            ratio: (stored > 0).then(|| report.sealed_live_bytes as f64 / stored as f64),
            chunks: report.packs.chunks,
            history_bytes: report.history_bytes,
            versions: report.versions,
            versions_bytes: report.versions_bytes,
            pressure: pressure_status(&report.pressure),
            free_bytes: free,
            last_errors: report
                .faults
                .iter()
                .map(|fault| LastError { time: rfc3339(fault.at), what: fault.what.clone() })
                .collect(),
            advice: Vec::new(),
        };
        status.advice = advice(&status);
        status
    }

    fn seal_all(&self, progress: &dyn Monitor) -> Result<()> {
        self.engine.seal_all(progress)
    }

    fn reclaim(&self, dry_run: bool, progress: &dyn Monitor) -> Result<Reclaimed> {
        self.engine.reclaim_as(How { dry_run, ..How::NOW }, progress)
    }

    fn request_unmount(&self, how: Leave) -> Result<()> {
        match how {
            Leave::IfIdle => self.unmounter.unmount(),
            Leave::Now => {
                self.unmounter.detach()?;
                drop(self.events.send(Event::Leave));
                Ok(())
            }
        }
    }

    fn export(&self, export: &Export, sink: &mut dyn Sink) -> Result<Exported> {
        command::export(&self.engine, export, sink)
    }

    fn execute(&self, command: Command, progress: &dyn Monitor) -> Result<Answer> {
        if self.read_only && command.changes() {
            return Err(Error::Refused("the mount is read-only; mount the store without ro".to_owned()));
        }
        command::execute(&self.engine, command, progress)
    }
}

fn scrub_status(scrubbed: &Scrubbed) -> ScrubStatus {
    let utc = |secs: Option<i64>| secs.map(|secs| rfc3339(Time { secs, nanos: 0 }));
    ScrubStatus {
        since: utc(scrubbed.began),
        bytes: scrubbed.bytes,
        damaged: scrubbed.damaged,
        finished: utc(scrubbed.finished),
        last_damaged: scrubbed.last_damaged,
    }
}

fn pressure_status(pressure: &Pressure) -> PressureStatus {
    PressureStatus {
        active: pressure.active,
        since: pressure.since.map(rfc3339),
        min_free: pressure.min_free,
        versions: pressure.versions,
        freed_bytes: pressure.freed_bytes,
        what_it_did: pressure.what_it_did.clone(),
        gave_up_because: pressure.gave_up_because.clone(),
    }
}
