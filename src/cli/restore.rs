//! `ckptfs restore` and `ckptfs clone`: a version brought back, in place, beside, elsewhere, or as a new run.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PART_HELP, PATH_HELP, Place, VERSION_HELP};
use super::progress::Progress;
use super::rows::size;
use super::{Daemon, export, print};
use crate::command::{self, Answer, Bring, Changed, Export, RestoredShown};

const ABOUT: &str = "\
Bring a version back into the run's directory, or beside it.

In place, the run's directory becomes what it was: files that differ are replaced, those that are missing come back, and \
those that the version has not are removed (with --keep they stay). Every byte that comes back is first read and held \
against its hash; if one is damaged nothing is changed, and the exit code is 3. Then the state before becomes a version, so \
that nothing is lost: restoring that one undoes it. Each file is replaced at once and by reference: no byte is copied, and \
the store hardly grows. A file that somebody has open for reading stays as it is for him; one that is open for writing is a \
reason to refuse, because what is written to it would be lost: stop the training first. After a kill in the middle each \
file is the old one or the new one, and the same command finishes.

With --to DIR the version goes into a new directory instead: inside the mount by reference, anywhere else as `ckptfs \
export` writes it. The state before restoring is the newest version until the training saves again: that is what \
`.snapshots/latest` means until then.";

const CLONE_ABOUT: &str = "\
Make a version a new run, which can be written and trained on.

NEWRUN is the path of a directory in the mount that does not exist yet (of a store that is not mounted: below the mount). \
No byte is copied: the contents are shared, and stay when the run or version that they come from goes. Every byte is first \
read and held against its hash; if one is damaged nothing is made, and the exit code is 3. The new run has the policy of \
the one that it comes from, and its first version says where it comes from.";

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes):
  run, number                the run's path below the mount, and the version
  to                         the new directory below the mount, or null for in place
  dry_run                    nothing was done
  changes[]                  .path below the run or the new directory; .what: create, replace, remove,
                             attributes; .bytes of the file that comes, or of the one that goes
  bytes                      bytes of the files that come
  before                     the version that holds the state before, or null: nothing had to change
  damaged[]                  paths that are damaged; nothing was changed then
With --to outside of the mount: the fields of `ckptfs export`.

Exit code 3 when something is damaged.

Examples:
  ckptfs restore 42 /mnt/runs/exp1 --dry-run
  ckptfs restore 42 /mnt/runs/exp1
  ckptfs restore 42 /mnt/runs/exp1/checkpoint-500
  ckptfs restore best /mnt/runs/exp1 --to /mnt/runs/exp1-best
  ckptfs restore /mnt/runs/exp1/.snapshots/000042/model.pt
  ckptfs restore latest /data/store --run exp1";

const CLONE_JSON_HELP: &str = "\
JSON fields (stable): the first version of the new run, as `ckptfs log --help` lists it, with run, its path, and \
undelete_seconds; when something is damaged those of `ckptfs restore`, and exit code 3.

Examples:
  ckptfs clone 42 /mnt/runs/exp1-from-42 /mnt/runs/exp1
  ckptfs clone best exp1-best /data/store --run exp1";

/// Changes that are listed to a person; a dry run lists all.
const LISTED_MAX: usize = 20;

pub(super) fn commands() -> [Command; 2] {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    [
        Command::new("restore")
            .about("Bring a version back, in place or beside")
            .long_about(format!("{ABOUT}\n\n{VERSION_HELP}\n\n{PATH_HELP} {PART_HELP}"))
            .after_long_help(JSON_HELP)
            .arg(history::version_arg())
            .arg(history::path_arg())
            .arg(
                Arg::new("to")
                    .long("to")
                    .value_name("DIR")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Into this new directory instead"),
            )
            .arg(history::only_arg())
            .arg(flag("dry-run", "Only list what would change"))
            .arg(flag("keep", "Leave what the version has not"))
            .arg(flag(
                "force",
                "Replace files that are open for writing too: who writes them writes into nothing",
            ))
            .args(history::common_args()),
        Command::new("clone")
            .about("Make a version a new run, without copying")
            .long_about(format!("{CLONE_ABOUT}\n\n{VERSION_HELP}\n\n{PATH_HELP}"))
            .after_long_help(CLONE_JSON_HELP)
            .arg(history::version_arg())
            .arg(
                Arg::new("newrun")
                    .value_name("NEWRUN")
                    .required(true)
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("The new run's directory"),
            )
            .arg(history::path_arg())
            .args(history::common_args()),
    ]
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let (place, version) = history::version(matches)?;
    let to = matches.get_one::<PathBuf>("to");
    let inside = to.map(|to| place.inside(to)).transpose()?;
    let dry_run = matches.get_flag("dry-run");
    if let (Some(to), Some(None)) = (to, &inside) {
        if dry_run {
            return Err(Failure::Usage(
                "an export replaces nothing, so there is no dry run; leave out --dry-run".into(),
            ));
        }
        let export = Export { at: place.target.clone(), version, only: history::only(matches) };
        return export::folder_and_tell(&place, &export, to, matches, daemon);
    }
    let bring = Bring {
        at: place.target.clone(),
        version,
        only: history::only(matches),
        to: inside.flatten(),
        dry_run,
        keep: matches.get_flag("keep"),
        force: matches.get_flag("force"),
    };
    match ask(&place, command::Command::Restore(bring), daemon)? {
        Answer::Restored(restored) => tell_restored(&restored, matches),
        _ => Err(history::odd()),
    }
}

pub(super) fn clone(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let (place, version) = history::version(matches)?;
    let new: &PathBuf = matches
        .get_one("newrun")
        .ok_or_else(|| Failure::Usage("NEWRUN is missing; see: ckptfs clone --help".into()))?;
    let to = place.new_path(new)?;
    let asked = command::Command::Clone { at: place.target.clone(), version, to };
    match ask(&place, asked, daemon)? {
        Answer::Changed(changed) if matches.get_flag("json") => history::print_json(&changed),
        Answer::Changed(changed) => print(&cloned(&changed)),
        Answer::Restored(restored) => tell_restored(&restored, matches),
        _ => Err(history::odd()),
    }
}

fn ask(place: &Place, asked: command::Command, daemon: &dyn Daemon) -> Outcome<Answer> {
    let progress = Progress::patient();
    let answer = place.ask_with(asked, daemon, &progress);
    progress.finish();
    answer
}

fn tell_restored(restored: &RestoredShown, matches: &ArgMatches) -> Outcome {
    if matches.get_flag("json") {
        history::print_json(restored)?;
    } else {
        print(&render(restored))?;
    }
    match restored.damaged.len() {
        0 => Ok(()),
        number => Err(Failure::Found(format!(
            "{number} of the paths are damaged, and nothing was changed; take another version, or with --only the paths that \
             are whole"
        ))),
    }
}

fn render(restored: &RestoredShown) -> String {
    let RestoredShown { run, number, to, dry_run, bytes, before, changes, damaged } = restored;
    let mut text: String = damaged.iter().map(|path| format!("damaged: {path}\n")).collect();
    if !damaged.is_empty() {
        return text;
    }
    if changes.is_empty() && to.is_none() {
        return format!("{run} is as version {number:06} has it; nothing to do\n");
    }
    let limit = if *dry_run { usize::MAX } else { LISTED_MAX };
    // Of a new directory everything is new: there is nothing to tell but how much.
    let listed = changes.iter().filter(|_| to.is_none() || *dry_run);
    for change in listed.clone().take(limit) {
        text.push_str(&format!("{:10}  {}\n", change.what, change.path));
    }
    let more = listed.count().saturating_sub(limit);
    if more > 0 {
        text.push_str(&format!("and {more} more; --json lists all\n"));
    }
    let count = |what: &str| changes.iter().filter(|change| change.what == what).count();
    let summary = format!(
        "{} created, {} replaced, {} removed ({} by reference)",
        count("create"),
        count("replace"),
        count("remove"),
        size(*bytes)
    );
    let whither = to.as_ref().map_or_else(|| format!("of {run}"), |to| format!("of {run} into {to}"));
    let verb = if *dry_run { "would be restored" } else { "restored" };
    text.push_str(&format!("version {number:06} {whither} {verb}: {summary}\n"));
    if let Some(before) = before {
        text.push_str(&format!(
            "the state before is version {before:06}; back to it with: ckptfs restore {before}\n"
        ));
    }
    text
}

fn cloned(changed: &Changed) -> String {
    let Changed { run, version, .. } = changed;
    format!(
        "{run} is a run with version {:06}: {} files ({} by reference), {} new in the store\n",
        version.number,
        version.files,
        size(version.logical_bytes),
        size(version.new_bytes)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ChangeShown;

    #[test]
    fn the_help_names_every_field_and_a_person_reads_what_changes_and_the_way_back() {
        let change = |what: &str, path: &str| ChangeShown { path: path.into(), what: what.into(), bytes: 5 };
        let mut restored = RestoredShown {
            run: "exp".into(),
            number: 42,
            to: None,
            dry_run: false,
            bytes: 2048,
            before: Some(51),
            changes: vec![change("replace", "model.pt"), change("remove", "new.pt")],
            damaged: Vec::new(),
        };
        let json = serde_json::to_value(&restored).unwrap();
        for name in json.as_object().unwrap().keys().chain(json["changes"][0].as_object().unwrap().keys()) {
            assert!(JSON_HELP.contains(name.as_str()), "{name}");
        }
        assert_eq!(
            render(&restored),
            "replace     model.pt\nremove      new.pt\nversion 000042 of exp restored: 0 created, 1 replaced, 1 removed \
             (2.0 KiB by reference)\nthe state before is version 000051; back to it with: ckptfs restore 51\n"
        );
        restored.changes = (0..30).map(|n| change("create", &n.to_string())).collect();
        assert!(render(&restored).contains("and 10 more; --json lists all\n"));
        (restored.dry_run, restored.before) = (true, None);
        let text = render(&restored);
        assert!(text.lines().count() == 31 && text.contains("would be restored"), "{text}");
        (restored.changes, restored.damaged) = (Vec::new(), vec!["model.pt".into()]);
        assert_eq!(render(&restored), "damaged: model.pt\n");
        restored.damaged.clear();
        assert_eq!(render(&restored), "exp is as version 000042 has it; nothing to do\n");
    }
}
