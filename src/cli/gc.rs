//! `ckptfs gc`: give back the space of what nothing needs any more.
//!
//! A mounted store is asked over its socket and goes on serving; an unmounted one is locked, opened, cleaned and closed.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::locate::{self, Located};
use super::progress::Progress;
use super::{Daemon, print};
use crate::control::client::Client;
use crate::engine::layout::Layout;
use crate::engine::reclaim::Reclaimed;
use crate::options::MountOptions;

const LONG: &str = "\
Give back the space of expired versions and deleted files now.

PATH is a mountpoint, anything inside it, or a store; it may be left out while there is one mount. A mounted store goes \
on serving meanwhile. The daemon does the same by itself, slowly and out of the way of training, soon after versions \
have expired; this command does it at once and as thoroughly as pays. Versions that were removed by hand stay \
restorable until their undelete_ttl is over. An unmounted store is opened for it, as a mount would, so give --hot if \
its mounts do. Whatever is damaged is left where it is, and said (exit code 3).";

const AFTER: &str = "\
JSON fields (stable; byte counts in bytes):
  dry_run                    nothing was changed, the rest is what would be done
  versions, runs             expired versions and deleted runs whose records went
  packs_deleted              packs that held nothing in use
  packs_rewritten            packs of which what is in use was copied
  bytes_freed, bytes_written packs that went, and packs that were written
  damaged                    damaged places that keep their packs from being reclaimed

Examples:
  ckptfs gc /mnt/runs
  ckptfs gc /data/store --dry-run
  ckptfs gc --json | jq '.bytes_freed - .bytes_written'";

pub(super) fn command() -> Command {
    Command::new("gc")
        .about("Give back the space of expired versions and deleted files now")
        .long_about(LONG)
        .after_long_help(AFTER)
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .value_parser(clap::value_parser!(PathBuf))
                .help("A mountpoint, a path in it, or a store"),
        )
        .arg(
            Arg::new("dry-run")
                .long("dry-run")
                .action(ArgAction::SetTrue)
                .help("Only tell what would be done"),
        )
        .arg(
            Arg::new("hot")
                .long("hot")
                .value_name("DIR")
                .help("The folder of hot files of an unmounted store, if not hot/ in it"),
        )
        .arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON: one object"))
}

/// The result as JSON.
#[derive(Serialize)]
struct Json {
    dry_run: bool,
    #[serde(flatten)]
    done: Reclaimed,
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let dry_run = matches.get_flag("dry-run");
    let located = match matches.get_one::<PathBuf>("path") {
        Some(path) => locate::find(path)?,
        None => the_only_mount(locate::all()?)?,
    };
    let hot = matches.get_one::<String>("hot").map(String::as_str);
    let done = reclaim(&located, dry_run, hot, daemon)?;
    let text = if matches.get_flag("json") {
        serde_json::to_string(&Json { dry_run, done })
            .map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))?
    } else {
        sentence(&done, dry_run)
    };
    print(&(text + "\n"))?;
    if done.damaged > 0 {
        return Err(Failure::Found(format!(
            "{} damaged places keep their packs from being reclaimed; see last_errors in: ckptfs status",
            done.damaged
        )));
    }
    Ok(())
}

fn the_only_mount(mut mounts: Vec<Located>) -> Outcome<Located> {
    match (mounts.pop(), mounts.is_empty()) {
        (Some(mount), true) => Ok(mount),
        (Some(_), false) => Err(Failure::Usage("several stores are mounted; give a PATH".into())),
        (None, _) => Err(Failure::Usage("nothing is mounted; give the PATH of a store".into())),
    }
}

fn reclaim(located: &Located, dry_run: bool, hot: Option<&str>, daemon: &dyn Daemon) -> Outcome<Reclaimed> {
    let Some(store) = &located.store else {
        return Err(Failure::Failed("the mount does not tell where its store is; give the store".into()));
    };
    let progress = Progress::new();
    let done = match (Client::connect(store)?, &located.mount) {
        (Some(mut client), _) => client.reclaim(dry_run, &progress),
        (None, Some(mount)) if !mount.is_dead() => {
            return Err(Failure::Failed(format!(
                "{} has no control socket to ask; unmount it first",
                mount.mountpoint.display()
            )));
        }
        (None, _) => daemon.reclaim(&options(store, hot)?, store, dry_run, &progress),
    };
    progress.finish();
    Ok(done?)
}

/// What the store's own file of options says, and the command line.
fn options(store: &Path, hot: Option<&str>) -> Outcome<MountOptions> {
    let mut options = MountOptions::default();
    options.apply_file(&Layout::new(store).config())?;
    if let Some(hot) = hot {
        options.set("hot", Some(hot), "the command line")?;
    }
    Ok(options)
}

fn sentence(done: &Reclaimed, dry_run: bool) -> String {
    let net = ByteSize(done.bytes_freed.saturating_sub(done.bytes_written)).display().iec();
    let begin = if dry_run { "would give back" } else { "gave back" };
    format!(
        "{begin} {net}: {} versions and {} deleted runs gone, {} packs deleted, {} rewritten",
        done.versions, done.runs, done.packs_deleted, done.packs_rewritten
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_json_field_and_a_person_reads_one_line() {
        let done =
            Reclaimed { versions: 3, bytes_freed: 3 << 30, bytes_written: 1 << 30, ..Default::default() };
        let json = serde_json::to_value(Json { dry_run: true, done }).unwrap();
        for name in json.as_object().unwrap().keys() {
            assert!(AFTER.contains(name), "{name}");
        }
        assert!(sentence(&done, false).starts_with("gave back 2.0 GiB: 3 versions"));
        assert!(sentence(&done, true).starts_with("would give back"));
    }

    #[test]
    fn without_a_path_there_must_be_one_mount() {
        let one = || Located { mount: None, store: Some("/s".into()) };
        assert!(the_only_mount(vec![one()]).is_ok());
        assert!(the_only_mount(Vec::new()).is_err() && the_only_mount(vec![one(), one()]).is_err());
    }
}
