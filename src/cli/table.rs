//! The status of mounts and stores, for people: one block each, names left, values right.

use bytesize::ByteSize;

use super::status::{Report, Unmounted};
use crate::base::text::one_line;
use crate::control::Status;
use crate::control::status::{PressureStatus, Reencoding, ScrubStatus};

/// The blocks of `reports`, or one line when there is none.
pub(super) fn render(reports: &[Report]) -> String {
    if reports.is_empty() {
        return "no ckptfs mounts on this machine\n".into();
    }
    let blocks: Vec<String> = reports.iter().map(|report| block(&rows(report))).collect();
    blocks.join("\n")
}

type Rows = Vec<(&'static str, String)>;

fn block(rows: &Rows) -> String {
    rows.iter().map(|(name, value)| format!("{name:<12} {}\n", one_line(value))).collect()
}

fn rows(report: &Report) -> Rows {
    let unknown = |store: &Option<String>| store.clone().unwrap_or_else(|| "unknown".into());
    match report {
        Report::Mounted(status) => mounted(status),
        Report::Unreachable { mountpoint, store, why } => vec![
            ("mountpoint", mountpoint.clone()),
            ("store", unknown(store)),
            ("health", format!("unknown: {why}")),
        ],
        Report::Dead { mountpoint, store } => vec![
            ("mountpoint", mountpoint.clone()),
            ("store", unknown(store)),
            (
                "health",
                format!(
                    "dead: the daemon was killed; mount it again, or clean up with: ckptfs unmount {mountpoint}"
                ),
            ),
        ],
        Report::Unmounted(store) => unmounted(store),
    }
}

fn mounted(status: &Status) -> Rows {
    let Status { sealing, passthrough, .. } = status;
    let on = if passthrough.on { "on" } else { "off" };
    let ratio = status.ratio.map_or("nothing stored yet".into(), |ratio| format!("{ratio:.2} to 1"));
    let mut rows = vec![
        ("mountpoint", status.mountpoint.clone()),
        ("store", status.store.clone()),
        ("health", status.health.clone()),
        (
            "daemon",
            format!(
                "ckptfs {}, pid {} on {}, since {}",
                status.version, status.pid, status.host, status.since
            ),
        ),
        (
            "passthrough",
            if passthrough.why.is_empty() { on.into() } else { format!("{on}: {}", passthrough.why) },
        ),
        (
            "sealing",
            format!(
                "{} waiting ({}), {} at work, lag {} s{}",
                files(sealing.queued_files),
                size(sealing.queued_bytes),
                sealing.in_progress,
                sealing.lag_seconds,
                sealing.bytes_per_second.map_or(String::new(), |rate| format!(", {}/s a thread", size(rate)))
            ),
        ),
        (
            "sealed",
            format!("{} ({}) since the mount", files(sealing.sealed_files), size(sealing.sealed_bytes)),
        ),
        ("re-encoding", reencoding(status)),
        ("scrub", scrub(&status.scrub)),
        ("hot", format!("{} ({})", files(status.hot_files), size(status.hot_bytes))),
        ("logical", size(status.logical_bytes)),
        ("stored", format!("{} in {} chunks, ratio {ratio}", size(status.stored_bytes), status.chunks)),
        ("history", history(status)),
        ("free", size(status.free_bytes)),
    ];
    rows.extend(pressure(&status.pressure));
    rows.extend(status.advice.iter().map(|what| ("to do", what.clone())));
    if status.advice.is_empty() {
        rows.push(("to do", "nothing".to_owned()));
    }
    rows.extend(status.last_errors.iter().map(|error| ("error", format!("{} {}", error.time, error.what))));
    rows
}

/// How many versions there are, and what keeping them as they are stored has saved.
fn history(status: &Status) -> String {
    let Status { versions, versions_bytes, stored_bytes, history_bytes, .. } = status;
    let saved = match versions_bytes.checked_sub(*stored_bytes) {
        Some(saved) if saved > 0 => {
            format!(", {} saved ({:.1} %)", size(saved), 100.0 * saved as f64 / *versions_bytes as f64)
        }
        _ => String::new(),
    };
    format!(
        "{versions} versions of {}{saved}; {} in packs that only they hold",
        size(*versions_bytes),
        size(*history_bytes)
    )
}

/// Storing older versions as what they differ in from others.
fn reencoding(status: &Status) -> String {
    let now = match status.reencoding {
        Reencoding::Idle => "idle",
        Reencoding::Working => "working",
    };
    let saved = status.reencoded_saved_bytes;
    let sign = if saved < 0 { "-" } else { "" };
    format!(
        "{now}, saved {sign}{} of {} since the mount",
        size(saved.unsigned_abs()),
        size(status.reencoded_bytes)
    )
}

/// Looking for damage in packs.
fn scrub(scrub: &ScrubStatus) -> String {
    let last = match &scrub.finished {
        Some(at) => format!("last pass ended {at}, {} damaged places", scrub.last_damaged),
        None => "no pass yet".to_owned(),
    };
    match &scrub.since {
        Some(since) => {
            format!("{} since {since}, {} damaged places; {last}", size(scrub.bytes), scrub.damaged)
        }
        None => last,
    }
}

/// A disk that runs full, or was made to have room again.
fn pressure(pressure: &PressureStatus) -> Rows {
    let mut rows = Rows::new();
    let since = pressure.since.as_deref().unwrap_or_default();
    if pressure.active {
        rows.push(("pressure", format!("less than {} free since {since}", size(pressure.min_free))));
    } else if pressure.since.is_some() {
        rows.push(("pressure", format!("none now, the last since {since}")));
    }
    if pressure.versions > 0 {
        let what = format!("{} versions went for lack of space since the mount", pressure.versions);
        rows.push(("pressure", what));
    }
    rows.extend(pressure.what_it_did.iter().map(|what| ("pressure", what.clone())));
    rows.extend(pressure.gave_up_because.iter().map(|why| ("pressure", format!("does no more: {why}"))));
    rows
}

fn unmounted(store: &Unmounted) -> Rows {
    let state = match &store.holder {
        None => "not mounted".to_owned(),
        Some(holder) if holder.mountpoint.as_os_str().is_empty() => {
            format!(
                "not mounted; a command works on it: pid {} on {} since {}",
                holder.pid, holder.host, holder.since
            )
        }
        Some(holder) => format!(
            "not mounted here; held by pid {} on {} for {} since {}",
            holder.pid,
            holder.host,
            holder.mountpoint.display(),
            holder.since
        ),
    };
    vec![
        ("store", store.store.clone()),
        ("state", state),
        ("format", format!("{}, id {}", store.format, store.id)),
        ("stored", size(store.stored_bytes)),
        ("hot", format!("{} ({})", files(store.hot_files), size(store.hot_bytes))),
        ("free", size(store.free_bytes)),
    ]
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).display().iec().to_string()
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".into() } else { format!("{count} files") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::status::{LastError, PassthroughStatus, PressureStatus};

    #[test]
    fn a_person_sees_health_passthrough_and_errors() {
        let status = Status {
            health: "read-only: fsync failed".into(),
            passthrough: PassthroughStatus { on: false, why: "Linux 6.8 has none".into() },
            hot_bytes: 3 << 30,
            ratio: Some(2.5),
            last_errors: vec![LastError { time: "2026-01-01T00:00:00Z".into(), what: "damaged blob".into() }],
            history_bytes: 5 << 30,
            reencoding: Reencoding::Working,
            reencoded_bytes: 7 << 30,
            reencoded_saved_bytes: 2 << 30,
            pressure: PressureStatus {
                active: true,
                since: Some("2026-01-02T00:00:00Z".into()),
                min_free: 10 << 30,
                gave_up_because: Some("something else fills the disk".into()),
                ..PressureStatus::default()
            },
            ..Status::default()
        };
        let text = render(&[Report::Mounted(Box::new(status))]);
        for part in [
            "read-only: fsync failed",
            "off: Linux 6.8",
            "3.0 GiB",
            "2.50 to 1",
            "damaged blob",
            "5.0 GiB",
            "working, saved 2.0 GiB of 7.0 GiB",
            "10.0 GiB free since 2026",
            "no more: some",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render(&[]).contains("no ckptfs mounts"));
    }

    #[test]
    fn a_dead_mount_comes_with_its_cure() {
        let text = render(&[Report::Dead { mountpoint: "/mnt/x".into(), store: None }]);
        assert!(text.contains("ckptfs unmount /mnt/x"), "{text}");
    }
}
