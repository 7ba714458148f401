//! The same versions by time, by tag and by step, and what is recorded of each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::names::{exact_time_name, number_name, parse_number, parse_time, tag_name, time_name};
use super::node::{Home, Link, Node, Row, View};
use super::{Browser, PLAN_HOLDS};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::retention::Verdict;
use crate::version::record::Version;

impl Browser {
    /// What `name` is in a view.
    pub(super) fn in_view(&self, home: &Home, view: &View, name: &[u8]) -> Result<Option<Node>> {
        match view {
            View::Files(names) => self.in_files(home, names, name),
            View::Runs(names) => self.in_runs(home, names, name),
            View::At => self.at(home, name),
            View::Info => {
                let Some(seat) = self.seat(home)? else { return Ok(None) };
                let number = name.strip_suffix(b".json").and_then(parse_number);
                let Some(number) = number else { return Ok(None) };
                let there = self.version_in(home, &seat, number, name)?.is_some();
                Ok(there.then(|| Node::Info(home.clone(), seat.id, number)))
            }
            View::ByTime | View::ByTag | View::ByStep => {
                let found = self.rows_of_view(home, view)?.into_iter().find(|row| row.name == name);
                Ok(found.map(|row| row.node))
            }
        }
    }

    /// All names of a view.
    pub(super) fn rows_of_view(&self, home: &Home, view: &View) -> Result<Vec<Row>> {
        match view {
            View::Files(names) => return self.rows_of_files(home, names),
            View::Runs(names) => return self.rows_of_runs(home, names),
            _ => {}
        }
        let Some(seat) = self.seat(home)? else { return Ok(Vec::new()) };
        let versions = self.versions(&seat)?;
        let named: Vec<(String, &Version)> = match view {
            View::ByTime => by_time(&versions),
            View::ByTag => by_tag(&versions),
            View::ByStep => by_step(&versions),
            View::Info => {
                let info = |version: &Version| Row {
                    name: format!("{}.json", number_name(version.number)).into_bytes(),
                    node: Node::Info(home.clone(), seat.id, version.number),
                };
                return Ok(versions.iter().map(info).collect());
            }
            View::At | View::Files(_) | View::Runs(_) => Vec::new(),
        };
        let row = |(name, version): (String, &Version)| Row {
            node: link(home, view, name.as_bytes(), version),
            name: name.into_bytes(),
        };
        Ok(named.into_iter().map(row).collect())
    }

    /// A link to the newest version at or before the time that `name` says.
    fn at(&self, home: &Home, name: &[u8]) -> Result<Option<Node>> {
        let (Some(until), Some(seat)) = (parse_time(name), self.seat(home)?) else { return Ok(None) };
        let versions = self.versions(&seat)?;
        let found = versions.iter().rev().find(|version| version.moment() <= until);
        Ok(found.map(|version| link(home, &View::At, name, version)))
    }

    /// All that is recorded of a version, as JSON, and its moment.
    pub(super) fn info(&self, run: RunId, number: u32) -> Result<(Vec<u8>, Time)> {
        let version = self.engine.version(run, number)?.ok_or(Error::Errno(libc::ENOENT))?;
        let plan = self.planned(run)?;
        let verdict = plan.iter().find(|verdict| verdict.number == number);
        let mut all = serde_json::to_value(&version).map_err(not_json)?;
        if let Some(fields) = all.as_object_mut() {
            let keep = verdict.map(|verdict| &verdict.keep);
            fields.insert("run".to_owned(), serde_json::json!(run));
            fields.insert("keep".to_owned(), serde_json::to_value(keep).map_err(not_json)?);
            fields.insert("time_utc".to_owned(), serde_json::json!(exact_time_name(version.moment())));
        }
        let mut text = serde_json::to_vec_pretty(&all).map_err(not_json)?;
        text.push(b'\n');
        Ok((text, version.moment()))
    }

    /// What the policy says of a run. Asked once for a listing, not once for each version in it.
    fn planned(&self, run: RunId) -> Result<Arc<Vec<Verdict>>> {
        let known = self.planned.lock().clone();
        if let Some((at, of, plan)) = known
            && of == run
            && at.elapsed() < PLAN_HOLDS
        {
            return Ok(plan);
        }
        let plan = Arc::new(self.engine.plan(run)?);
        *self.planned.lock() = Some((Instant::now(), run, plan.clone()));
        Ok(plan)
    }
}

fn not_json(error: serde_json::Error) -> Error {
    Error::Refused(format!("the record of a version cannot be written as JSON: {error}"))
}

fn link(home: &Home, view: &View, name: &[u8], version: &Version) -> Node {
    Node::Link(Link {
        home: home.clone(),
        view: Some(view.clone()),
        name: name.to_vec(),
        target: format!("../{}", number_name(version.number)).into_bytes(),
        time: version.moment(),
    })
}

/// The newest version of a second has the plain name; those before it in that second are told apart by their fraction.
fn by_time(versions: &[Version]) -> Vec<(String, &Version)> {
    let mut plain = HashMap::new();
    for version in versions {
        plain.insert(version.time.0, version.number);
    }
    let name = |version: &Version| {
        let is_newest = plain.get(&version.time.0) == Some(&version.number);
        if is_newest { time_name(version.moment()) } else { exact_time_name(version.moment()) }
    };
    let mut named: Vec<(String, &Version)> =
        versions.iter().filter_map(|version| Some((name(version)?, version))).collect();
    // Two of one nanosecond: the later one has the name.
    named.reverse();
    let mut seen = std::collections::HashSet::new();
    named.retain(|(name, _)| seen.insert(name.clone()));
    named
}

fn by_tag(versions: &[Version]) -> Vec<(String, &Version)> {
    versions
        .iter()
        .flat_map(|version| version.tags.iter().map(move |tag| (tag.clone(), version)))
        .filter(|(tag, _)| tag_name(tag.as_bytes()).is_some())
        .collect()
}

/// The newest good version of each step, or the newest of all where none is good.
fn by_step(versions: &[Version]) -> Vec<(String, &Version)> {
    let mut chosen: HashMap<u64, &Version> = HashMap::new();
    for version in versions {
        let Some(step) = version.step else { continue };
        if version.is_good() || chosen.get(&step).is_none_or(|other| !other.is_good()) {
            chosen.insert(step, version);
        }
    }
    chosen.into_iter().map(|(step, version)| (step.to_string(), version)).collect()
}
