//! `ckptfs export`: a version as a plain folder, or as an archive.
//!
//! The daemon, or the store itself, hands out a stream; this side writes it, with the rights of whoever gave the command.

mod archive;
mod folder;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Serialize;

use super::failure::{Failure, Outcome};
use super::history::{self, PART_HELP, PATH_HELP, Place, VERSION_HELP};
use super::progress::Progress;
use super::rows::size;
use super::{Daemon, print, tell};
use crate::base::durable;
use crate::base::monitor::Monitor;
use crate::base::name::is_name;
use crate::base::{Error, IoContext, Result};
use crate::command::{Export, Exported};
use crate::engine::history::export::{Event, Sink};
use archive::Archive;
use folder::Folder;

const ABOUT: &str = "\
Write a version into a plain folder, or into a tar archive.

Every byte is checked against its hash while it is read. Modes, times, symbolic links, hard links, holes and extended \
attributes are kept, as root owners too. Files are written under a temporary name, made durable, and then named, so what \
has its name is whole; nothing is written outside of TARGET, and no link that lies there is followed. What is damaged is \
left out and named, and the exit code is 3.

TARGET is a folder, which is made if it is not there and must be empty (with --force files of the same name are replaced \
and others stay), or with --tar a file, - for stdout.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes):
  run, number                the run's path below the mount, and the version
  target                     where it was written
  files, bytes               regular files, and their bytes with hard links counted once
  damaged[]                  paths below the run that are damaged and were left out
  notes[]                    what the target did not take: attributes, devices

Exit code 3 when something is damaged.

Examples:
  ckptfs export 42 /tmp/v42 /mnt/runs/exp1
  ckptfs export best /tmp/best /data/store --run exp1
  ckptfs export /mnt/runs/exp1/.snapshots/latest/checkpoint-500 /tmp/checkpoint-500
  ckptfs export latest - --tar /mnt/runs/exp1 | ssh node2 tar -x -C /data/exp1";

pub(super) fn command() -> Command {
    Command::new("export")
        .about("Write a version into a folder or an archive")
        .long_about(format!("{ABOUT}\n\n{VERSION_HELP}\n\n{PATH_HELP} {PART_HELP}"))
        .after_long_help(JSON_HELP)
        .arg(history::version_arg())
        .arg(
            Arg::new("target")
                .value_name("TARGET")
                .required(true)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The folder or file to write"),
        )
        .arg(history::path_arg())
        .arg(history::only_arg())
        .arg(
            Arg::new("tar")
                .long("tar")
                .action(ArgAction::SetTrue)
                .help("TARGET is a tar archive; - is stdout"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .help("TARGET may hold files; those of the same name are replaced"),
        )
        .args(history::common_args())
}

/// What was done, as `--json` prints it.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    exported: Exported,
    target: String,
    notes: Vec<String>,
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let (place, version) = history::version(matches)?;
    let export = Export { at: place.target.clone(), version, only: history::only(matches) };
    let target: &PathBuf = matches
        .get_one("target")
        .ok_or_else(|| Failure::Usage("TARGET is missing; see: ckptfs export --help".into()))?;
    let (force, json) = (matches.get_flag("force"), matches.get_flag("json"));
    let to_stdout = matches.get_flag("tar") && target == Path::new("-");
    if to_stdout && json {
        return Err(Failure::Usage("stdout is the archive; leave --json out, or name a file".into()));
    }
    if !matches.get_flag("tar") {
        return folder_and_tell(&place, &export, target, matches, daemon);
    }
    let exported = match to_stdout {
        true => into_stdout(&place, &export, daemon)?,
        false => into_file(&place, &export, target, force, daemon)?,
    };
    tell_done(exported, target, Vec::new(), json, to_stdout)
}

/// Exports into the folder `target`, with the flags `--force` and `--json`, and tells of it.
pub(super) fn folder_and_tell(
    place: &Place,
    export: &Export,
    target: &Path,
    matches: &ArgMatches,
    daemon: &dyn Daemon,
) -> Outcome {
    let mut folder = Folder::open(target, matches.get_flag("force"))?;
    let exported = streamed(place, export, &mut folder, daemon)?;
    tell_done(exported, target, folder.notes(), matches.get_flag("json"), false)
}

fn tell_done(exported: Exported, target: &Path, notes: Vec<String>, json: bool, to_stdout: bool) -> Outcome {
    let done = Done { exported, target: target.to_string_lossy().into_owned(), notes };
    if json {
        history::print_json(&done)?;
    } else if to_stdout {
        tell(render(&done).trim_end());
    } else {
        print(&render(&done))?;
    }
    verdict(&done.exported)
}

fn into_stdout(place: &Place, export: &Export, daemon: &dyn Daemon) -> Outcome<Exported> {
    let mut archive = Archive::new(BufWriter::with_capacity(1 << 20, std::io::stdout()), "stdout");
    let exported = streamed(place, export, &mut archive, daemon)?;
    archive.finish()?.flush().context("write", Path::new("stdout"))?;
    Ok(exported)
}

/// The file has its name when it is whole and durable.
fn into_file(
    place: &Place,
    export: &Export,
    target: &Path,
    replace: bool,
    daemon: &dyn Daemon,
) -> Outcome<Exported> {
    let target = std::path::absolute(target).context("find", target)?;
    if !replace && target.symlink_metadata().is_ok() {
        return Err(Failure::Failed(format!(
            "{} is there already; name another file, or let it be replaced with --force",
            target.display()
        )));
    }
    let mut temporary = target.clone().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = File::create_new(&temporary).context("create", &temporary)?;
    let write = || -> Outcome<Exported> {
        let mut archive = Archive::new(BufWriter::with_capacity(1 << 20, &file), &target.to_string_lossy());
        let exported = streamed(place, export, &mut archive, daemon)?;
        archive.finish()?.flush().context("write", &temporary)?;
        durable::sync_all(&file, &temporary)?;
        durable::rename(&temporary, &target)?;
        Ok(exported)
    };
    write().inspect_err(|_| {
        if let Err(error) = std::fs::remove_file(&temporary) {
            tell(&format!("cannot delete {}: {error}", temporary.display()));
        }
    })
}

fn streamed(place: &Place, export: &Export, sink: &mut dyn Sink, daemon: &dyn Daemon) -> Outcome<Exported> {
    let progress = Progress::patient();
    let mut counted = Counted { sink, progress: &progress, done: 0, broken: false, begun: false };
    let exported = place.export(export, &mut counted, daemon, &progress);
    let broken = counted.broken;
    progress.finish();
    exported.map_err(|failure| match failure {
        // An archive ends at what is damaged.
        Failure::Failed(text) if broken => Failure::Found(text),
        other => other,
    })
}

/// A sink that tells how far it is, and lets no name through that leads elsewhere.
struct Counted<'a> {
    sink: &'a mut dyn Sink,
    progress: &'a Progress,
    done: u64,
    broken: bool,
    begun: bool,
}

impl Sink for Counted<'_> {
    fn take(&mut self, event: Event<'_>) -> Result<()> {
        match event {
            Event::Total(total) => self.progress.begin("exporting", total),
            Event::Data(bytes) => self.done += bytes.len() as u64,
            Event::Hole(zeros) => self.done += zeros,
            Event::Broken => self.broken = true,
            Event::Enter(entry) | Event::Leaf(entry) | Event::Link(entry) => {
                // The first directory is the target itself.
                let is_top = entry.name.is_empty() && entry.is_dir() && !self.begun;
                if !is_top && !is_name(&entry.name) {
                    let what = format!(
                        "stream: a name that leads elsewhere, {:?}",
                        String::from_utf8_lossy(&entry.name)
                    );
                    return Err(Error::damaged(Path::new("the version"), what));
                }
                self.begun = true;
            }
            Event::Leave | Event::End => {}
        }
        self.progress.advance(self.done);
        self.sink.take(event)
    }
}

fn render(done: &Done) -> String {
    let Exported { run, number, files, bytes, damaged } = &done.exported;
    let plural = if *files == 1 { "" } else { "s" };
    let mut text =
        format!("version {number:06} of {run}: {files} file{plural} ({}) in {}\n", size(*bytes), done.target);
    for path in damaged {
        text.push_str(&format!("damaged, left out: {path}\n"));
    }
    for note in &done.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// The end of a command that has left out what is damaged.
fn verdict(exported: &Exported) -> Outcome {
    match exported.damaged.len() {
        0 => Ok(()),
        number => Err(Failure::Found(format!(
            "{number} of the paths are damaged and were left out; `ckptfs check --read-data` tells more, other versions may be whole"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_gets_through_that_leads_out_of_the_target() {
        use crate::base::clock::Time;
        use crate::base::id::ChunkId;
        use crate::content::tree::{Body, Entry};
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("outer")).unwrap();
        let entry = |name: &[u8], body| Entry {
            name: name.to_vec(),
            ino: 1,
            mode: 0o100_644,
            uid: 0,
            gid: 0,
            nlink: 1,
            mtime: Time::default(),
            xattrs: Vec::new(),
            body,
        };
        let top = Body::Dir { tree: ChunkId([0; 32]), files: 0, bytes: 0 };
        for name in [&b".."[..], b".", b"../out", b"/tmp/out", b"a/b", b"", b"a\0b"] {
            for body in [top.clone(), Body::Symlink(b"/etc".to_vec())] {
                let mut folder = Folder::open(&dir.path().join("outer/inner"), true).unwrap();
                let progress = Progress::patient();
                let mut sink =
                    Counted { sink: &mut folder, progress: &progress, done: 0, broken: false, begun: false };
                sink.take(Event::Enter(&entry(b"", top.clone()))).unwrap();
                let hostile = entry(name, body);
                let event = if hostile.is_dir() { Event::Enter(&hostile) } else { Event::Leaf(&hostile) };
                assert!(matches!(sink.take(event), Err(Error::Damaged { .. })), "{name:?}");
                assert!(sink.take(Event::Link(&hostile)).is_err());
            }
        }
        assert_eq!(std::fs::read_dir(dir.path().join("outer/inner")).unwrap().count(), 0);
        assert_eq!(std::fs::read_dir(dir.path().join("outer")).unwrap().count(), 1);
    }

    #[test]
    fn the_help_names_every_field_and_a_person_reads_what_was_left_out() {
        let exported = Exported {
            run: "exp".into(),
            number: 7,
            files: 1,
            bytes: 2048,
            damaged: vec!["model.pt".into()],
        };
        let done = Done { exported, target: "/tmp/x".into(), notes: vec!["a: without b".into()] };
        let json = serde_json::to_value(&done).unwrap();
        for name in json.as_object().unwrap().keys() {
            assert!(JSON_HELP.contains(name.as_str()), "{name}");
        }
        let text = render(&done);
        assert!(text.starts_with("version 000007 of exp: 1 file (2.0 KiB) in /tmp/x\n"), "{text}");
        assert!(text.contains("damaged, left out: model.pt\n") && text.contains("note: a: without b\n"));
        assert!(matches!(verdict(&done.exported), Err(Failure::Found(_))));
    }
}
