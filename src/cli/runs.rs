//! `run add`, `run list`, `run forget` and `purge`: runs as a whole.

use std::io::IsTerminal;

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP, Place};
use super::rows::{maybe, size, table};
use super::{Daemon, print, tell};
use crate::command::{self, Answer, PurgedRun, RunInfo, Target};

const JSON_HELP: &str = "\
JSON fields of a run (stable; byte counts in bytes, times RFC 3339 UTC):
  path                       below the mount; / is the root; of a deleted run its last
  versions, newest, newest_utc
                             how many, and number and time of the newest, or null
  logical_bytes              bytes of the files in the newest
  new_bytes                  bytes that its versions added to the packs when they were made
  by_hand, forgotten         named by hand; no longer versioned
  deleted                    when its directory was deleted, or null";

pub(super) fn command() -> Command {
    let path = || history::path_arg().required(true).default_value(None::<&str>);
    Command::new("run")
        .about("List runs, make a directory one, or stop versioning one")
        .long_about(
            "List runs, make a directory one, or stop versioning one.\n\nA run is a directory with version numbers, a \
             history and a policy of its own. Most are found by themselves, from the names and commit markers of \
             checkpoints.",
        )
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            Command::new("add")
                .about("Make a directory a run")
                .long_about(format!(
                    "Make a directory a run.\n\nAll checkpoints at and below it that are in no run further inside make \
                     versions of it. A run that was forgotten is versioned again. In a store, --run names the \
                     directory.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs run add /mnt/runs/exp1"
                ))
                .after_long_help(JSON_HELP)
                .arg(path())
                .args(history::common_args()),
            Command::new("list")
                .about("List all runs, deleted ones with history too")
                .long_about(format!(
                    "List all runs, deleted ones with history too.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs run list /mnt/runs"
                ))
                .after_long_help(JSON_HELP)
                .arg(history::path_arg())
                .arg(history::common_args()[1].clone()),
            Command::new("forget")
                .about("Stop versioning a run; the versions that it has stay")
                .long_about(format!(
                    "Stop versioning a run; the versions that it has stay.\n\n`ckptfs run add` takes it up again; `ckptfs \
                     purge` ends its history.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs run forget /mnt/runs/scratch"
                ))
                .after_long_help(JSON_HELP)
                .arg(path())
                .args(history::common_args()),
        ])
}

pub(super) fn purge_command() -> Command {
    Command::new("purge")
        .about("End the history of a run now")
        .long_about(format!(
            "End the history of a run now.\n\nMeant for a run whose directory was deleted; of any other the files stay as \
             they are. Every version that is neither tagged nor pinned goes, and does not come back; with --all these \
             too. What is being read stays. A question is asked first on a terminal; elsewhere --yes must be \
             given.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs purge /mnt/runs/old-experiment\n  ckptfs purge /data/store --run \
             old-experiment --all --yes"
        ))
        .after_long_help(
            "JSON fields (stable):\n  run                        the run's path below the mount; / is the root\n  gone[]                     \
             numbers of the versions that go\n  kept[][0], kept[][1]       numbers of those that stay, and why",
        )
        .arg(history::path_arg().required(true).default_value(None::<&str>))
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("Tagged and pinned versions too"))
        .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help("Do not ask"))
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::Usage("no command given; see: ckptfs run --help".into()));
    };
    let place = history::place(matches)?;
    let at = place.target.clone();
    let asked = match name {
        "add" => command::Command::RunAdd { at },
        "forget" => command::Command::RunForget { at },
        _ => command::Command::RunList,
    };
    let json = matches.get_flag("json");
    match place.ask(asked, daemon)? {
        Answer::Runs(runs) if json => history::print_json(&runs),
        Answer::Runs(runs) => print(&render(&runs)),
        Answer::Run(run) if json => history::print_json(&run),
        Answer::Run(run) if run.forgotten => {
            print(&format!("{} is no longer versioned; its {} stay\n", run.path, count(run.versions)))
        }
        Answer::Run(run) => print(&format!("{} is a run with {}\n", run.path, count(run.versions))),
        _ => Err(history::odd()),
    }
}

fn count(versions: u64) -> String {
    if versions == 1 { "1 version".into() } else { format!("{versions} versions") }
}

fn render(runs: &[RunInfo]) -> String {
    if runs.is_empty() {
        return "there are no runs yet; one is made by the first checkpoint, or by: ckptfs run add PATH\n"
            .into();
    }
    let row = |run: &RunInfo| {
        let state = match &run.deleted {
            Some(deleted) => format!("deleted {deleted}"),
            None if run.forgotten => "forgotten".to_owned(),
            None if run.by_hand => "by hand".to_owned(),
            None => String::new(),
        };
        vec![
            run.path.clone(),
            run.versions.to_string(),
            maybe(run.newest.map(|number| format!("{number:06}"))),
            maybe(run.newest_utc.as_ref()),
            size(run.logical_bytes),
            size(run.new_bytes),
            state,
        ]
    };
    let rows: Vec<Vec<String>> = runs.iter().map(row).collect();
    table(&["RUN", "VERSIONS", "NEWEST", "TIME", "SIZE", "NEW IN ALL", "STATE"], &rows)
}

pub(super) fn purge(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let all = matches.get_flag("all");
    let named = confirmed(matches, &place, all, daemon)?;
    // The very run that was asked about, whatever its path means by now.
    let at = named.map_or(place.target.clone(), Target::Run);
    match place.ask(command::Command::Purge { at, all }, daemon)? {
        Answer::Purged(purged) if matches.get_flag("json") => history::print_json(&purged),
        Answer::Purged(purged) => print(&ended(&purged)),
        _ => Err(history::odd()),
    }
}

/// Asks, and returns the run that was asked about; `None` with `--yes`.
fn confirmed(matches: &ArgMatches, place: &Place, all: bool, daemon: &dyn Daemon) -> Outcome<Option<String>> {
    if matches.get_flag("yes") {
        return Ok(None);
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Failure::Usage(
            "purge cannot be taken back and there is no terminal to ask on; give --yes".into(),
        ));
    }
    // Those that could still be taken back end as well.
    let asked = command::Command::Log { at: place.target.clone(), limit: None, removed: true };
    let Answer::Log(log) = place.ask(asked, daemon)? else { return Err(history::odd()) };
    let goes = |one: &&command::Logged| all || (one.version.tags.is_empty() && !one.version.pinned);
    let number = log.versions.iter().filter(goes).count() as u64;
    tell(&format!("{} of the run {} go for ever; type yes to do it", count(number), log.run));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| Failure::Failed(format!("cannot read the answer: {error}")))?;
    match answer.trim() {
        "yes" => Ok(Some(log.run)),
        _ => Err(Failure::Failed("nothing was done".into())),
    }
}

fn ended(purged: &PurgedRun) -> String {
    let gone = count(purged.gone.len() as u64);
    let mut text = format!("{}: {gone} go, {} stay\n", purged.run, purged.kept.len());
    for (number, why) in &purged.kept {
        text.push_str(&format!("  {number:06} stays: {why}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> RunInfo {
        RunInfo {
            path: "exp".into(),
            versions: 2,
            newest: Some(7),
            newest_utc: Some("2026-01-31T12:00:05Z".into()),
            logical_bytes: 1024,
            new_bytes: 10,
            by_hand: true,
            forgotten: false,
            deleted: Some("2026-02-01T00:00:00Z".into()),
        }
    }

    #[test]
    fn runs_are_listed_with_what_became_of_them() {
        let text = render(&[info()]);
        assert!(text.contains("000007") && text.contains("deleted 2026-02-01T00:00:00Z"), "{text}");
        assert!(render(&[]).contains("run add"));
        let purged = PurgedRun { run: "exp".into(), gone: vec![1], kept: vec![(2, "pinned".into())] };
        assert_eq!(ended(&purged), "exp: 1 version go, 1 stay\n  000002 stays: pinned\n");
    }

    #[test]
    fn the_help_names_every_field() {
        let json = serde_json::to_value(info()).unwrap();
        for name in json.as_object().unwrap().keys() {
            assert!(JSON_HELP.contains(name), "{name}");
        }
    }
}
