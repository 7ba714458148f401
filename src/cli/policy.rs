//! `ckptfs policy get` and `policy set`: which versions of a run stay.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::failure::{Failure, Outcome};
use super::history::{self, PATH_HELP};
use super::rows::table;
use super::{Daemon, print};
use crate::command::{self, Answer, PolicyShown, Source};
use crate::retention::Policy;

const JSON_HELP: &str = "\
JSON fields (stable):
  run                        the run's path below the mount, or null for the policy of the mount
  settings[].name, .value    every setting, as policy set takes it
  settings[].from            default, mount or run: where the value comes from
  wrong                      why the settings make no sense together, or null; until they do, all versions stay";

pub(super) fn command() -> Command {
    let mount = |help: &'static str| {
        Arg::new("default").long("default").conflicts_with("run").action(ArgAction::SetTrue).help(help)
    };
    Command::new("policy")
        .about("Show or change which versions stay")
        .long_about(
            "Show or change which versions stay.\n\nThe mount has one policy, made of its options; a run can differ in \
             single settings. A version stays if any rule keeps it.",
        )
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([
            Command::new("get")
                .about("Show every setting that holds for a run, and where it comes from")
                .long_about(format!(
                    "Show every setting that holds for a run, and where it comes from: the program's default, the mount, or \
                     the run itself.\n\n{PATH_HELP}\n\nExamples:\n  ckptfs policy get /mnt/runs/exp1\n  ckptfs policy get \
                     --default /mnt/runs"
                ))
                .after_long_help(JSON_HELP)
                .arg(history::path_arg())
                .arg(mount("That of the mount, which holds for runs without settings of their own"))
                .args(history::common_args()),
            Command::new("set")
                .about("Change settings of a run, or of the mount")
                .long_about(format!(
                    "Change settings of a run, or of the mount.\n\nNAME=default takes a run's setting back to the mount's, and \
                     with --default the mount's back to the program's; NAME=off switches a rule off. All settings are \
                     changed or, if they make no sense together, none. With --default the store's config.toml is written \
                     too, so that the next mount has them; a flag or -o of that mount still goes before it. Retention acts \
                     on the new policy after the next version, or at `ckptfs prune`.\n\nSettings:\n{}\n\n{PATH_HELP}\n\n\
                     Examples:\n  ckptfs policy set /mnt/runs/exp1 max_to_keep=5 keep_best=3 monitor=val_loss\n  ckptfs policy \
                     set /mnt/runs/exp1 keep_best=default\n  ckptfs policy set --default /data/store keep_daily=14",
                    settings()
                ))
                .after_long_help(JSON_HELP)
                .arg(history::path_arg().required(true).default_value(None::<&str>))
                .arg(
                    Arg::new("settings")
                        .value_name("NAME=VALUE")
                        .required(true)
                        .num_args(1..)
                        .help("A setting and its value"),
                )
                .arg(mount("Change that of the mount, and config.toml of the store"))
                .args(history::common_args()),
        ])
}

fn settings() -> String {
    let line = |(name, value, default, help): &(&str, &str, &str, &str)| {
        format!("  {name}={value} (default: {default})\n      {help}")
    };
    Policy::NAMES.iter().map(line).collect::<Vec<_>>().join("\n")
}

pub(super) fn run(matches: &ArgMatches, daemon: &dyn Daemon) -> Outcome {
    let Some((name, matches)) = matches.subcommand() else {
        return Err(Failure::Usage("no command given; see: ckptfs policy --help".into()));
    };
    let asked_settings = matches.try_get_many::<String>("settings").ok().flatten();
    let settings =
        asked_settings.into_iter().flatten().map(|word| pair(word)).collect::<Outcome<Vec<_>>>()?;
    let place = history::place(matches)?;
    let at = (!matches.get_flag("default")).then(|| place.target.clone());
    let asked = match name {
        "set" => command::Command::PolicySet { at, settings },
        _ => command::Command::PolicyGet { at },
    };
    match place.ask(asked, daemon)? {
        Answer::Policy(shown) if matches.get_flag("json") => history::print_json(&shown),
        Answer::Policy(shown) => print(&render(&shown)),
        _ => Err(history::odd()),
    }
}

/// `NAME=VALUE`, judged here where it can be: a wrong one is wrong usage.
fn pair(word: &str) -> Outcome<(String, String)> {
    let Some((name, value)) = word.split_once('=') else {
        return Err(Failure::Usage(format!(
            "'{word}' is no setting; write NAME=VALUE, for example max_to_keep=3"
        )));
    };
    let mut own = crate::retention::Overrides::default();
    own.set(name, value).map_err(Failure::Usage)?;
    Ok((name.to_owned(), value.to_owned()))
}

fn render(shown: &PolicyShown) -> String {
    let of = shown.run.as_ref().map_or("the mount".to_owned(), |run| format!("the run {run}"));
    let from = |from| match from {
        Source::Default => "",
        Source::Mount => "mount",
        Source::Run => "run",
    };
    let rows: Vec<Vec<String>> = shown
        .settings
        .iter()
        .map(|setting| vec![setting.name.clone(), setting.value.clone(), from(setting.from).to_owned()])
        .collect();
    let wrong =
        shown.wrong.as_ref().map(|why| format!("these contradict each other, so all versions stay: {why}\n"));
    format!("policy of {of}\n{}{}", table(&["SETTING", "VALUE", "SET BY"], &rows), wrong.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Setting;

    #[test]
    fn wrong_settings_are_wrong_usage() {
        assert_eq!(pair("max-to-keep=3").unwrap(), ("max-to-keep".into(), "3".into()));
        for (word, part) in
            [("max_to_keep", "NAME=VALUE"), ("max_keep=3", "'max_to_keep'"), ("keep_best=x", "'x'")]
        {
            let Err(Failure::Usage(said)) = pair(word) else { panic!("{word}") };
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_person_sees_where_a_value_comes_from_and_what_is_wrong() {
        let setting = Setting { name: "keep_best".into(), value: "3".into(), from: Source::Run };
        let shown = PolicyShown {
            run: Some("exp".into()),
            settings: vec![setting],
            wrong: Some("no monitor".into()),
        };
        let text = render(&shown);
        assert!(
            text.contains("keep_best  3      run\n") && text.contains("all versions stay: no monitor"),
            "{text}"
        );
        let json = serde_json::to_value(&shown).unwrap();
        assert!(json.as_object().unwrap().keys().all(|name| JSON_HELP.contains(name)));
    }
}
