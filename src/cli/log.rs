//! `ckptfs log`: the versions of a run, newest first.

use clap::{Arg, ArgMatches, Command};

use super::failure::Outcome;
use super::history::{self, PATH_HELP};
use super::rows::{maybe, size, table};
use super::{Daemon, print};
use crate::command::{self, Answer, Log, Logged};
use crate::version::provenance::Provenance;
use crate::version::record::Version;

pub(super) fn command() -> Command {
    Command::new("log")
        .about("List the versions of a run, newest first")
        .long_about(format!(
            "List the versions of a run, newest first: number, time, training step, epoch, metric (the one that the \
             policy monitors, else the first), bytes of its files, bytes that it added to the store, whether it is good \
             or why not, what made it, tags, why it is kept, and which code wrote it (a * after the commit: with \
             changes).\n\n{PATH_HELP}"
        ))
        .after_long_help(JSON_HELP)
        .arg(history::path_arg())
        .arg(
            Arg::new("number")
                .short('n')
                .long("number")
                .value_name("N")
                .value_parser(clap::value_parser!(u64))
                .help("Only the newest N"),
        )
        .arg(
            Arg::new("removed")
                .long("removed")
                .action(clap::ArgAction::SetTrue)
                .help("Those too that were removed and are not reclaimed yet; undelete takes some of them back"),
        )
        .args(history::common_args())
}

const JSON_HELP: &str = "\
JSON fields (stable; byte counts in bytes, times RFC 3339 UTC):
  run                        the run's path below the mount; / is the root
  monitor                    the metric that its policy goes by, or null
  versions[]                 newest first
   .number, .utc             its number and time
   .time                     the same time: seconds since 1970, nanoseconds
   .trigger                  what made it: a marker's name (tf, orbax, orbax-success, dcp, deepspeed,
                             megatron, hf-trainer), quiet, next-save, overwrite, delete, snapshot,
                             unmount, restore (the state before one), clone, import
   .path                     the run's path then
   .complete, .valid, .why[] whether it is whole, its formats are sound, and why not
   .step, .epoch, .metrics   as known; metrics by name
   .files, .logical_bytes    regular files and their bytes
   .new_bytes                what it added to the packs
   .tree, .about             blobs of its tree and its description
   .tags[], .pinned, .kept_for_ever
   .kept_by[], .goes         every rule that keeps it; else why it goes
   .provenance               null, or .host, .user, .uid, .pid, .program, .script, .args, .cwd,
                             .git_commit, .git_dirty, .git_branch
   .origin                   null, or .kind with .run and .number (clone) or .source (import)
   .expired                  null, or .at (seconds since 1970), .by_hand, .why

Examples:
  ckptfs log /mnt/runs/exp1
  ckptfs log /mnt/runs/exp1 -n 20 --json | jq '.versions[] | [.number, .step, .kept_by]'
  ckptfs log /data/store --run exp1";

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let place = history::place(matches)?;
    let asked = command::Command::Log {
        at: place.target.clone(),
        limit: matches.get_one("number").copied(),
        removed: matches.get_flag("removed"),
    };
    match place.ask(asked, daemon)? {
        Answer::Log(log) if matches.get_flag("json") => history::print_json(&log),
        Answer::Log(log) => print(&render(&log)),
        _ => Err(history::odd()),
    }
}

const HEADS: [&str; 12] = [
    "VERSION",
    "TIME",
    "STEP",
    "EPOCH",
    "METRIC",
    "SIZE",
    "NEW",
    "STATE",
    "MADE BY",
    "TAGS",
    "KEPT BY",
    "WRITTEN BY",
];

fn render(log: &Log) -> String {
    if log.versions.is_empty() {
        return format!("the run {} has no versions yet\n", log.run);
    }
    let rows: Vec<Vec<String>> =
        log.versions.iter().map(|logged| row(logged, log.monitor.as_deref())).collect();
    table(&HEADS, &rows)
}

fn row(logged: &Logged, monitor: Option<&str>) -> Vec<String> {
    let version = &logged.version;
    let pin = version.pinned.then(|| "(pinned)".to_owned());
    let tags: Vec<String> = version.tags.iter().cloned().chain(pin).collect();
    vec![
        format!("{:06}", version.number),
        logged.utc.clone(),
        maybe(version.step),
        maybe(version.epoch),
        metric(logged, monitor),
        size(version.logical_bytes),
        size(version.new_bytes),
        state(version),
        version.trigger.clone(),
        tags.join(","),
        if logged.kept_by.is_empty() { format!("goes: {}", logged.goes) } else { logged.kept_by.join(", ") },
        version.provenance.as_ref().map(writer).unwrap_or_default(),
    ]
}

fn metric(logged: &Logged, monitor: Option<&str>) -> String {
    let metrics = &logged.version.metrics;
    let found = match monitor {
        Some(name) => metrics.get_key_value(name),
        None => metrics.iter().next(),
    };
    found.map(|(name, value)| format!("{name}={value}")).unwrap_or_default()
}

/// Short words: a table has one line for each version.
pub(super) fn state(version: &Version) -> String {
    let word = match (version.expired.is_some(), version.complete, version.valid) {
        (true, ..) => "removed",
        (_, true, true) => return "good".into(),
        (_, false, _) => "incomplete",
        (_, true, false) => "invalid",
    };
    match version.why.first() {
        Some(why) => format!("{word}: {}", why.replace('\n', " ")),
        None => word.to_owned(),
    }
}

pub(super) fn writer(provenance: &Provenance) -> String {
    let base = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let program = provenance.script.as_deref().map_or_else(|| base(&provenance.program), base);
    let commit = provenance.git_commit.as_deref().map(|commit| {
        let short: String = commit.chars().take(10).collect();
        format!(" {short}{}", if provenance.git_dirty == Some(true) { "*" } else { "" })
    });
    format!("{program} {}@{}{}", provenance.user, provenance.host, commit.unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::base::id::ChunkId;
    use crate::version::record::{Expired, Origin};

    pub(in super::super) fn logged() -> Logged {
        let provenance = Provenance {
            host: "node1".into(),
            user: "ada".into(),
            program: "/usr/bin/python3".into(),
            script: Some("src/train.py".into()),
            git_commit: Some("0123456789abcdef".into()),
            git_dirty: Some(true),
            ..Provenance::default()
        };
        let version = Version {
            number: 42,
            time: (0, 0),
            trigger: "quiet".into(),
            path: "exp".into(),
            complete: true,
            valid: true,
            why: Vec::new(),
            step: Some(100),
            epoch: None,
            metrics: [("acc".to_owned(), 0.5), ("loss".to_owned(), 1.25)].into(),
            files: 1,
            logical_bytes: 2048,
            new_bytes: 10,
            tree: ChunkId([0; 32]),
            about: None,
            tags: vec!["good".into()],
            pinned: true,
            kept_for_ever: false,
            provenance: Some(provenance),
            origin: Some(Origin::Clone { run: "base".into(), number: 7 }),
            expired: Some(Expired { at: 0, by_hand: true, why: "by hand".into() }),
        };
        Logged { version, utc: "1970-01-01T00:00:00Z".into(), kept_by: Vec::new(), goes: "by hand".into() }
    }

    #[test]
    fn a_person_sees_metric_state_reasons_and_the_code_that_wrote_it() {
        let text = row(&logged(), Some("loss")).join("|");
        for part in [
            "000042|",
            "|loss=1.25|2.0 KiB|",
            "|removed|",
            "good,(pinned)",
            "goes: by hand",
            "train.py ada@node1 0123456789*",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(metric(&logged(), None), "acc=0.5");
        let mut bad = logged();
        (bad.version.expired, bad.version.valid) = (None, false);
        bad.version.why = vec!["model.pt: cut\nshort".into()];
        assert_eq!(state(&bad.version), "invalid: model.pt: cut short");
    }

    #[test]
    fn the_help_names_every_field() {
        let json = serde_json::to_value(logged()).unwrap();
        for (name, value) in json.as_object().unwrap() {
            assert!(JSON_HELP.contains(&format!(".{name}")), "{name}");
            for inner in
                value.as_object().into_iter().filter(|_| name != "metrics").flat_map(|inner| inner.keys())
            {
                assert!(JSON_HELP.contains(&format!(".{inner}")), "{name}.{inner}");
            }
        }
    }
}
