//! `ckptfs mount`: everything is judged first, then the daemon is run here or launched into the background.
//!
//! Order: options, dead mounts, the store's holder, the mountpoint, the machine, the store's folder; only then a daemon.
//! The background daemon is this program again and judges again, so nothing that changed in between is missed.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::progress::Progress;
use super::service::{Manager, Opening};
use super::{Daemon, background, daemon, locate, options, preflight};
use crate::base::machine::Machine;
use crate::engine::layout::Layout;
use crate::engine::lock;
use crate::options::MountOptions;

/// What is mounted where and how; paths are absolute and resolved.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    pub(super) mountpoint: PathBuf,
    pub(super) options: MountOptions,
}

pub(super) fn command() -> Command {
    Command::new("mount")
        .about("Mount a store, making it if it is not there")
        .long_about(
            "Mount a store, making it if it is not there.\n\nSTORE is the folder that keeps everything; MOUNTPOINT is an empty \
             directory where the files appear. The command returns once the mount is usable and leaves a daemon behind, \
             which writes its messages to STORE/ckptfs.log; with --foreground it stays and writes them to stderr. A \
             mountpoint that a killed daemon left dead is cleaned first.\n\nSIGTERM and SIGINT make a \
             version of what is new, make everything durable and end the daemon within 10 s; what is not done of sealing \
             and of versions by then is done after the next mount. Ordinary users need \
             fusermount3 (package fuse3). Passthrough, where the kernel writes hot files without the daemon, needs Linux \
             6.9 and CAP_SYS_ADMIN; `ckptfs status` says whether it is on.\n\nAn option can be given as a flag, in -o, or \
             in STORE/config.toml as `name = \"value\"`; a flag goes before -o, and -o before the file. Sizes are \
             written like 16GiB, times like 2s.\n\nExamples:\n  ckptfs mount /data/store /mnt/runs\n  ckptfs mount /data/store /mnt/runs \
             --hot /nvme/hot -o allow_other,settle=5s\n  In /etc/fstab (see docs/host.md):\n  /data/store /mnt/runs fuse.ckptfs allow_other,nofail 0 0\n  In a container:\n  \
             docker run --device /dev/fuse --cap-add SYS_ADMIN ...",
        )
        .arg(Arg::new("store").value_name("STORE").required(true).value_parser(clap::value_parser!(PathBuf)).help("The store's folder"))
        .arg(Arg::new("mountpoint").value_name("MOUNTPOINT").required(true).value_parser(clap::value_parser!(PathBuf)).help("An empty directory"))
        .arg(
            Arg::new("foreground")
                .short('f')
                .long("foreground")
                .action(ArgAction::SetTrue)
                .help("Stay, and write messages to stderr"),
        )
        .arg(
            Arg::new("mkdir")
                .long("mkdir")
                .action(ArgAction::SetTrue)
                .help("Make MOUNTPOINT if it is not there, after a dead mount on it was cleaned. While nothing is mounted, only its owner may look into it"),
        )
        .arg(Arg::new("detached").long("detached").action(ArgAction::SetTrue).hide(true))
        .args(options::args())
}

pub(super) fn run(matches: &ArgMatches, args: &[OsString], daemon: &dyn Daemon) -> Outcome {
    if matches.get_flag("detached") {
        return background::serve(|| plan(matches), daemon);
    }
    let plan = plan(matches)?;
    if matches.get_flag("foreground") {
        let (progress, manager) = (Progress::patient(), Arc::new(Manager::here()));
        let ready = || {
            progress.finish();
            Ok(())
        };
        let opening = Opening::new(&manager, &progress);
        return Ok(daemon::serve(&plan, daemon, &opening, manager.clone(), ready)?);
    }
    background::launch(&plan, args)
}

/// Does what `ckptfs mount STORE MOUNTPOINT -o OPTIONS` does.
pub(super) fn start(store: &Path, mountpoint: &Path, options: &str) -> Outcome {
    let args = words(store, mountpoint, options);
    background::launch(&plan(&parsed(&args)?)?, &args)
}

/// Judges the options and the two places as [`start`] would, and changes nothing.
pub(super) fn rehearse(store: &Path, mountpoint: &Path, options: &str) -> Outcome {
    let plan = read(&parsed(&words(store, mountpoint, options))?)?;
    lock::refuse_mounted(&plan.layout.lock())?;
    judge(&plan)?;
    Ok(plan.layout.read_format().map(drop)?)
}

/// The words of a command line: a path may begin with a dash.
fn words(store: &Path, mountpoint: &Path, options: &str) -> [OsString; 7] {
    let words: [&OsStr; 7] = [
        "ckptfs".as_ref(),
        "mount".as_ref(),
        "-o".as_ref(),
        options.as_ref(),
        "--".as_ref(),
        store.as_ref(),
        mountpoint.as_ref(),
    ];
    words.map(OsStr::to_owned)
}

fn parsed(args: &[OsString]) -> Outcome<ArgMatches> {
    command().try_get_matches_from(args.iter().skip(1)).map_err(|error| Failure::from_clap(&error))
}

fn plan(matches: &ArgMatches) -> Outcome<Plan> {
    let plan = read(matches)?;
    preflight::clean_dead(&plan.mountpoint)?;
    lock::refuse_mounted(&plan.layout.lock())?;
    if matches.get_flag("mkdir") {
        preflight::make_mountpoint(&plan.mountpoint)?;
    }
    judge(&plan)?;
    plan.layout.prepare()?;
    Ok(plan)
}

/// What was asked for, not judged yet.
fn read(matches: &ArgMatches) -> Outcome<Plan> {
    let store = locate::resolve(path(matches, "store")?);
    let mountpoint = locate::resolve(path(matches, "mountpoint")?);
    preflight::store(&store)?;
    let layout = Layout::new(&store);
    let options = options::gather(matches, &layout.config())?;
    Ok(Plan { layout, mountpoint, options })
}

/// Whether this machine can mount it there.
fn judge(Plan { layout, mountpoint, options }: &Plan) -> Outcome {
    let store = layout.root();
    preflight::mountpoint(mountpoint, store, options.nonempty)?;
    preflight::hot_folder(&locate::resolve(&options.hot_folder(store)), mountpoint)?;
    Ok(preflight::machine(&Machine::here(), &preflight::Places::here(), options)?)
}

fn path<'a>(matches: &'a ArgMatches, name: &str) -> Outcome<&'a PathBuf> {
    matches.get_one(name).ok_or_else(|| {
        Failure::Usage(format!("{} is missing; see: ckptfs mount --help", name.to_uppercase()))
    })
}
