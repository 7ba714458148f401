//! `ckptfs bench`: what a mount costs and saves on this disk, measured against a native folder of the same disk.
//!
//! Order: what can be known to be wrong, the scratch folder, the size, the rows; then the scratch folder goes, whatever came
//! of the rows, and only then the result is printed.

mod data;
mod measure;
mod mounted;
mod scratch;
mod show;
mod size;
mod stop;
mod turns;
mod what;
mod work;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytesize::ByteSize;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::progress::Progress;
use super::{history, locate, preflight, print, tell};
use crate::base::machine::Machine;
use crate::base::{IoContext, mounts};
use crate::control::status::PassthroughStatus;
use crate::options::MountOptions;
use data::Weights;
use measure::Bench;
use scratch::Scratch;
use show::{How, Report};
use size::Free;
use stop::Stop;
use turns::Figures;

const ROUNDS: &str = "3";
const ROUNDS_MAX: u64 = 100;

const ABOUT: &str = "\
Measure what a mount costs and saves on a disk, against a plain folder of the same disk, in about a minute.

PATH is a folder of the disk. Below it a folder is made, with a native folder, a throw-away store and its mounts, and is \
removed at the end, also after Ctrl-C; nothing else in PATH is touched. What a killed run has left there is named by the \
next, and removed with --clean. Of the machine, nothing is changed; run it when nothing else works on the disk.

Sides: native is the plain folder; passthrough is a mount whose files the kernel writes by itself while they are hot; daemon is a mount \
without that (passthrough=off), which is what ordinary users and kernels before Linux 6.9 have. The sides take turns, after \
one turn that does not count. MEDIAN, LEAST and MOST are of all rounds; OF NATIVE is the median as a part of native's: 0.95 of \
a speed is 5 % slower, 2.00 of a time is twice as long.

What is saved looks like the fp32 weights of a model, and no save has a byte range that the store knows: deduplication and \
deltas of later versions, which save most in a training, are not in the figures (see: ckptfs stats). How large the saves are is chosen from \
the speed of the disk, free space and free memory.

  save                    open, write 1 MiB at a time, close: into the page cache, as most scripts
  save + fsync            the same with an fsync before the close: the disk's own speed
  save during sealing     begins while the save before is being sealed (native: a save alone)
  4 savers at once        four files of a quarter each, from four threads
  read, page-cached       a file that was just saved
  read, cold              a sealed file by a new daemon, native the plain one; in no page cache,
                          but a cache in the disk or below a virtual machine may answer
  first byte, cold        of the same read, from before the open
  small files             create, write 4 KiB, close, unlink; so many a second
  close to sealed         until a save is in packs; the quiet time (option settle) comes on top
  sealing                 the same as a speed
  stored of a byte saved  bytes of packs for each byte of a save
  daemon's peak memory    resident, its cache of chunks (option cache) included";

const JSON_HELP: &str = "\
JSON fields (stable):
  version, kernel, cores     the program and the machine
  path, filesystem, device   PATH, and what is mounted there
  passthrough.on, .why       whether there is a side with passthrough, and why or why not
  size_bytes, rounds         of a save; turns of each side that count
  seconds                    what all of it took
  rows[]                     a row on one side
   .what                     save, save_fsync, save_while_sealing, savers_4, read_hot, read_cold,
                             first_byte, small_files, seal, seal_rate, stored, peak_memory
   .side                     native, passthrough, daemon
   .unit                     bytes/s, 1/s, s, bytes, bytes/byte
   .median, .least, .most    of all rounds
   .of_native                the median as a part of native's, or null

Examples:
  ckptfs bench /data
  ckptfs bench /data --size 4GiB --rounds 5
  ckptfs bench /data --json | jq '.rows[] | select(.what == \"save\")'
  ckptfs bench /data --clean";

pub(super) fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("bench")
        .about("Measure what a mount costs and saves on a disk, against a plain folder")
        .long_about(ABOUT)
        .after_long_help(JSON_HELP)
        .arg(
            Arg::new("path")
                .value_name("PATH")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("A folder of the disk"),
        )
        .arg(
            Arg::new("size")
                .long("size")
                .value_name("SIZE")
                .value_parser(clap::value_parser!(ByteSize))
                .help("Bytes of a save, for example 1GiB, instead of what fits into a minute"),
        )
        .arg(
            Arg::new("rounds")
                .long("rounds")
                .value_name("N")
                .default_value(ROUNDS)
                .value_parser(clap::value_parser!(u64).range(1..=ROUNDS_MAX))
                .help("Turns of each side that count"),
        )
        .arg(
            flag("clean", "Measure nothing; remove what killed runs have left in PATH")
                .conflicts_with_all(["size", "rounds", "json"]),
        )
        .arg(flag("json", "Print JSON, in one line"))
}

pub(super) fn run(matches: &ArgMatches) -> Outcome {
    let given: &PathBuf = matches.get_one("path").ok_or_else(|| Failure::Usage("PATH is missing".into()))?;
    let path = folder(given)?;
    let left = scratch::leftovers(&path)?;
    if matches.get_flag("clean") {
        return clean(&left);
    }
    let asked = asked_size(matches)?;
    let rounds = matches.get_one::<u64>("rounds").map_or(1, |rounds| *rounds as usize);
    preflight::machine(&Machine::here(), &preflight::Places::here(), &MountOptions::default())?;
    for folder in &left {
        tell(&format!(
            "{} was left by a run that was killed; remove it with: ckptfs bench --clean {}",
            folder.display(),
            path.display()
        ));
    }
    Free::here(&path).refuse_less_than(asked, &path)?;
    let report = measure(&path, asked, rounds)?;
    if matches.get_flag("json") { history::print_json(&report) } else { print(&report.render()) }
}

/// PATH, resolved: a folder of a disk.
fn folder(given: &Path) -> Outcome<PathBuf> {
    let (path, at) = (locate::resolve(given), given.display());
    if !fs::metadata(&path).context("look at", given)?.is_dir() {
        return Err(Failure::Failed(format!(
            "{at} is not a directory; name a folder of the disk to measure"
        )));
    }
    let table = mounts::table()?;
    match mounts::covering(&table, &path) {
        Some(mount) if mount.is_ours() => Err(Failure::Failed(format!(
            "{at} is in a ckptfs mount; name a folder of the disk that its store is on, for example beside {}",
            mount.source.display()
        ))),
        _ => Ok(path),
    }
}

fn asked_size(matches: &ArgMatches) -> Outcome<Option<u64>> {
    match matches.get_one::<ByteSize>("size").map(ByteSize::as_u64) {
        Some(size) if size < size::ASKED_LEAST => {
            Err(Failure::Usage("--size is too small to be measured; give at least 4MiB".into()))
        }
        size => Ok(size),
    }
}

fn clean(left: &[PathBuf]) -> Outcome {
    for folder in left {
        scratch::remove(folder)?;
        print(&format!("removed {}\n", folder.display()))?;
    }
    if left.is_empty() { print("nothing was left by a killed run\n") } else { Ok(()) }
}

/// Measures in a scratch folder below `path`, which is gone afterwards.
fn measure(path: &Path, asked: Option<u64>, rounds: usize) -> Outcome<Report> {
    let (begun, stop) = (Instant::now(), Stop::watch()?);
    let scratch = Scratch::make(path)?;
    let progress = Progress::new();
    let measured = measure_in(scratch.folder(), asked, rounds, &stop, &progress);
    progress.finish();
    let folder = scratch.folder().to_owned();
    // What a signal has broken off is no failure of its own.
    let measured = measured.or_else(|failure| stop.check().and(Err(failure)));
    match (scratch.remove(), measured) {
        (Err(left), measured) => {
            let why = measured.err().map_or(String::new(), |failure| format!("{failure}; "));
            Err(Failure::Failed(format!("{why}{} is left: {left}", folder.display())))
        }
        (Ok(()), Err(failure)) => Err(failure),
        (Ok(()), Ok((figures, passthrough, size))) => {
            let how = How { path, passthrough, size, rounds, seconds: begun.elapsed().as_secs_f64() };
            Report::new(how, &figures)
        }
    }
}

/// The figures, whether there was passthrough, and the bytes of a save.
type Measured = (Figures, PassthroughStatus, u64);

fn measure_in(
    folder: &Path,
    asked: Option<u64>,
    rounds: usize,
    stop: &Stop,
    progress: &Progress,
) -> Outcome<Measured> {
    let size = match asked {
        Some(size) => size,
        None => Free::here(folder).choose(size::try_disk(folder, stop)?, rounds),
    };
    let len = usize::try_from(size).map_err(|_| Failure::Usage("--size is too large".into()))?;
    let (data, figures) = (Weights::new(len), Figures::default());
    let mut bench = Bench { folder, data, rounds, stop, progress, figures };
    let passthrough = bench.run()?;
    Ok((bench.figures, passthrough, size))
}
