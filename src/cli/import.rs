//! `ckptfs import`: existing checkpoint folders, each checkpoint as a version.
//!
//! This side looks through the folder, says which files are one checkpoint, and deletes; the daemon, or the store itself,
//! reads the files. It reads with the rights of the store's owner, which is whoever gives the command, or root; and it reads
//! only, while an export writes, so there is nothing that it could be tricked into.

mod source;

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::history::{self, Place};
use super::progress::Progress;
use super::rows::size;
use super::{Daemon, print, tell};
use crate::base::IoContext;
use crate::base::clock::Time;
use crate::command::{self, Answer, Imported, Target};
use crate::retention::{Candidate, Policy, plan};
use crate::version::chosen::Names;
use crate::version::import::{Checkpoint, Found, checkpoints};
use crate::version::names::{is_bare_step, looks_like_checkpoint};
use crate::version::record::path_text;

/// Names of members in one question, in bytes: as JSON they at most double.
const MEMBERS_BYTES_MAX: usize = 48 << 10;

const ABOUT: &str = "\
Take the checkpoints of a folder into a run, oldest first, each as a version.

Files and folders with a step or an epoch in their names are one checkpoint for each (step_100.pt, checkpoint-500/, \
ckpt-7.index and ckpt-7.data-*, epoch=3.ckpt); where names have only numbers, each number is one (model_1.pt, model_2.pt); a \
folder without any is one checkpoint. They come in the order of their steps, else of their times. Whatever belongs to none \
(logs, settings, pointers) comes with the first checkpoint that is not older than it, and checkpoint files without a number \
(last.ckpt) with the last. A version holds the run as it was then: its own checkpoint and all before it. Its time is that of \
the checkpoint's newest file.

In the end the run's directory holds what the folder holds, with the same names, times, modes, links and user attributes, \
so that the training can go on there. Bytes go straight into the store, compressed and deduplicated. Nothing that is in the \
run already is changed: a file with the same name and other size or time is a reason to refuse. Nothing is deleted from the \
folder but with --delete, which takes each checkpoint away once its version is durable.

When it is stopped or killed, the same command goes on where it was: what is in is not read again, and no version is made \
twice.

The retention policy holds for imported versions as for any other. If it would remove some of them, the command refuses \
until --yes says that this is meant (the files stay in the run's directory all the same), or --keep-all keeps every version of \
this run (max_to_keep=0).

DIR is the folder. PATH is the run's directory in a mount, made if it is not there, or a store, where --run names the run by \
its path below the mount. It works on a store that is mounted, that is not, and whose daemon was killed.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  run, source                the run's path below the mount, and the folder
  checkpoints[]              oldest first
   .name, .step              its first file or folder, and its step or null
   .version, .utc            the version that was made and its time, or null: it was in one already
   .files, .bytes            files that came in now, and their bytes
   .good, .why[]             whether the version is complete and valid, and why not
  files, bytes               sums
  skipped[]                  sockets and devices, which cannot be taken in
  deleted                    files that were deleted from the folder
  left[]                     with --delete: files that were not, and why

Examples:
  ckptfs import /data/old/exp1 /mnt/runs/exp1
  ckptfs import /data/old/exp1 /mnt/runs/exp1 --keep-all --delete
  ckptfs import /data/old/exp1 /data/store --run exp1 --yes";

pub(super) fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    Command::new("import")
        .about("Take existing checkpoint folders in, each checkpoint as a version")
        .long_about(ABOUT)
        .after_long_help(JSON_HELP)
        .arg(
            Arg::new("dir")
                .value_name("DIR")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The folder of checkpoints"),
        )
        .arg(history::path_arg())
        .arg(flag("delete", "Delete each checkpoint from DIR once its version is durable"))
        .arg(flag("yes", "The policy may remove versions of what is imported"))
        .arg(flag("keep-all", "Keep every version of the run (max_to_keep=0)").conflicts_with("yes"))
        .args(history::common_args())
}

/// What was done, as `--json` prints it.
#[derive(Debug, Default, Serialize)]
struct Done {
    run: String,
    source: String,
    checkpoints: Vec<One>,
    files: u64,
    bytes: u64,
    skipped: Vec<String>,
    deleted: u64,
    left: Vec<String>,
}

/// One checkpoint.
#[derive(Debug, Serialize)]
struct One {
    name: String,
    step: Option<u64>,
    version: Option<u32>,
    utc: Option<String>,
    files: u64,
    bytes: u64,
    good: bool,
    why: Vec<String>,
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let given: &PathBuf = matches
        .get_one("dir")
        .ok_or_else(|| Failure::Usage("DIR is missing; see: ckptfs import --help".into()))?;
    let folder = given.canonicalize().context("find", given)?;
    if place.inside(&folder)?.is_some() {
        return Err(Failure::Failed(format!(
            "{} is in this mount already; name a folder outside, or copy a version with: ckptfs clone",
            folder.display()
        )));
    }
    let found = source::look_through(&folder)?;
    if found.is_empty() {
        return Err(Failure::Failed(format!("there is nothing in {}", folder.display())));
    }
    let made = checkpoints(&found);
    if !matches.get_flag("yes") && !matches.get_flag("keep-all") {
        may_go(&place, &made, daemon)?;
    }
    let job = Job { place: &place, folder: &folder, found: &found, daemon };
    let done = job.run(&made, matches)?;
    if matches.get_flag("json") { history::print_json(&done) } else { print(&render(&done)) }
}

/// Refuses where the policy would remove versions of what is imported.
fn may_go(place: &Place, made: &[Checkpoint], daemon: &dyn Daemon) -> Outcome {
    let get = |at| place.ask(command::Command::PolicyGet { at }, daemon);
    // A directory that is not there yet has the policy of the mount.
    let Answer::Policy(shown) = get(Some(place.target.clone())).or_else(|_| get(None))? else {
        return Err(history::odd());
    };
    let mut policy = Policy::default();
    for setting in &shown.settings {
        policy.set(&setting.name, &setting.value).map_err(Failure::Failed)?;
    }
    let candidate = |(number, one): (u32, &Checkpoint)| Candidate {
        number,
        time: one.time.secs,
        good: true,
        step: one.step,
        metrics: Default::default(),
        tagged: false,
        pinned: false,
        in_use: false,
        kept_for_ever: false,
    };
    let candidates: Vec<Candidate> = (1..).zip(made).map(candidate).collect();
    let goes = plan(&candidates, &policy, Time::now().secs).iter().filter(|verdict| !verdict.stays()).count();
    if goes == 0 {
        return Ok(());
    }
    Err(Failure::Failed(format!(
        "the policy keeps {} of these {} versions (the files of all stay in the run's directory); keep every version with \
         --keep-all, or go on all the same with --yes",
        made.len() - goes,
        made.len()
    )))
}

struct Job<'a> {
    place: &'a Place,
    folder: &'a Path,
    found: &'a [Found],
    daemon: &'a dyn Daemon,
}

impl Job<'_> {
    fn run(&self, made: &[Checkpoint], matches: &ArgMatches) -> Outcome<Done> {
        let first = self.ask(Vec::new(), None, false)?;
        let mut done =
            Done { run: first.run, source: self.folder.to_string_lossy().into_owned(), ..Done::default() };
        if matches.get_flag("keep-all") {
            let settings = vec![("max_to_keep".to_owned(), "0".to_owned())];
            let at = Some(Target::Run(done.run.clone()));
            self.place.ask(command::Command::PolicySet { at, settings }, self.daemon)?;
        }
        for (at, checkpoint) in made.iter().enumerate() {
            let one = self.checkpoint(checkpoint, &mut done)?;
            if !matches.get_flag("json") {
                tell(&format!("{} of {}: {}", at + 1, made.len(), line(&one)));
            }
            done.files += one.files;
            done.bytes += one.bytes;
            done.checkpoints.push(one);
            if matches.get_flag("delete") {
                let files: Vec<&Found> =
                    checkpoint.files.iter().filter_map(|at| self.found.get(*at)).collect();
                let left = source::delete(self.folder, &files);
                done.deleted += (files.len() - left.len()) as u64;
                done.left.extend(left);
            }
        }
        Ok(done)
    }

    fn checkpoint(&self, checkpoint: &Checkpoint, done: &mut Done) -> Outcome<One> {
        let name = path_text(&checkpoint.name.join(&b'/'));
        let source = path_text(source::place(self.folder, &checkpoint.name).as_os_str().as_bytes());
        let mut parts = parts(self.members(checkpoint));
        let last = parts.pop().unwrap_or_default();
        let (mut files, mut bytes) = (0, 0);
        let mut take = |imported: &mut Imported| {
            files += imported.files;
            bytes += imported.bytes;
            done.skipped.append(&mut imported.skipped);
            files > 0
        };
        let mut is_new = false;
        for part in parts {
            is_new = take(&mut self.ask(part, None, is_new)?);
        }
        let time = (checkpoint.time.secs, checkpoint.time.nanos);
        let mut imported = self.ask(last, Some((time, source)), is_new)?;
        take(&mut imported);
        let Imported { version, utc, step, good, why, .. } = imported;
        Ok(One {
            name,
            step: step.or(checkpoint.step),
            version,
            utc,
            files,
            bytes,
            good: good || version.is_none(),
            why,
        })
    }

    /// What leads to the files of a checkpoint: a folder that belongs to it as a whole stands for all that is in it.
    fn members(&self, checkpoint: &Checkpoint) -> Vec<Names> {
        let own: HashSet<usize> = checkpoint.files.iter().copied().collect();
        let is_unit = |name: &Vec<u8>| looks_like_checkpoint(name) || is_bare_step(name);
        let unit = |file: &Found| {
            let above = file.path.len().saturating_sub(1);
            let len = file.path.iter().take(above).position(is_unit)? + 1;
            file.path.get(..len).map(<[Vec<u8>]>::to_vec)
        };
        let others: HashSet<Names> = self
            .found
            .iter()
            .enumerate()
            .filter(|(at, _)| !own.contains(at))
            .filter_map(|(_, file)| unit(file))
            .collect();
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        for file in checkpoint.files.iter().filter_map(|at| self.found.get(*at)) {
            let whole = unit(file).filter(|unit| !others.contains(unit));
            let member = whole.unwrap_or_else(|| file.path.clone());
            if seen.insert(member.clone()) {
                members.push(member);
            }
        }
        members
    }

    fn ask(
        &self,
        members: Vec<String>,
        last: Option<((i64, u32), String)>,
        is_new: bool,
    ) -> Outcome<Imported> {
        let meta = std::fs::metadata(self.folder).context("look at", self.folder)?;
        let import = command::Import {
            at: self.place.target.clone(),
            folder: path_text(self.folder.as_os_str().as_bytes()),
            identity: (meta.dev(), meta.ino()),
            members,
            last,
            is_new,
        };
        let progress = Progress::patient();
        let answer = self.place.ask_with(command::Command::Import(import), self.daemon, &progress);
        progress.finish();
        match answer? {
            Answer::Imported(imported) => Ok(imported),
            _ => Err(history::odd()),
        }
    }
}

/// Members in as few questions as there must be; at least one.
fn parts(members: Vec<Names>) -> Vec<Vec<String>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for member in members {
        let text = path_text(&member.join(&b'/'));
        bytes += text.len() + 3;
        if bytes > MEMBERS_BYTES_MAX {
            parts.push(Vec::new());
            bytes = text.len();
        }
        parts.last_mut().into_iter().for_each(|part| part.push(text.clone()));
    }
    parts
}

fn line(one: &One) -> String {
    let name = if one.name.is_empty() { "the folder" } else { &one.name };
    match one.version {
        None => format!("{name} is in already"),
        Some(version) if one.good => format!("{name} is version {version:06} ({} read)", size(one.bytes)),
        Some(version) => {
            format!("{name} is version {version:06}, not complete and valid: {}", one.why.join("; "))
        }
    }
}

fn render(done: &Done) -> String {
    let new = done.checkpoints.iter().filter(|one| one.version.is_some()).count();
    let mut text = format!(
        "{}: {new} versions made, {} in already; {} files ({}) came in\n",
        done.run,
        done.checkpoints.len() - new,
        done.files,
        size(done.bytes)
    );
    for path in &done.skipped {
        text.push_str(&format!("left out, no file or folder: {path}\n"));
    }
    if done.deleted > 0 {
        text.push_str(&format!("{} files deleted from {}\n", done.deleted, done.source));
    }
    for left in &done.left {
        text.push_str(&format!("not deleted: {left}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_field_and_members_fit_into_questions() {
        let one = One {
            name: "step_5".into(),
            step: Some(5),
            version: Some(3),
            utc: None,
            files: 1,
            bytes: 2048,
            good: false,
            why: vec!["cut".into()],
        };
        assert_eq!(line(&one), "step_5 is version 000003, not complete and valid: cut");
        let done =
            Done { run: "exp".into(), checkpoints: vec![one], left: vec!["x: y".into()], ..Done::default() };
        let json = serde_json::to_value(&done).unwrap();
        let inner = json["checkpoints"][0].as_object().unwrap().keys().map(|name| format!(".{name}"));
        for name in json.as_object().unwrap().keys().cloned().chain(inner) {
            assert!(JSON_HELP.contains(&name), "{name}");
        }
        assert!(render(&done).starts_with("exp: 1 versions made, 0 in already"));
        let long = parts((0..1000).map(|_| vec![vec![b'x'; 200]]).collect());
        assert!(long.len() > 3 && long.iter().map(Vec::len).sum::<usize>() == 1000);
        assert_eq!(parts(Vec::new()), [Vec::<String>::new()]);
    }
}
