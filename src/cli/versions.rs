//! `snapshot`, `tag`, `untag`, `pin`, `unpin`, `expire`, `undelete`: one version by hand.

use std::time::Duration;

use clap::{Arg, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP, VERSION_HELP};
use super::{Daemon, print};
use crate::command::{self, Answer, Changed};
use crate::retention::duration_text;

const TAGS: &str = "A tag is a name without '/' of at most 255 bytes that is not only digits, does not begin with a dot, and \
    is none of latest, newest, best, by-time, by-tag, by-step, at.";

const JSON_HELP: &str = "\
JSON fields (stable):
  run                        the run's path below the mount; / is the root
  undelete_seconds           how long a version that was removed by hand can be taken back
  number, utc, ...           the version as it is now, as `ckptfs log --help` lists it";

pub(super) fn commands() -> [Command; 7] {
    let tag = || Arg::new("tag").value_name("TAG").required(true).help("The tag");
    [
        base("snapshot", "Make a version now, and return when it is durable", &format!(
            "The version holds the run as it is at this moment, changed or not; a directory that is in no run becomes \
             one. What is being written at that moment is taken as it is, and the version is marked incomplete.\n\n{TAGS}"
        ), "ckptfs snapshot /mnt/runs/exp1\n  ckptfs snapshot /mnt/runs/exp1 --tag before-lr-change")
            .arg(history::path_arg().required(true).default_value(None::<&str>))
            .arg(Arg::new("tag").long("tag").value_name("TAG").help("Its tag")),
        base("tag", "Give a version a tag, which keeps it for ever", &format!(
            "A version can have several tags; a tag has one version of its run.\n\n{TAGS}\n\n{VERSION_HELP}"
        ), "ckptfs tag 42 paper /mnt/runs/exp1\n  ckptfs tag latest candidate")
            .arg(history::version_arg())
            .arg(tag())
            .arg(history::path_arg()),
        base("untag", "Take a tag off; retention may then remove the version", "", "ckptfs untag paper /mnt/runs/exp1")
            .arg(tag())
            .arg(history::path_arg()),
        base("pin", "Keep a version for ever", VERSION_HELP, "ckptfs pin best /mnt/runs/exp1")
            .arg(history::version_arg())
            .arg(history::path_arg()),
        base("unpin", "Take a pin off; retention may then remove the version", VERSION_HELP, "ckptfs unpin 42 /mnt/runs/exp1")
            .arg(history::version_arg())
            .arg(history::path_arg()),
        base("expire", "Remove a version by hand", &format!(
            "One that is tagged, pinned or being read is refused. For undelete_ttl (1h by default) `ckptfs undelete` takes it \
             back; then its space is reclaimed.\n\n{VERSION_HELP}"
        ), "ckptfs expire 42 /mnt/runs/exp1")
            .arg(history::version_arg())
            .arg(history::path_arg()),
        base("undelete", "Take back a version that was removed by hand", &format!(
            "That works for undelete_ttl (1h by default); `ckptfs log --removed` shows what there is. A version that a rule \
             of the policy has removed does not come back.\n\n{VERSION_HELP}"
        ), "ckptfs undelete 42 /mnt/runs/exp1")
            .arg(history::version_arg())
            .arg(history::path_arg()),
    ]
}

fn base(name: &'static str, about: &'static str, more: &str, examples: &str) -> Command {
    let more = if more.is_empty() { String::new() } else { format!("{more}\n\n") };
    Command::new(name)
        .about(about)
        .long_about(format!("{about}.\n\n{more}{PATH_HELP}\n\nExamples:\n  {examples}"))
        .after_long_help(JSON_HELP)
        .args(history::common_args())
}

pub(super) fn run(name: &str, matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let tag = || {
        let tag = matches.get_one::<String>("tag");
        tag.cloned().ok_or_else(|| Failure::Usage(format!("TAG is missing; see: ckptfs {name} --help")))
    };
    let (place, command) = if name == "snapshot" || name == "untag" {
        let place = history::place(matches)?;
        let at = place.target.clone();
        let command = match name {
            "snapshot" => command::Command::Snapshot { at, tag: matches.get_one("tag").cloned() },
            _ => command::Command::Untag { at, name: tag()? },
        };
        (place, command)
    } else {
        let (place, version) = history::version(matches)?;
        let at = place.target.clone();
        let command = match name {
            "tag" => command::Command::Tag { at, version, name: tag()? },
            "expire" => command::Command::Expire { at, version },
            "undelete" => command::Command::Undelete { at, version },
            _ => command::Command::Pin { at, version, on: name == "pin" },
        };
        (place, command)
    };
    match place.ask(command, daemon)? {
        Answer::Changed(changed) if matches.get_flag("json") => history::print_json(&changed),
        Answer::Changed(changed) => print(&(said(name, &changed, matches) + "\n")),
        _ => Err(history::odd()),
    }
}

fn said(name: &str, changed: &Changed, matches: &ArgMatches) -> String {
    let Changed { run, version, .. } = changed;
    let number = version.number;
    let tags = version.tags.join(", ");
    let what = match name {
        "snapshot" if version.is_good() => "made, complete and valid".to_owned(),
        "snapshot" => format!("made, not complete and valid: {}", version.why.join("; ")),
        "tag" | "untag" if tags.is_empty() => "has no tag any more".to_owned(),
        "tag" | "untag" => format!("tagged: {tags}"),
        "pin" => "pinned".to_owned(),
        "unpin" => "no longer pinned".to_owned(),
        "undelete" => "taken back".to_owned(),
        _ => {
            let left = duration_text(Duration::from_secs(changed.undelete_seconds));
            let given = matches.get_one::<String>("version").filter(|version| version.contains('/'));
            let which = given.cloned().unwrap_or_else(|| number.to_string() + &history::given_path(matches));
            format!("removed; for {left} it comes back with: ckptfs undelete {which}")
        }
    };
    format!("version {number:06} of {run}: {what}")
}
