//! `ckptfs status`: what a daemon says of itself, or what can be known of a store without one.
//!
//! Nothing here opens or changes a store: a running daemon is asked, and of an unmounted store only names, sizes and the
//! lock are looked at. The JSON names are stable.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::locate::{self, Located};
use super::{print, print_raw, prometheus, table};
use crate::base::machine;
use crate::control::Status;
use crate::control::client::Client;
use crate::control::status::path_text;
use crate::engine::layout::{FORMAT, Layout};
use crate::engine::lock::{self, Holder};

/// Folders in folders that are counted.
const DEPTH_MAX: u32 = 4;
const REDRAW: Duration = Duration::from_secs(1);

/// What is known of one mount or store.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum Report {
    /// Its daemon answered.
    Mounted(Box<Status>),
    /// Mounted, but its daemon did not answer.
    Unreachable { mountpoint: String, store: Option<String>, why: String },
    /// Its daemon was killed.
    Dead { mountpoint: String, store: Option<String> },
    /// A store without a mount.
    Unmounted(Unmounted),
}

/// What can be known of a store without its daemon.
#[derive(Debug, Serialize)]
pub(super) struct Unmounted {
    pub(super) store: String,
    pub(super) format: u32,
    pub(super) id: String,
    pub(super) stored_bytes: u64,
    pub(super) hot_files: u64,
    pub(super) hot_bytes: u64,
    pub(super) free_bytes: u64,
    /// Who holds it without a mount that is seen here: another host, or a daemon that starts or ends.
    pub(super) holder: Option<Holder>,
}

pub(super) fn command() -> Command {
    Command::new("status")
        .about("Show health, sealing, sizes and passthrough of one or all mounts")
        .long_about(
            "Show health, sealing, sizes and passthrough of one or all mounts.\n\nPATH is a mountpoint, anything inside it, \
             or a store; without it, all ckptfs mounts of this machine are shown. Of a store that is not mounted, what \
             can be known without opening it is shown. Only the daemon's user and root are answered by a daemon.",
        )
        .after_long_help(format!(
            "{JSON_HELP}\n\nMetrics of --prometheus (stable; each with the labels mountpoint and store, ckptfs_requests_total with kind too):{}\n\n{EXAMPLES}",
            prometheus::help()
        ))
        .arg(Arg::new("path").value_name("PATH").value_parser(clap::value_parser!(PathBuf)).help("A mountpoint, a path in it, or a store"))
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON: an object for PATH, an array without it; one a line"))
        .arg(Arg::new("prometheus").long("prometheus").action(ArgAction::SetTrue).conflicts_with_all(["json", "watch"]).help("Print metrics as Prometheus reads them, for node_exporter's textfile collector"))
        .arg(Arg::new("check").long("check").action(ArgAction::SetTrue).conflicts_with_all(["json", "prometheus", "watch"]).help("Print nothing and succeed if it is mounted, its daemon answers and the store takes writes; else fail with one line that says why: for health checks. Without PATH, of all mounts, of which there must be one"))
        .arg(Arg::new("watch").long("watch").action(ArgAction::SetTrue).help("Print again every second, until interrupted"))
}

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  state                      mounted, unmounted, dead (the daemon was killed), unreachable
 of a mounted store
  version, pid, host, since  the daemon
  store, mountpoint          what is mounted where
  health                     \"ok\", or \"read-only: \" and why
  passthrough.on, .why       whether the kernel writes hot files itself, and why or why not
  requests.KIND              FUSE requests since the mount, by kind: lookup, open, read ...; one that
                             never came is missing
  sealing.queued_files, .queued_bytes, .in_progress, .lag_seconds
                             what waits to be sealed, and how long the oldest has waited
  sealing.bytes_per_second   what one thread seals in a second of work; null before the first
  sealing.sealed_files, .sealed_bytes
                             what was sealed since the mount
  reencoding                 working while older versions are being stored as what they differ in from
                             others, or are about to be; else idle
  reencoded_bytes, reencoded_saved_bytes
                             stored bytes that were encoded anew since the mount, and how many of
                             them that saved (below zero when what had lost its base became whole)
  scrub.since, .bytes, .damaged
                             the pass under way that looks for damage in packs (since is null between two)
  scrub.finished, .last_damaged
                             when the last whole pass ended, and the damaged places that it found
  hot_files, hot_bytes       hot files
  logical_bytes              all files as their readers see them
  stored_bytes, chunks       packs, and the different chunks in them
  history_bytes              packs that only history holds, as the last reclaim found it
  versions, versions_bytes   versions of all runs, and their files, each counted in every version that has it
  ratio                      sealed logical bytes to stored bytes; null while nothing is stored
  free_bytes                 left on the store's disk
  pressure.active, .since, .min_free
                             whether less than min_free bytes are left there, and since when
  pressure.versions, .freed_bytes, .what_it_did, .gave_up_because
                             what had to go for it since the mount, and why no more does
  last_errors[].time, .what  the newest errors, newest last
  advice[]                   what to do, most urgent first; empty when all is well
 of an unmounted store
  store, format, id, stored_bytes, hot_files, hot_bytes, free_bytes
  holder.host, .pid, .mountpoint, .since
                             who holds it elsewhere, or null
 of a dead or unreachable mount
  store, mountpoint, why     why only when unreachable";

const EXAMPLES: &str = "\
Examples:
  ckptfs status
  ckptfs status /mnt/runs --watch
  ckptfs status /mnt/runs --check || echo the mount needs somebody
  ckptfs status /mnt/runs --json | jq .sealing.lag_seconds
  ckptfs status --prometheus | sponge /var/lib/node_exporter/ckptfs.prom";

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let path = matches.get_one::<PathBuf>("path").map(PathBuf::as_path);
    let (json, watch) = (matches.get_flag("json"), matches.get_flag("watch"));
    if matches.get_flag("check") {
        return check(&reports(path)?);
    }
    if matches.get_flag("prometheus") {
        return print(&prometheus::render(&reports(path)?));
    }
    loop {
        let text = render(path, json)?;
        if !watch {
            return print(&text);
        }
        // Home and clear, so that a terminal shows one table; JSON stays one object a line.
        if !json {
            print_raw("\x1b[H\x1b[2J")?;
        }
        print(&text)?;
        thread::sleep(REDRAW);
    }
}

fn reports(path: Option<&Path>) -> Outcome<Vec<Report>> {
    let located = match path {
        Some(path) => vec![locate::find(path)?],
        None => locate::all()?,
    };
    located.into_iter().map(look).collect()
}

/// Fails with what is wrong with the first that is not well.
fn check(reports: &[Report]) -> Outcome {
    if reports.is_empty() {
        return Err(Failure::Failed("nothing is mounted here".into()));
    }
    reports.iter().find_map(illness).map_or(Ok(()), |why| Err(Failure::Failed(why)))
}

fn illness(report: &Report) -> Option<String> {
    match report {
        Report::Mounted(status) if status.health == "ok" => None,
        Report::Mounted(status) => Some(format!("{}: {}", status.mountpoint, status.health)),
        Report::Unreachable { mountpoint, why, .. } => Some(format!("{mountpoint} does not answer: {why}")),
        Report::Dead { mountpoint, .. } => {
            Some(format!("{mountpoint} is dead: its daemon was killed; mount the store again"))
        }
        Report::Unmounted(unmounted) => Some(format!("{} is not mounted", unmounted.store)),
    }
}

fn render(path: Option<&Path>, json: bool) -> Outcome<String> {
    let reports = reports(path)?;
    if !json {
        return Ok(table::render(&reports));
    }
    let text = match (path, reports.as_slice()) {
        (Some(_), [report]) => serde_json::to_string(report),
        _ => serde_json::to_string(&reports),
    };
    text.map(|text| text + "\n").map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))
}

fn look(located: Located) -> Outcome<Report> {
    let Located { mount, store } = located;
    let Some(mount) = mount else {
        let store = store.ok_or_else(|| {
            Failure::Failed("neither a mount nor a store; see: ckptfs status --help".into())
        })?;
        return unmounted(&store).map(Report::Unmounted);
    };
    let mountpoint = path_text(&mount.mountpoint);
    let name = store.as_deref().map(path_text);
    if mount.is_dead() {
        return Ok(Report::Dead { mountpoint, store: name });
    }
    let asked =
        store.as_deref().map(|store| Client::connect(store)?.map(|mut client| client.status()).transpose());
    let why = match asked {
        Some(Ok(Some(mut status))) => {
            status.advice.extend(other_version(&status));
            return Ok(Report::Mounted(Box::new(status)));
        }
        Some(Ok(None)) => "its control socket does not answer".to_owned(),
        Some(Err(error)) => error.to_string(),
        None => "the mount does not tell where its store is".to_owned(),
    };
    Ok(Report::Unreachable { mountpoint, store: name, why })
}

/// A daemon goes on through an upgrade of the program.
fn other_version(status: &Status) -> Option<String> {
    let (daemon, own) = (&status.version, env!("CARGO_PKG_VERSION"));
    (daemon != own).then(|| {
        format!(
            "the daemon is ckptfs {daemon}, and this program is {own}: when nobody saves, unmount {} and mount it again",
            status.mountpoint
        )
    })
}

fn unmounted(store: &Path) -> Outcome<Unmounted> {
    let layout = Layout::new(store);
    let Some(id) = layout.read_format()? else {
        return Err(Failure::Failed(format!(
            "{} is not a store; make one with: ckptfs mount",
            store.display()
        )));
    };
    let (_, stored_bytes) = usage(&layout.packs(), DEPTH_MAX);
    let (hot_files, hot_bytes) = usage(&layout.hot(), DEPTH_MAX);
    Ok(Unmounted {
        store: path_text(store),
        format: FORMAT,
        id: id.to_string(),
        stored_bytes,
        hot_files,
        hot_bytes,
        free_bytes: machine::free_bytes(store),
        holder: lock::held_by(&layout.lock())?.flatten(),
    })
}

/// Files and bytes below `folder`. What vanishes or cannot be read while it is counted is not counted.
fn usage(folder: &Path, depth: u32) -> (u64, u64) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.fold((0, 0), |(files, bytes), entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() && depth > 0 => {
            let (more_files, more_bytes) = usage(&entry.path(), depth - 1);
            (files + more_files, bytes + more_bytes)
        }
        Ok(meta) if meta.is_file() => (files + 1, bytes + meta.len()),
        _ => (files, bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::layout::Store;

    #[test]
    fn an_unmounted_store_shows_its_sizes_and_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let open = Store::open(&root, Path::new("/m")).unwrap();
        fs::create_dir(root.join("hot/1")).unwrap();
        fs::write(root.join("hot/1/a"), [0; 100]).unwrap();
        fs::write(root.join("packs/p"), [0; 7]).unwrap();
        let json: serde_json::Value = serde_json::from_str(&render(Some(&root), true).unwrap()).unwrap();
        assert_eq!(json["state"], "unmounted");
        assert_eq!((json["hot_files"].as_u64(), json["hot_bytes"].as_u64()), (Some(1), Some(100)));
        assert_eq!(
            (json["stored_bytes"].as_u64(), json["format"].as_u64()),
            (Some(7), Some(u64::from(FORMAT)))
        );
        assert_eq!(json["holder"]["pid"].as_u64(), Some(u64::from(std::process::id())));
        drop(open);
        let text = render(Some(&root.join("hot")), false).unwrap();
        assert!(text.contains("not mounted") && text.contains("100 B"), "{text}");
    }

    #[test]
    fn the_help_names_every_json_field_of_a_mounted_store() {
        let json = serde_json::to_value(Report::Mounted(Box::default())).unwrap();
        for (name, value) in json.as_object().unwrap() {
            assert!(JSON_HELP.contains(name), "{name}");
            for inner in value.as_object().into_iter().flat_map(|inner| inner.keys()) {
                assert!(JSON_HELP.contains(&format!(".{inner}")), "{name}.{inner}");
            }
        }
    }
}
