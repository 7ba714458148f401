//! What the commands on history have in common: the arguments that name a run and a version, and asking.
//!
//! Order: PATH is resolved without touching the mount, the store is found, a running daemon is asked; where there is none
//! the store is opened here, under its lock, for one command.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::{Daemon, locate, print};
use crate::base::monitor::{Monitor, Silent};
use crate::base::mounts::Mount;
use crate::base::{Error, IoContext};
use crate::command::{Answer, COMMAND_BYTES_MAX, Command, Export, Exported, Target};
use crate::control::client::Client;
use crate::engine::history::export::Sink;
use crate::engine::layout::Layout;
use crate::options::MountOptions;
use crate::version::record::path_text;

/// What every command on history says of its PATH.
pub(super) const PATH_HELP: &str = "PATH is a path in a mount, which means the run at it or the innermost above it, or a \
    store, where --run names the run by its path below the mount (a store with one run needs none). It works on a store \
    that is mounted, that is not, and whose daemon was killed.";

/// What every command on one version says of its VERSION.
pub(super) const VERSION_HELP: &str = "VERSION is a number (42 or 000042), latest (the newest complete and valid one), \
    newest, best (by the policy's monitor), a tag, or a path such as exp/.snapshots/000042.";

/// What commands on what is in a version say of its parts.
pub(super) const PART_HELP: &str = "A PATH below the run's directory means only what is at it and below it, as does a \
    VERSION that is a path; --only names paths below that.";

/// `--only`, as often as wanted.
pub(super) fn only_arg() -> Arg {
    Arg::new("only")
        .long("only")
        .value_name("PATH")
        .action(ArgAction::Append)
        .value_parser(clap::value_parser!(PathBuf))
        .help("Only this path in the version, and what is below it; may be given several times")
}

/// What `--only` names.
pub(super) fn only(matches: &ArgMatches) -> Vec<String> {
    let given = matches.get_many::<PathBuf>("only").unwrap_or_default();
    given.map(|path| path_text(path.as_os_str().as_bytes())).collect()
}

/// `[PATH]`, `.` by default.
pub(super) fn path_arg() -> Arg {
    Arg::new("path")
        .value_name("PATH")
        .default_value(".")
        .value_parser(clap::value_parser!(PathBuf))
        .help("A path in a mount, or a store")
}

/// `--run` and `--json`.
pub(super) fn common_args() -> [Arg; 2] {
    [
        Arg::new("run")
            .long("run")
            .value_name("RUN")
            .help("The run, by its path below the mount; / is the root"),
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("Print JSON, in one line"),
    ]
}

/// `VERSION`.
pub(super) fn version_arg() -> Arg {
    Arg::new("version").value_name("VERSION").required(true).help("Which version")
}

/// The store that a command is for, and the run that is meant.
pub(super) struct Place {
    pub(super) store: PathBuf,
    pub(super) target: Target,
}

/// What PATH and `--run` mean.
pub(super) fn place(matches: &ArgMatches) -> Outcome<Place> {
    let path: &PathBuf = matches.get_one("path").ok_or_else(|| Failure::Usage("PATH is missing".into()))?;
    let run = matches.try_get_one::<String>("run").ok().flatten();
    at(path, run.map(String::as_str))
}

/// What PATH and VERSION mean: a VERSION that is a path names the run too.
pub(super) fn version(matches: &ArgMatches) -> Outcome<(Place, Option<String>)> {
    version_of(matches, "version")
}

/// The same for a VERSION that is the argument `name`.
pub(super) fn version_of(matches: &ArgMatches, name: &str) -> Outcome<(Place, Option<String>)> {
    let version: &String =
        matches.get_one(name).ok_or_else(|| Failure::Usage("VERSION is missing".into()))?;
    if !version.contains('/') {
        return Ok((place(matches)?, Some(version.clone())));
    }
    let place = at(Path::new(version), None)?;
    match place.target {
        Target::Path(_) => Ok((place, None)),
        _ => Err(Failure::Usage(format!(
            "'{version}' is not a path in a mount; give the number of the version, and the store as PATH"
        ))),
    }
}

fn at(path: &Path, run: Option<&str>) -> Outcome<Place> {
    let full = locate::resolve(path);
    let found = locate::find(&full)?;
    let store = found.store.ok_or_else(|| {
        Failure::Failed(format!(
            "the mount of {} does not tell where its store is; name the store",
            path.display()
        ))
    })?;
    let inside = found.mount.as_ref().and_then(|mount| below(mount, &full));
    let target = match (run, inside) {
        (Some(run), _) => Target::Run(run.to_owned()),
        (None, Some(path)) => Target::Path(path),
        (None, None) => Target::Only,
    };
    Ok(Place { store, target })
}

/// The path of `full` below the root of the filesystem that `mount` shows, or a part of it.
fn below(mount: &Mount, full: &Path) -> Option<String> {
    let path = full.strip_prefix(&mount.mountpoint).ok()?;
    let root = mount.root.strip_prefix("/").unwrap_or(&mount.root);
    Some(path_text(root.join(path).as_os_str().as_bytes()))
}

impl Place {
    /// The path below the mount of something in a mount of this store; `None` for anything else.
    pub(super) fn inside(&self, path: &Path) -> Outcome<Option<String>> {
        let full = locate::resolve(path);
        // What is in no mount and no store is outside, and no error here.
        let Some(found) = locate::find(&full).ok().filter(|found| found.store.as_ref() == Some(&self.store))
        else {
            return Ok(None);
        };
        Ok(found.mount.as_ref().and_then(|mount| below(mount, &full)))
    }

    /// The path below the mount of a directory that is to be made: in the mount, or, where a store was named, as it is given.
    pub(super) fn new_path(&self, path: &Path) -> Outcome<String> {
        match self.inside(path)? {
            Some(path) => Ok(path),
            None if path.is_relative() && !matches!(self.target, Target::Path(_)) => {
                Ok(path_text(path.as_os_str().as_bytes()))
            }
            None => Err(Failure::Failed(format!(
                "{} is not in the mount of {}; name a path there",
                path.display(),
                self.store.display()
            ))),
        }
    }

    /// Asks the store's daemon, or the store itself.
    pub(super) fn ask(&self, command: Command, daemon: &dyn Daemon) -> Outcome<Answer> {
        self.ask_with(command, daemon, &Silent)
    }

    /// The same for a command that may take long.
    pub(super) fn ask_with(
        &self,
        command: Command,
        daemon: &dyn Daemon,
        progress: &dyn Monitor,
    ) -> Outcome<Answer> {
        let len = serde_json::to_vec(&command).map_or(usize::MAX, |bytes| bytes.len());
        if len > COMMAND_BYTES_MAX {
            return Err(Failure::Usage("what is asked is too long; shorten the paths or values".into()));
        }
        if let Some(mut client) = Client::connect(&self.store)? {
            return client.execute(command, progress).map_err(busy);
        }
        // A damaged file of settings is among what a check finds.
        let salvage = matches!(command, Command::Check { .. });
        Ok(daemon.execute(&self.options(salvage)?, &self.store, command, progress)?)
    }

    /// Hands a version from the store's daemon, or from the store itself, to `sink`.
    pub(super) fn export(
        &self,
        export: &Export,
        sink: &mut dyn Sink,
        daemon: &dyn Daemon,
        progress: &dyn Monitor,
    ) -> Outcome<Exported> {
        if let Some(mut client) = Client::connect(&self.store)? {
            return client.export(export, sink).map_err(busy);
        }
        Ok(daemon.export(&self.options(false)?, &self.store, export, sink, progress)?)
    }

    /// The options of a store that nobody holds, for one command by its owner; with `salvage` what can be read of them.
    fn options(&self, salvage: bool) -> Outcome<MountOptions> {
        self.refuse_stranger()?;
        let mut options = MountOptions::default();
        let config = Layout::new(&self.store).config();
        if salvage { options.apply_salvaged(&config) } else { options.apply_file(&config) }?;
        options.check()?;
        Ok(options)
    }
}

fn busy(error: Error) -> Failure {
    match error {
        Error::Errno(libc::EBUSY) => {
            Failure::Failed("the daemon answers too many others; try again in a moment".into())
        }
        other => other.into(),
    }
}

impl Place {
    /// Files that root made in the store of somebody else would shut its owner out of it.
    fn refuse_stranger(&self) -> Outcome {
        // Of a store that has lost this file the folder's owner counts.
        let format = std::fs::metadata(Layout::new(&self.store).format());
        let owner = format.or_else(|_| std::fs::metadata(&self.store)).context("look at", &self.store)?.uid();
        if owner == rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        Err(Failure::Failed(format!(
            "the store {} belongs to the user with number {owner} and is not mounted; give the command as that user: sudo \
             -u '#{owner}' ckptfs ...",
            self.store.display()
        )))
    }
}

/// `--file`, which may be given often.
pub(super) fn file_arg() -> Arg {
    Arg::new("file")
        .long("file")
        .short('f')
        .value_name("FILE")
        .action(ArgAction::Append)
        .help("Only this file or folder, by its path below the run; may be given often")
}

/// What `--file` says.
pub(super) fn files(matches: &ArgMatches) -> Vec<String> {
    matches.get_many::<String>("file").into_iter().flatten().cloned().collect()
}

/// Prints `value` as JSON in one line.
pub(super) fn print_json(value: &impl Serialize) -> Outcome {
    let text = serde_json::to_string(value);
    print(&(text.map_err(|error| Failure::Failed(format!("cannot write JSON: {error}")))? + "\n"))
}

/// An answer to another question: the daemon is another version of this program.
pub(super) fn odd() -> Failure {
    Failure::Failed(
        "the daemon gave another answer than was asked for; is it another version of ckptfs?".into(),
    )
}

/// ` PATH` as it was given, for a command that a message proposes; nothing for the default.
pub(super) fn given_path(matches: &ArgMatches) -> String {
    let path = matches.get_one::<PathBuf>("path").map(|path| path.as_os_str());
    let run = matches.try_get_one::<String>("run").ok().flatten();
    let path =
        path.filter(|path| *path != OsStr::new(".")).map(|path| format!(" {}", path.to_string_lossy()));
    path.unwrap_or_default() + &run.map(|run| format!(" --run {run}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_mount_of_a_part_is_told_from_the_whole() {
        let mount = |root: &str| Mount {
            mountpoint: "/mnt/x".into(),
            fs_type: "fuse.ckptfs".into(),
            source: "/s".into(),
            root: root.into(),
            device: "0:50".into(),
        };
        assert_eq!(below(&mount("/"), Path::new("/mnt/x/a/b")).as_deref(), Some("a/b"));
        assert_eq!(below(&mount("/"), Path::new("/mnt/x")).as_deref(), Some(""));
        assert_eq!(below(&mount("/exp/1"), Path::new("/mnt/x/a")).as_deref(), Some("exp/1/a"));
        assert_eq!(below(&mount("/"), Path::new("/srv")), None);
    }
}
