//! `ckptfs prune`: what the policy says of every version, and doing it now.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::Outcome;
use super::history::{self, PATH_HELP};
use super::rows::table;
use super::{Daemon, print};
use crate::command::{self, Answer, Planned, PlannedRun};

const JSON_HELP: &str = "\
JSON fields (stable; times RFC 3339 UTC): an array of runs, each with
  run                        its path below the mount
  versions[].number, .utc    newest first
  versions[].stays, .kept_by[], .goes
                             whether it stays, every rule that keeps it, else why it goes
  removed                    how many were removed now; 0 with --dry-run";

pub(super) fn command() -> Command {
    Command::new("prune")
        .about("Show what the policy says of every version of a run, and do it now")
        .long_about(format!(
            "Show what the policy says of every version of a run, and do it now.\n\nRetention acts by itself after each new \
             version; this is for a policy that was changed, and with --dry-run for looking. A version that goes is \
             reclaimed later, in the background. Of a forgotten run nothing is removed.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs \
             prune /mnt/runs/exp1 --dry-run\n  ckptfs prune --all /mnt/runs --json"
        ))
        .after_long_help(JSON_HELP)
        .arg(history::path_arg())
        .arg(Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue).help("Show only; change nothing"))
        .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("All runs of the store"))
        .args(history::common_args())
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let at = (!matches.get_flag("all")).then(|| place.target.clone());
    let dry_run = matches.get_flag("dry-run");
    match place.ask(command::Command::Prune { at, dry_run }, daemon)? {
        Answer::Plan(runs) if matches.get_flag("json") => history::print_json(&runs),
        Answer::Plan(runs) => print(&render(&runs, dry_run)),
        _ => Err(history::odd()),
    }
}

fn render(runs: &[PlannedRun], dry_run: bool) -> String {
    if runs.is_empty() {
        return "there are no runs yet\n".into();
    }
    let blocks: Vec<String> = runs.iter().map(|run| block(run, dry_run)).collect();
    blocks.join("\n")
}

fn block(run: &PlannedRun, dry_run: bool) -> String {
    let row = |one: &Planned| {
        let (word, why) =
            if one.stays { ("stays", one.kept_by.join(", ")) } else { ("goes", one.goes.clone()) };
        vec![format!("{:06}", one.number), one.utc.clone(), word.to_owned(), why]
    };
    let rows: Vec<Vec<String>> = run.versions.iter().map(row).collect();
    let go = run.versions.iter().filter(|one| !one.stays).count();
    let end = if dry_run {
        format!("{go} of {} would be removed; nothing was changed\n", run.versions.len())
    } else {
        format!("{} of {} removed\n", run.removed, run.versions.len())
    };
    format!("run {}\n{}{end}", run.run, table(&["VERSION", "TIME", "PLAN", "WHY"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_comes_with_its_reason() {
        let planned = |number, stays| Planned {
            number,
            utc: "2026-01-31T12:00:05Z".into(),
            stays,
            kept_by: if stays { vec!["newest 1 of 1".into(), "tag".into()] } else { Vec::new() },
            goes: if stays { String::new() } else { "not among the newest 1".into() },
        };
        let run =
            PlannedRun { run: "exp".into(), versions: vec![planned(2, true), planned(1, false)], removed: 1 };
        let text = render(std::slice::from_ref(&run), true);
        for part in
            ["stays  newest 1 of 1, tag", "goes   not among the newest 1", "1 of 2 would be removed; nothing"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(render(std::slice::from_ref(&run), false).contains("1 of 2 removed"));
        let json = serde_json::to_value(&run).unwrap();
        assert!(json.as_object().unwrap().keys().all(|name| JSON_HELP.contains(name)));
        assert!(json["versions"][0].as_object().unwrap().keys().all(|name| JSON_HELP.contains(name)));
    }
}
