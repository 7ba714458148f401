//! Plans computed by hand: rules about number, age, step and metric.
//!
//! A version is written `NUMBER@TIME WORD...`; times are a date or hours and minutes after 1970-01-01 UTC.

use super::*;

/// The version that `text` describes.
pub(super) fn version(text: &str) -> Candidate {
    let mut words = text.split_whitespace();
    let (number, at) = words.next().unwrap().split_once('@').unwrap();
    let mut one = Candidate {
        number: number.parse().unwrap(),
        time: time(at),
        good: true,
        step: None,
        metrics: Default::default(),
        tagged: false,
        pinned: false,
        in_use: false,
        kept_for_ever: false,
    };
    for word in words {
        match word.split_once('=') {
            Some(("step", step)) => one.step = Some(step.parse().unwrap()),
            Some((metric, value)) => drop(one.metrics.insert(metric.into(), value.parse().unwrap())),
            None => match word {
                "bad" => one.good = false,
                "tag" => one.tagged = true,
                "pin" => one.pinned = true,
                "open" => one.in_use = true,
                "forever" => one.kept_for_ever = true,
                _ => panic!("{word}"),
            },
        }
    }
    one
}

pub(super) fn versions(texts: &[&str]) -> Vec<Candidate> {
    texts.iter().map(|text| version(text)).collect()
}

pub(super) fn time(text: &str) -> i64 {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_second(),
        Err(_) => i64::try_from(duration::parse(text).unwrap().as_secs()).unwrap(),
    }
}

/// The default policy with these settings.
pub(super) fn policy(text: &str) -> Policy {
    let mut policy = Policy::default();
    for word in text.split_whitespace() {
        let (name, value) = word.split_once('=').unwrap();
        policy.set(name, value).unwrap();
    }
    policy.check().unwrap();
    policy
}

/// What stays, as `NUMBER: REASON, REASON`, with a star where it is kept for ever from now on.
fn shown(verdicts: &[Verdict]) -> Vec<String> {
    let stay = verdicts.iter().filter(|verdict| verdict.stays());
    stay.map(|verdict| {
        let reasons: Vec<String> = verdict.keep.iter().map(Reason::to_string).collect();
        let star = if verdict.now_kept_for_ever { "*" } else { "" };
        format!("{}{star}: {}", verdict.number, reasons.join(", "))
    })
    .collect()
}

/// Name, versions, policy, now, and what stays.
pub(super) type Case =
    (&'static str, &'static [&'static str], &'static str, &'static str, &'static [&'static str]);

pub(super) fn check(cases: &[Case]) {
    for (name, texts, settings, now, expected) in cases {
        let verdicts = plan(&versions(texts), &policy(settings), time(now));
        assert_eq!(shown(&verdicts), *expected, "{name}");
        assert_eq!(verdicts.len(), texts.len(), "{name}");
        for verdict in &verdicts {
            assert_eq!(verdict.stays(), verdict.because.is_empty(), "{name}: {verdict:?}");
            assert!(verdict.stays() || !verdict.now_kept_for_ever, "{name}: {verdict:?}");
        }
    }
}

#[test]
fn by_count() {
    check(&[
        ("no versions", &[], "", "1h", &[]),
        (
            "the newest three",
            &["1@0h", "2@1h", "3@2h", "4@3h", "5@4h"],
            "max_to_keep=3",
            "4h",
            &["3: newest 3 of 3", "4: newest 2 of 3", "5: newest 1 of 3, newest complete"],
        ),
        ("fewer than asked", &["7@0h"], "max_to_keep=3", "90d", &["7: newest 1 of 3, newest complete"]),
        (
            "0 keeps all",
            &["1@0h", "2@1h"],
            "max_to_keep=0",
            "90d",
            &["1: newest 2 of all", "2: newest 1 of all, newest complete"],
        ),
        (
            "numbers may have gaps",
            &["3@0h", "8@1h", "9@2h"],
            "max_to_keep=2",
            "2h",
            &["8: newest 2 of 2", "9: newest 1 of 2, newest complete"],
        ),
        (
            "all in one second: by number",
            &["1@0h", "2@0h", "3@0h"],
            "max_to_keep=1",
            "0h",
            &["3: newest 1 of 1, newest complete"],
        ),
        (
            "a pinned one counts, and stays when it has left",
            &["1@0h pin", "2@1h pin", "3@2h"],
            "max_to_keep=2",
            "2h",
            &["1: pin", "2: newest 2 of 2, pin", "3: newest 1 of 2, newest complete"],
        ),
    ]);
}

#[test]
fn incomplete_ones() {
    check(&[
        (
            "they never count",
            &["1@0h", "2@1h bad", "3@2h", "4@3h bad"],
            "max_to_keep=2",
            "3h",
            &[
                "1: newest 2 of 2",
                "2: incomplete, still young",
                "3: newest 1 of 2, newest complete",
                "4: incomplete, still young",
            ],
        ),
        ("as old as the ttl: gone", &["1@0h", "2@1h bad"], "", "5h", &["1: newest 1 of 10, newest complete"]),
        (
            "a second younger: not yet",
            &["1@0h", "2@1h bad"],
            "",
            "4h59m59s",
            &["1: newest 1 of 10, newest complete", "2: incomplete, still young"],
        ),
        (
            "only the newest three",
            &["1@1h bad", "2@1h bad", "3@1h bad", "4@1h bad"],
            "",
            "1h",
            &["2: incomplete, still young", "3: incomplete, still young", "4: incomplete, still young"],
        ),
        ("off: none stays", &["1@0h bad"], "incomplete_ttl=off", "0h", &[]),
        ("at most none: none stays", &["1@0h bad"], "incomplete_max=0", "0h", &[]),
        (
            "the newest good one is not the newest one",
            &["1@0h", "2@1h", "3@2h bad", "4@3h bad"],
            "max_to_keep=1",
            "90d",
            &["2: newest 1 of 1, newest complete"],
        ),
        (
            "tags, pins, open ones and those kept for ever stay, also when invalid",
            &["1@0h bad tag", "2@0h bad pin", "3@0h bad open", "4@0h bad forever", "5@0h bad"],
            "",
            "90d",
            &["1: tag", "2: pin", "3: in use", "4: every n hours"],
        ),
        (
            "rules about good versions do not keep them",
            &["1@0h bad step=100 loss=0.1", "2@1h step=7 loss=0.9"],
            "keep_period=100 keep_steps=100 keep_best=1 monitor=loss keep_within=9w keep_daily=3 keep_yearly=3",
            "7d",
            &["2: newest 1 of 10, best, within, daily, yearly, newest complete"],
        ),
    ]);
}

#[test]
fn by_step_and_metric() {
    check(&[
        (
            "multiples, 0 among them",
            &["1@0h step=0", "2@0h step=100", "3@0h step=150", "4@0h step=200", "5@0h"],
            "max_to_keep=1 keep_period=100",
            "0h",
            &["1: period", "2: period", "4: period", "5: newest 1 of 1, newest complete"],
        ),
        (
            "these steps, also twice",
            &["1@0h step=5", "2@0h step=6", "3@0h step=5", "4@0h step=7"],
            "max_to_keep=1 keep_steps=5:999",
            "0h",
            &["1: step", "3: step", "4: newest 1 of 1, newest complete"],
        ),
        (
            "the two lowest; not a number and missing are never best",
            &["1@0h loss=0.5", "2@0h loss=0.3", "3@0h loss=0.4", "4@0h loss=nan", "5@0h", "6@0h acc=0"],
            "max_to_keep=1 keep_best=2 monitor=loss",
            "0h",
            &["2: best", "3: best", "6: newest 1 of 1, newest complete"],
        ),
        (
            "fewer numbers than asked for",
            &["1@0h loss=nan", "2@0h loss=inf", "3@0h"],
            "max_to_keep=1 keep_best=2 monitor=loss",
            "0h",
            &["2: best", "3: newest 1 of 1, newest complete"],
        ),
        (
            "of equal ones the newer",
            &["1@0h acc=0.9", "2@0h acc=0.9", "3@0h acc=0.1"],
            "max_to_keep=1 keep_best=1 monitor=acc mode=max",
            "0h",
            &["2: best", "3: newest 1 of 1, newest complete"],
        ),
        (
            "a monitor alone keeps nothing",
            &["1@0h loss=0.1", "2@0h loss=0.9"],
            "max_to_keep=1 monitor=loss",
            "0h",
            &["2: newest 1 of 1, newest complete"],
        ),
    ]);
}

#[test]
fn by_age() {
    check(&[
        (
            "younger than, not as old as",
            &["1@0h", "2@1h", "3@2h", "4@3h"],
            "max_to_keep=1 keep_within=2h",
            "3h",
            &["3: within", "4: newest 1 of 1, within, newest complete"],
        ),
        (
            "the count keeps what is older",
            &["1@0h", "2@1h", "3@2h"],
            "max_to_keep=2 keep_within=1h",
            "90d",
            &["2: newest 2 of 2", "3: newest 1 of 2, newest complete"],
        ),
        (
            "versions made by a clock that went back are no older than the one before",
            &["1@0h", "2@10h", "3@2h", "4@3h"],
            "max_to_keep=1 keep_within=3h",
            "12h",
            &["2: within", "3: within", "4: newest 1 of 1, within, newest complete"],
        ),
        (
            "now is no earlier than the newest version",
            &["1@0h", "2@6h", "3@10h"],
            "max_to_keep=1 keep_within=5h",
            "1h",
            &["2: within", "3: newest 1 of 1, within, newest complete"],
        ),
    ]);
}

#[test]
fn why_a_version_goes_is_said() {
    let verdicts = plan(
        &versions(&["1@0h", "2@1h bad", "3@9h bad", "4@9h bad", "5@9h"]),
        &policy("max_to_keep=1 incomplete_max=1"),
        time("9h"),
    );
    let because: Vec<&str> = verdicts.iter().map(|verdict| verdict.because.as_str()).collect();
    assert_eq!(
        because,
        [
            "not among the newest 1, and no other rule keeps it",
            "incomplete or invalid for 4h or longer",
            "incomplete or invalid, and only the newest 1 of these stay",
            "",
            "",
        ]
    );
}

#[test]
fn the_best_version_is_named_with_or_without_the_rule() {
    let versions = versions(&["1@0h loss=0.1 bad", "2@0h loss=0.2", "3@0h loss=0.2", "4@0h loss=nan"]);
    assert_eq!(best(&versions, &policy("monitor=loss")), Some(3));
    assert_eq!(best(&versions, &policy("monitor=acc")), None);
    assert_eq!(best(&versions, &policy("")), None);
}
