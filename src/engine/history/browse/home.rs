//! A directory of versions: which run it shows, which versions, and what else is beside them.
//!
//! A live directory shows its own run; where it is none, the deleted run that was at its path, since that goes on when
//! the directory becomes a run again; else the innermost run above it, and of that the versions that had the directory.

use super::access::{Owner, seen_through};
use super::names::{number_name, parse_number, tag_name};
use super::node::{Home, Item, Link, Names, Node, Row, View};
use super::{Browser, DIR_SIZE};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::catalog::records::Inode;
use crate::content::tree::{Body, Entry};
use crate::retention;
use crate::version::record::{Run, Version, path_text};
use crate::version::trees::Trees;

/// Which run a home shows, and where in it.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) id: RunId,
    pub(super) run: Run,
    /// The names that lead from the run to the directory.
    pub(super) path: Names,
}

impl Browser {
    /// The run that a home shows; `None` where the directory is in none.
    pub(super) fn seat(&self, home: &Home) -> Result<Option<Seat>> {
        let engine = &self.engine;
        let own = |id, run| Some(Seat { id, run, path: Vec::new() });
        if let Some(id) = home.way.last() {
            return Ok(own(*id, engine.run(*id).ok_or(Error::Errno(libc::ENOENT))?));
        }
        if let Some((id, run)) = engine.run_at(home.dir) {
            return Ok(own(id, run));
        }
        let path = path_text(&engine.dir_path(home.dir)?);
        if let Some((id, run)) = engine.dead_run_at(&path) {
            return Ok(own(id, run));
        }
        let Some((id, path)) = engine.run_above(home.dir)? else { return Ok(None) };
        Ok(engine.run(id).map(|run| Seat { id, run, path }))
    }

    /// Owner and permissions of a home: those of the live directory, or of what was there last.
    pub(super) fn owner(&self, home: &Home) -> Result<Owner> {
        let Some(id) = home.way.last() else {
            let dir = self.engine.ns.find(home.dir)?.ok_or(Error::Errno(libc::ENOENT))?;
            return if dir.is_dir() { Ok(live(&dir)) } else { Err(Error::Errno(libc::ENOTDIR)) };
        };
        let run = self.engine.run(*id).ok_or(Error::Errno(libc::ENOENT))?;
        if let Some(dir) = run.dir
            && let Some(dir) = self.engine.ns.find(dir)?
        {
            return Ok(live(&dir));
        }
        match self.engine.newest_version(*id)? {
            Some(newest) => Ok(Owner::of(&Trees::new(&self.engine.packs).top(&newest.tree)?)),
            None => Ok(Owner { mode: 0o700, uid: 0, gid: 0, time: Time::default() }),
        }
    }

    /// What a version had at `path`, with the permissions that the directories above it leave.
    pub(super) fn reach(&self, version: &Version, path: &[Vec<u8>]) -> Result<Option<Entry>> {
        let trees = Trees::new(&self.engine.packs);
        let (mut at, mut above) = (trees.top(&version.tree)?, Vec::new());
        for name in path {
            let Body::Dir { tree, .. } = &at.body else { return Ok(None) };
            let Some(next) = trees.lookup(tree, name)? else { return Ok(None) };
            above.push(Owner::of(&at));
            at = next;
        }
        at.mode = seen_through(&at, &above);
        Ok(Some(at))
    }

    /// The directory of `seat` as it was in a version; `None` where it was not there.
    pub(super) fn dir_in(&self, seat: &Seat, version: &Version) -> Result<Option<Entry>> {
        Ok(self.reach(version, &seat.path)?.filter(|entry| matches!(entry.body, Body::Dir { .. })))
    }

    /// The versions that a seat shows, oldest first, each with the directory as it was. One that is damaged is reported
    /// and left out: it does not hide the others.
    pub(super) fn shown(&self, seat: &Seat) -> Result<Vec<(Version, Entry)>> {
        let mut shown = Vec::new();
        for version in self.engine.versions(seat.id)? {
            match self.dir_in(seat, &version) {
                Ok(Some(entry)) => shown.push((version, entry)),
                Ok(None) => {}
                Err(error) => self.engine.report(&error, "show a version"),
            }
        }
        Ok(shown)
    }

    /// [`shown`](Self::shown), without the directories.
    pub(super) fn versions(&self, seat: &Seat) -> Result<Vec<Version>> {
        if seat.path.is_empty() {
            // Every version has the directory that it was made of.
            return self.engine.versions(seat.id);
        }
        Ok(self.shown(seat)?.into_iter().map(|(version, _)| version).collect())
    }

    /// What `name` is in a home.
    pub(super) fn in_home(&self, home: &Home, name: &[u8]) -> Result<Option<Node>> {
        if let Some(view) = view_named(name) {
            return Ok(Some(Node::View(home.clone(), view)));
        }
        if let Some(seat) = self.seat(home)? {
            let found = match parse_number(name) {
                Some(number) => self.version_in(home, &seat, number, name)?,
                None => self.link_or_tag(home, &seat, name)?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        self.run_in_run(home, name)
    }

    /// Version `number`, called `via`.
    pub(super) fn version_in(
        &self,
        home: &Home,
        seat: &Seat,
        number: u32,
        via: &[u8],
    ) -> Result<Option<Node>> {
        let Some(version) = self.engine.version(seat.id, number)? else { return Ok(None) };
        Ok(self.dir_in(seat, &version)?.map(|entry| top(home, seat, number, via, entry)))
    }

    fn link_or_tag(&self, home: &Home, seat: &Seat, name: &[u8]) -> Result<Option<Node>> {
        let versions = self.versions(seat)?;
        if let Some(link) = self.links(home, seat, &versions).into_iter().find(|link| link.name == name) {
            return Ok(Some(Node::Link(link)));
        }
        let Some(tag) = tag_name(name) else { return Ok(None) };
        let tagged = versions.iter().find(|version| version.tags.iter().any(|other| other == tag));
        tagged.map_or(Ok(None), |version| self.version_in(home, seat, version.number, name))
    }

    /// The links beside the versions.
    fn links(&self, home: &Home, seat: &Seat, versions: &[Version]) -> Vec<Link> {
        let policy = self.engine.policy_of(&seat.run);
        let candidates: Vec<_> =
            versions.iter().map(|version| super::super::manage::candidate(version, false)).collect();
        let best = retention::best(&candidates, &policy);
        let chosen = [
            ("latest", versions.iter().rev().find(|version| version.is_good())),
            ("newest", versions.last()),
            ("best", versions.iter().find(|version| Some(version.number) == best)),
        ];
        let link = |(name, version): (&str, Option<&Version>)| {
            let version = version?;
            Some(Link {
                home: home.clone(),
                view: None,
                name: name.into(),
                target: number_name(version.number).into_bytes(),
                time: version.moment(),
            })
        };
        chosen.into_iter().filter_map(link).collect()
    }

    /// All names of a home.
    pub(super) fn rows_of_home(&self, home: &Home) -> Result<Vec<Row>> {
        let views = LISTED.iter().filter_map(|name| {
            Some(Row { name: (*name).into(), node: Node::View(home.clone(), view_named(name)?) })
        });
        let mut rows: Vec<Row> = views.collect();
        if let Some(seat) = self.seat(home)? {
            let (mut versions, mut tops) = (Vec::new(), Vec::new());
            for (version, entry) in self.shown(&seat)? {
                tops.push((number_name(version.number), version.number, entry.clone()));
                let tags = version.tags.iter().filter(|tag| tag_name(tag.as_bytes()).is_some());
                tops.extend(tags.map(|tag| (tag.clone(), version.number, entry.clone())));
                versions.push(version);
            }
            let links = self.links(home, &seat, &versions).into_iter();
            rows.extend(links.map(|link| Row { name: link.name.clone(), node: Node::Link(link) }));
            rows.extend(tops.into_iter().map(|(name, number, entry)| Row {
                node: top(home, &seat, number, name.as_bytes(), entry),
                name: name.into_bytes(),
            }));
        }
        let beside = self.rows_of_runs_in_run(home)?;
        rows.extend(beside);
        Ok(rows)
    }
}

/// The views that a home lists.
const LISTED: &[&[u8]] = &[b".files", b".info", b".runs", b"by-step", b"by-tag", b"by-time"];

/// The view called `name` in a home.
pub(super) fn view_named(name: &[u8]) -> Option<View> {
    Some(match name {
        b".files" => View::Files(Vec::new()),
        b".info" => View::Info,
        b".runs" => View::Runs(Vec::new()),
        b"at" => View::At,
        b"by-step" => View::ByStep,
        b"by-tag" => View::ByTag,
        b"by-time" => View::ByTime,
        _ => return None,
    })
}

/// The directory of a version.
pub(super) fn top(home: &Home, seat: &Seat, number: u32, via: &[u8], entry: Entry) -> Node {
    debug_assert_eq!(entry.size(), DIR_SIZE);
    Node::Item(Item {
        home: home.clone(),
        via: via.to_vec(),
        run: seat.id,
        number,
        path: Vec::new(),
        entry,
        alone: false,
    })
}

/// Owner and permissions of a live directory.
pub(super) fn live(dir: &Inode) -> Owner {
    Owner { mode: dir.mode, uid: dir.uid, gid: dir.gid, time: dir.mtime }
}
