//! Commands on an open store, as the command line asks them.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};
use crate::engine::Options;
use crate::engine::history::HistoryOptions;
use crate::engine::shutdown::End;
use crate::engine::workers::Workers;
use crate::namespace::Caller;
use crate::retention::Policy;

const ME: Caller = Caller { uid: 0, gid: 0 };

struct World {
    engine: Arc<Engine>,
    workers: Workers,
    _dir: tempfile::TempDir,
}

fn open() -> World {
    let dir = tempfile::tempdir().unwrap();
    let settle = Duration::from_secs(3600);
    let policy = Policy { max_to_keep: 0, ..Policy::default() };
    let options = Options {
        settle,
        hot_cache_bytes: 0,
        cache_bytes: 16 << 20,
        threads: 1,
        hydrate_threads: 1,
        scrub_rate: 0,
        hot: None,
        meta: crate::meta::Options::default(),
        history: HistoryOptions { settle, policy, ..HistoryOptions::default() },
    };
    let engine = Engine::start(dir.path(), options, ME, &Silent).unwrap();
    World { workers: Workers::start(&engine).unwrap(), engine, _dir: dir }
}

impl World {
    fn dir(&self, parent: Ino, name: &str) -> Ino {
        self.engine.names().mkdir(parent, name.as_bytes(), 0o755, ME).unwrap().ino
    }

    fn ask(&self, command: Command) -> Answer {
        // As over the socket.
        let text = serde_json::to_string(&command).unwrap();
        let answer = execute(&self.engine, serde_json::from_str(&text).unwrap(), &Silent).unwrap();
        let back = serde_json::from_str(&serde_json::to_string(&answer).unwrap()).unwrap();
        assert_eq!(answer, back);
        answer
    }

    fn refused(&self, command: Command) -> String {
        let said = execute(&self.engine, command, &Silent).unwrap_err().to_string();
        assert!(!said.contains('\n') && !said.contains("os error"), "{said}");
        said
    }

    fn snapshot(&self, at: Target) -> Changed {
        match self.ask(Command::Snapshot { at, tag: None }) {
            Answer::Changed(changed) => *changed,
            other => panic!("{other:?}"),
        }
    }

    fn log(&self, at: Target) -> Log {
        match self.ask(Command::Log { at, limit: None, removed: false }) {
            Answer::Log(log) => log,
            other => panic!("{other:?}"),
        }
    }

    /// `expire`, which says of which run and version it was meant.
    fn expired(&self, at: Target, version: Option<&str>) -> (String, u32) {
        match self.ask(Command::Expire { at, version: version.map(str::to_owned) }) {
            Answer::Changed(changed) => (changed.run, changed.version.number),
            other => panic!("{other:?}"),
        }
    }
}

fn path(path: &str) -> Target {
    Target::Path(path.to_owned())
}

fn run(path: &str) -> Target {
    Target::Run(path.to_owned())
}

#[test]
fn a_path_means_the_run_at_or_above_it_and_a_mistyped_one_nothing() {
    let world = open();
    let exp = world.dir(ROOT, "exp");
    world.dir(exp, "logs");
    assert!(
        world.refused(Command::Log { at: path("exp"), limit: None, removed: false }).contains("in no run")
    );
    let Answer::Policy(shown) = world.ask(Command::PolicyGet { at: Some(path("exp")) }) else {
        panic!("policy")
    };
    assert_eq!(shown.run, None, "that of the mount");
    assert!(world.refused(Command::PolicyGet { at: Some(path("typo")) }).contains("does not exist"));
    assert!(world.refused(Command::PolicyGet { at: Some(Target::Only) }).contains("no runs yet"));
    world.snapshot(path("exp"));
    assert_eq!(world.snapshot(path("exp/logs")).run, "exp");
    assert_eq!((world.log(path("exp/logs")).run, world.log(Target::Only).versions.len()), ("exp".into(), 2));
    for wrong in [path("exp/typo"), path("typo"), run("typo"), run("exp/logs")] {
        let said = world.refused(Command::Expire { at: wrong, version: Some("1".into()) });
        assert!(said.contains("exp"), "{said}");
    }
    world.snapshot(path(""));
    assert!(world.refused(Command::RunForget { at: Target::Only }).contains("--run"));
    assert_eq!(world.log(run("/")).run, "/");
    drop(world.workers);
}

#[test]
fn a_deleted_run_is_found_by_its_path_even_below_a_live_one() {
    let world = open();
    let exp = world.dir(ROOT, "exp");
    world.dir(exp, "a");
    world.snapshot(path(""));
    world.ask(Command::RunAdd { at: path("exp/a") });
    world.snapshot(path("exp/a"));
    world.engine.rmdir(exp, b"a").unwrap();
    assert_eq!(world.log(path("exp/a")).run, "exp/a");
    assert_eq!(world.log(path("exp/a/checkpoints")).run, "exp/a");
    assert_eq!(world.log(path("exp/.snapshots/.runs/a")).run, "exp/a");
    assert_eq!(world.log(path("exp")).run, "/");
    assert!(world.refused(Command::Snapshot { at: path("exp/a"), tag: None }).contains("does not exist"));
    let Answer::Runs(runs) = world.ask(Command::RunList) else { panic!("runs") };
    assert_eq!(runs.iter().map(|run| run.deleted.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(world.expired(path(".snapshots/.runs/exp/a/000001"), None), ("exp/a".into(), 1));
    // Made again, and not saved into yet: the old history goes on there.
    world.dir(exp, "a");
    assert_eq!(world.log(path("exp/a")).run, "exp/a");
    assert!(world.refused(Command::RunForget { at: path("exp/a/typo") }).contains("does not exist"));
    assert_eq!(world.snapshot(path("exp/a")).version.number, 2);
    drop(world.workers);
}

#[test]
fn versions_are_named_by_number_word_tag_or_path() {
    let world = open();
    for _ in 0..5 {
        world.snapshot(path(""));
    }
    world.ask(Command::Tag { at: path(""), version: Some("000002".into()), name: "good".into() });
    let pin =
        |name: &str| match world.ask(Command::Pin { at: path(""), version: Some(name.into()), on: true }) {
            Answer::Changed(changed) => changed.version.number,
            other => panic!("{other:?}"),
        };
    assert_eq!([pin("3"), pin("newest"), pin("latest"), pin("good")], [3, 5, 5, 2]);
    world.ask(Command::Pin { at: path(".snapshots/000003"), version: None, on: false });
    assert_eq!(world.expired(path(".snapshots/000003/sub"), None), ("/".into(), 3));
    assert_eq!(world.log(path("")).versions.len(), 4);
    for (name, part) in [
        ("9", "1 to 5"),
        ("best", "monitor"),
        ("bad", "'bad'"),
        ("3", "log --removed"),
        ("4294967296", "1 to 5"),
    ] {
        let said = world.refused(Command::Expire { at: path(""), version: Some(name.into()) });
        assert!(said.contains(part), "{said}");
    }
    assert!(world.refused(Command::Expire { at: path(""), version: None }).contains("no version is named"));
    assert!(
        world.refused(Command::Expire { at: path(".snapshots/.info/x"), version: None }).contains("number")
    );
    drop(world.workers);
}

#[test]
fn a_policy_is_shown_with_its_sources_and_changed_as_a_whole() {
    let world = open();
    world.snapshot(path(""));
    let set = |at: Option<Target>, words: &[(&str, &str)]| Command::PolicySet {
        at,
        settings: words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let shown = |answer| match answer {
        Answer::Policy(shown) => shown,
        other => panic!("{other:?}"),
    };
    let value = |shown: &PolicyShown, name: &str| {
        let found = shown.settings.iter().find(|setting| setting.name == name).unwrap();
        (found.value.clone(), found.from)
    };
    let said = world.refused(set(Some(path("")), &[("max_to_keep", "3"), ("keep_best", "2")]));
    assert!(said.contains("monitor"), "{said}");
    let after = shown(
        world.ask(set(Some(path("")), &[("max_to_keep", "3"), ("keep_best", "2"), ("monitor", "loss")])),
    );
    assert_eq!(value(&after, "max_to_keep"), ("3".into(), Source::Run));
    world.ask(set(None, &[("keep_daily", "7"), ("incomplete_ttl", "off")]));
    let after = shown(world.ask(set(Some(path("")), &[("max_to_keep", "default")])));
    assert_eq!(value(&after, "max_to_keep"), ("0".into(), Source::Mount));
    assert_eq!(value(&after, "keep_daily"), ("7".into(), Source::Mount));
    assert_eq!(value(&after, "mode"), ("min".into(), Source::Default));
    let config = world.engine.store().join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("keep_daily = \"7\"\n"), "{text}");
    world.ask(set(None, &[("keep_daily", "default")]));
    assert!(!std::fs::read_to_string(&config).unwrap().contains("keep_daily"));
    std::fs::write(&config, "thread = 3\n").unwrap();
    assert!(world.refused(set(None, &[("keep_daily", "7")])).contains("'threads'"));
    assert_eq!(world.engine.mount_policy().keep_daily, 0, "nothing is half done");
    drop(world.workers);
}

#[test]
fn a_plan_is_shown_before_it_is_done() {
    let world = open();
    for _ in 0..3 {
        world.snapshot(path(""));
    }
    world.ask(Command::PolicySet { at: Some(path("")), settings: vec![("max_to_keep".into(), "1".into())] });
    let plan = |at, dry_run| match world.ask(Command::Prune { at, dry_run }) {
        Answer::Plan(mut runs) => runs.remove(0),
        other => panic!("{other:?}"),
    };
    let planned = plan(Some(path("")), true);
    assert_eq!(planned.versions.iter().map(|one| one.stays).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!((planned.removed, world.log(path("")).versions.len()), (0, 3));
    assert_eq!(plan(None, false).removed, 2);
    assert_eq!(world.log(path("")).versions[0].kept_by[0], "newest 1 of 1");
    world.ask(Command::RunForget { at: path("") });
    assert!(world.refused(Command::Prune { at: Some(path("")), dry_run: false }).contains("purge"));
    assert!(world.refused(Command::Snapshot { at: path(""), tag: None }).contains("run add"));
    drop(world.workers);
}

#[test]
fn ten_thousand_versions_are_listed_and_planned() {
    let world = open();
    let first = world.snapshot(path("")).version;
    let (id, _) = world.engine.run_at(ROOT).unwrap();
    let record = |number| {
        let version = crate::version::record::Version { number, ..first.clone() };
        let key = crate::catalog::keys::version(id, number);
        (key, Some(crate::version::record::encode(&version)))
    };
    for begin in (2..=10_000).step_by(1000) {
        let end = (begin + 999).min(10_000);
        world.engine.names().record((begin..=end).map(record).collect()).unwrap();
    }
    let log = world.log(path(""));
    assert_eq!((log.versions.len(), log.versions[0].version.number), (10_000, 10_000));
    let Answer::Log(some) = world.ask(Command::Log { at: path(""), limit: Some(3), removed: false }) else {
        panic!("log")
    };
    assert_eq!(some.versions[..], log.versions[..3]);
    let Answer::Plan(runs) = world.ask(Command::Prune { at: None, dry_run: true }) else { panic!("plan") };
    assert_eq!(runs[0].versions.len(), 10_000);
    drop(world.workers);
}

#[test]
fn only_what_looks_works_while_the_store_closes() {
    let world = open();
    world.snapshot(path(""));
    world.engine.shut_down(&world.workers, End::InUse).unwrap();
    assert_eq!(world.log(path("")).versions.len(), 1);
    assert!(execute(&world.engine, Command::RunAdd { at: path("") }, &Silent).is_err());
}

#[test]
fn stats_are_of_the_versions_of_a_run_or_of_all_runs() {
    let world = open();
    let stats = |at| match world.ask(Command::Stats { at }) {
        Answer::Stats(stats) => *stats,
        other => panic!("{other:?}"),
    };
    assert_eq!((stats(Some(Target::Only)).run, stats(None).runs.len()), (None, 0));
    world.dir(world.dir(ROOT, "exp"), "logs");
    world.dir(ROOT, "other");
    for _ in 0..2 {
        world.snapshot(path("exp"));
    }
    let one = stats(Some(path("exp/logs")));
    assert_eq!((one.run.as_deref(), one.runs.len()), (Some("exp"), 0));
    assert_eq!(one.versions.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(one, stats(Some(Target::Only)), "the only run");
    world.snapshot(path("other"));
    let paths = |stats: StatsShown| stats.runs.into_iter().map(|run| run.path).collect::<Vec<_>>();
    for at in [None, Some(Target::Only), Some(path(""))] {
        assert_eq!(paths(stats(at)), ["exp", "other"]);
    }
    assert!(world.refused(Command::Stats { at: Some(run("typo")) }).contains("exp"));
    drop(world.workers);
}
