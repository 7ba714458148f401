//! The status of mounts as Prometheus reads it: one table of metrics, each with a sample for every mount.
//!
//! Names are stable. The text is what node_exporter's textfile collector takes.

use super::status::Report;
use crate::control::Status;
use crate::control::status::Reencoding;

/// A metric: its name without `ckptfs_`, its type, its help, and its value.
type Metric = (&'static str, &'static str, &'static str, fn(&Status) -> f64);

const METRICS: &[Metric] = &[
    ("healthy", "gauge", "1 while the store takes writes", |s| flag(s.health == "ok")),
    ("passthrough", "gauge", "1 while the kernel writes hot files itself", |s| flag(s.passthrough.on)),
    ("sealing_queued_files", "gauge", "Files that wait to be sealed", |s| s.sealing.queued_files as f64),
    ("sealing_queued_bytes", "gauge", "Their bytes", |s| s.sealing.queued_bytes as f64),
    ("sealing_in_progress", "gauge", "Files that are being sealed", |s| s.sealing.in_progress as f64),
    ("sealing_lag_seconds", "gauge", "How long the oldest of them waits", |s| s.sealing.lag_seconds as f64),
    ("sealed_files_total", "counter", "Files sealed since the mount", |s| s.sealing.sealed_files as f64),
    ("sealed_bytes_total", "counter", "Their bytes", |s| s.sealing.sealed_bytes as f64),
    ("reencoding", "gauge", "1 while older versions are encoded anew, or are about to be", |s| {
        flag(s.reencoding == Reencoding::Working)
    }),
    ("reencoded_bytes_total", "counter", "Stored bytes that were encoded anew since the mount", |s| {
        s.reencoded_bytes as f64
    }),
    ("reencoded_saved_bytes", "gauge", "How many of them that saved", |s| s.reencoded_saved_bytes as f64),
    ("scrub_bytes", "gauge", "Bytes that the present or last look for damage has read", |s| {
        s.scrub.bytes as f64
    }),
    ("scrub_damaged", "gauge", "Damaged places that looking for damage found, now or last", |s| {
        s.scrub.damaged.max(s.scrub.last_damaged) as f64
    }),
    ("hot_files", "gauge", "Hot files", |s| s.hot_files as f64),
    ("hot_bytes", "gauge", "Bytes on the disk of hot files", |s| s.hot_bytes as f64),
    ("logical_bytes", "gauge", "All files as their readers see them", |s| s.logical_bytes as f64),
    ("stored_bytes", "gauge", "Packs", |s| s.stored_bytes as f64),
    ("chunks", "gauge", "Different chunks in them", |s| s.chunks as f64),
    ("history_bytes", "gauge", "Packs that only history holds", |s| s.history_bytes as f64),
    ("sealing_bytes_per_second", "gauge", "Bytes that one thread seals in a second of work", |s| {
        s.sealing.bytes_per_second.unwrap_or(0) as f64
    }),
    ("versions", "gauge", "Versions of all runs", |s| s.versions as f64),
    ("versions_bytes", "gauge", "Their files, each counted in every version that has it", |s| {
        s.versions_bytes as f64
    }),
    ("free_bytes", "gauge", "Left on the disk of the store", |s| s.free_bytes as f64),
    ("pressure", "gauge", "1 while less than min_free is left there", |s| flag(s.pressure.active)),
    ("pressure_min_free_bytes", "gauge", "Bytes that are kept free", |s| s.pressure.min_free as f64),
    ("pressure_versions_total", "counter", "Versions that went for lack of space since the mount", |s| {
        s.pressure.versions as f64
    }),
    ("pressure_freed_bytes_total", "counter", "Bytes that this has given back", |s| {
        s.pressure.freed_bytes as f64
    }),
    ("last_errors", "gauge", "Errors that status shows", |s| s.last_errors.len() as f64),
];

/// The only metric with a label of its own.
const REQUESTS: (&str, &str, &str) = ("requests_total", "counter", "FUSE requests since the mount, by kind");

/// The table of metrics for people, a line each.
pub(super) fn help() -> String {
    let up = ("up", "gauge", "1 when the daemon of the mount answers");
    let rows =
        [up, REQUESTS].into_iter().chain(METRICS.iter().map(|(name, kind, help, _)| (*name, *kind, *help)));
    rows.map(|(name, kind, help)| format!("\n  {:<34} {kind:<8} {help}", format!("ckptfs_{name}"))).collect()
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// The samples of all mounts in `reports`; a store that is not mounted has none.
pub(super) fn render(reports: &[Report]) -> String {
    let mut text = head("up", "gauge", "1 when the daemon of the mount answers");
    for report in reports {
        let (up, mountpoint, store) = match report {
            Report::Mounted(status) => (1.0, &status.mountpoint, Some(&status.store)),
            Report::Unreachable { mountpoint, store, .. } | Report::Dead { mountpoint, store } => {
                (0.0, mountpoint, store.as_ref())
            }
            Report::Unmounted(_) => continue,
        };
        text.push_str(&sample("up", mountpoint, store.map(String::as_str).unwrap_or_default(), up));
    }
    for (name, kind, help, value) in METRICS {
        text.push_str(&head(name, kind, help));
        for report in reports {
            if let Report::Mounted(status) = report {
                text.push_str(&sample(name, &status.mountpoint, &status.store, value(status)));
            }
        }
    }
    let (name, kind, help) = REQUESTS;
    text.push_str(&head(name, kind, help));
    for report in reports {
        if let Report::Mounted(status) = report {
            for (kind, count) in &status.requests {
                let place = labels(&status.mountpoint, &status.store);
                text.push_str(&format!("ckptfs_{name}{{{place},kind=\"{kind}\"}} {count}\n"));
            }
        }
    }
    text
}

fn head(name: &str, kind: &str, help: &str) -> String {
    format!("# HELP ckptfs_{name} {help}\n# TYPE ckptfs_{name} {kind}\n")
}

fn sample(name: &str, mountpoint: &str, store: &str, value: f64) -> String {
    format!("ckptfs_{name}{{{}}} {value}\n", labels(mountpoint, store))
}

fn labels(mountpoint: &str, store: &str) -> String {
    format!("mountpoint=\"{}\",store=\"{}\"", escaped(mountpoint), escaped(store))
}

/// As the text of a label is written.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mount_has_a_sample_of_every_metric_and_a_dead_one_is_down() {
        let status = Status {
            mountpoint: "/m/\"a\"".into(),
            store: "/s".into(),
            reencoding: Reencoding::Working,
            reencoded_saved_bytes: -5,
            logical_bytes: 5_000_000_000_123,
            requests: [("read".to_owned(), 7)].into(),
            ..Status::default()
        };
        let dead = Report::Dead { mountpoint: "/m/b".into(), store: None };
        let text = render(&[Report::Mounted(Box::new(status)), dead]);
        let labels = "{mountpoint=\"/m/\\\"a\\\"\",store=\"/s\"}";
        for line in [
            format!("ckptfs_up{labels} 1"),
            "ckptfs_up{mountpoint=\"/m/b\",store=\"\"} 0".into(),
            format!("ckptfs_reencoding{labels} 1"),
            "ckptfs_requests_total{mountpoint=\"/m/\\\"a\\\"\",store=\"/s\",kind=\"read\"} 7".into(),
            format!("ckptfs_reencoded_saved_bytes{labels} -5"),
            format!("ckptfs_logical_bytes{labels} 5000000000123"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        for (name, kind, ..) in METRICS {
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
            assert_eq!(text.matches(&format!("ckptfs_{name}{{")).count(), 1, "{name}");
        }
    }
}
