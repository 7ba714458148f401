//! `ckptfs unmount`: the daemon is asked to go, and the command returns when it has gone.
//!
//! Order: seal (with `--wait`), unmount, durable, lock free, process gone; only then 0. A dead daemon's mount is
//! taken away from outside.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::locate::{self, Located};
use super::progress::Progress;
use super::tell;
use crate::base::Error;
use crate::base::mounts::{self, Detach, Mount};
use crate::base::namespaces;
use crate::control::client::Client;
use crate::engine::layout::Layout;
use crate::engine::lock;

/// When, and how often, a person hears that a daemon is still ending, and why.
const FIRST_NOTE: Duration = Duration::from_secs(2);
const NOTE_EVERY: Duration = Duration::from_secs(10);

pub(super) fn command() -> Command {
    Command::new("unmount")
        .visible_alias("umount")
        .about("Unmount, and return when everything is durable and the daemon has ended")
        .long_about(
            "Unmount, and return when everything is durable and the daemon has ended.\n\nPATH is the mountpoint, anything \
             inside it, or the store. A version is made of what is new. What is not sealed yet stays in hot files, \
             is durable, and is sealed after the next mount, and so are versions that take longer than two seconds; \
             --wait does all of that first and shows the progress. A mount that is in use is left alone (EBUSY). A \
             mountpoint whose daemon was killed is cleaned; nothing that was saved is lost by that.\n\nExamples:\n  \
             ckptfs unmount /mnt/runs\n  ckptfs unmount --wait /data/store",
        )
        .arg(Arg::new("path").value_name("PATH").required(true).value_parser(clap::value_parser!(PathBuf)).help("The mountpoint, a path in it, or the store"))
        .arg(Arg::new("wait").long("wait").action(ArgAction::SetTrue).help("Make all versions and seal everything first"))
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let path: &PathBuf = matches.get_one("path").ok_or_else(|| Failure::Usage("PATH is missing".into()))?;
    let Located { mount, store } = locate::find(path)?;
    let Some(mount) = mount else {
        // A daemon may have the store all the same.
        store.map_or(Ok(()), |store| lock::refuse_held(&Layout::new(&store).lock()))?;
        return Err(Failure::Failed(format!("{} is not mounted; nothing to do", path.display())));
    };
    let wait = matches.get_flag("wait");
    if mount.is_dead() {
        mounts::unmount(&mount.mountpoint, Detach::Lazily)?;
        tell(&format!("the daemon of {} was dead; its mount is cleaned", mount.mountpoint.display()));
        return if wait {
            Err(Failure::Failed("nothing was sealed; mount the store again to seal it".into()))
        } else {
            Ok(())
        };
    }
    let client = match store.as_deref().map(Client::connect).transpose() {
        Err(error) if !wait => {
            // The store's disk does not answer any more: the mount need not stay for it.
            tell(&format!("{error}; unmounting without asking the daemon"));
            None
        }
        client => client?.flatten(),
    };
    match client {
        Some(client) => ask(client, &mount, wait),
        None if wait => Err(Failure::Failed(format!(
            "{} has no control socket to ask; leave --wait out",
            mount.mountpoint.display()
        ))),
        None => mounts::unmount(&mount.mountpoint, Detach::IfIdle)
            .map_err(|error| explain(error, &mount.mountpoint)),
    }
}

fn ask(mut client: Client, mount: &Mount, wait: bool) -> Outcome {
    let progress = Progress::new();
    let asked = client.unmount(wait, &progress);
    progress.finish();
    asked.map_err(|error| explain(error, &mount.mountpoint))?;
    let mut wait = FIRST_NOTE;
    while !client.wait_for_end(wait)? {
        tell(&why_it_lives(mount));
        wait = NOTE_EVERY;
    }
    Ok(())
}

/// What the daemon waits for, whose mount is gone from here.
fn why_it_lives(mount: &Mount) -> String {
    match namespaces::holders(|other| other.device == mount.device).as_slice() {
        [] => "unmounted; waiting for the daemon to make everything durable".into(),
        holders => format!("unmounted here; {}", namespaces::explain(holders)),
    }
}

fn explain(error: Error, mountpoint: &Path) -> Failure {
    let at = mountpoint.display();
    match error {
        Error::Errno(libc::EBUSY) => Failure::Failed(format!(
            "{at} is in use (EBUSY); find its users with: fuser -vm {at} (or lsof {at}), end them, and try again"
        )),
        error => error.into(),
    }
}
