//! `.files`: the history of one file. `.files/PATH/NNNNNN` is the content that version NNNNNN was the first to have.
//!
//! A directory here is everything that any version had at its path, so who may enter it is whom all of them let in; a file
//! has the permissions that the directories above it left at its time.

use std::collections::{BTreeSet, HashSet};

use super::Browser;
use super::access::Owner;
use super::home::Seat;
use super::names::{number_name, parse_number};
use super::node::{Home, Item, Node, Row, View};
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::content::tree::{Body, Entry};
use crate::version::trees::Trees;

impl Browser {
    /// What each version that a seat shows had at `names`, oldest first.
    fn at_names(&self, seat: &Seat, names: &[Vec<u8>]) -> Result<Vec<(u32, Entry)>> {
        let path: Vec<Vec<u8>> = seat.path.iter().chain(names).cloned().collect();
        let mut found = Vec::new();
        for version in self.engine.versions(seat.id)? {
            match self.reach(&version, &path) {
                Ok(Some(entry)) => found.push((version.number, entry)),
                Ok(None) => {}
                Err(error) => self.engine.report(&error, "show a version"),
            }
        }
        Ok(found)
    }

    /// What `name` is below `.files/NAMES`.
    pub(super) fn in_files(&self, home: &Home, names: &[Vec<u8>], name: &[u8]) -> Result<Option<Node>> {
        let Some(seat) = self.seat(home)? else { return Ok(None) };
        if parse_number(name).is_some() {
            let contents = self.contents(home, &seat, names)?;
            if let Some(row) = contents.into_iter().find(|row| row.name == name) {
                return Ok(Some(row.node));
            }
        }
        let path: Vec<Vec<u8>> = names.iter().cloned().chain([name.to_vec()]).collect();
        let is_shown = |entry: &Entry| matches!(entry.body, Body::Dir { .. } | Body::File { .. });
        let there = self.at_names(&seat, &path)?.iter().any(|(_, entry)| is_shown(entry));
        Ok(there.then(|| Node::View(home.clone(), View::Files(path))))
    }

    /// All names in `.files/NAMES`.
    pub(super) fn rows_of_files(&self, home: &Home, names: &[Vec<u8>]) -> Result<Vec<Row>> {
        let Some(seat) = self.seat(home)? else { return Ok(Vec::new()) };
        let trees = Trees::new(&self.engine.packs);
        let (mut seen, mut found) = (HashSet::new(), BTreeSet::new());
        for (_, entry) in self.at_names(&seat, names)? {
            let Body::Dir { tree, .. } = entry.body else { continue };
            // Most directories are the same in many versions.
            if seen.insert(tree) {
                let entries = trees.list(&tree, None, usize::MAX)?;
                let shown =
                    entries.into_iter().filter(|e| matches!(e.body, Body::Dir { .. } | Body::File { .. }));
                found.extend(shown.map(|entry| entry.name));
            }
        }
        let mut rows = self.contents(home, &seat, names)?;
        // A file called like a version is found only where the two do not meet.
        found.retain(|name| !rows.iter().any(|row| row.name == *name));
        rows.extend(found.into_iter().map(|name| {
            let path = names.iter().cloned().chain([name.clone()]).collect();
            Row { name, node: Node::View(home.clone(), View::Files(path)) }
        }));
        Ok(rows)
    }

    /// The different contents of the file at `names`, each by the first version that had it.
    fn contents(&self, home: &Home, seat: &Seat, names: &[Vec<u8>]) -> Result<Vec<Row>> {
        let mut seen: HashSet<ChunkId> = HashSet::new();
        let mut rows = Vec::new();
        for (number, entry) in self.at_names(seat, names)? {
            let Body::File { content, .. } = entry.body else { continue };
            if seen.insert(content) {
                let name = number_name(number).into_bytes();
                let node = Node::Item(Item {
                    home: home.clone(),
                    via: name.clone(),
                    run: seat.id,
                    number,
                    path: names.to_vec(),
                    // The other names of the inode are not here.
                    entry: Entry { nlink: 1, ..entry },
                    alone: true,
                });
                rows.push(Row { name, node });
            }
        }
        Ok(rows)
    }

    /// Owner and permissions of `.files/NAMES`.
    pub(super) fn owner_of_files(&self, home: &Home, names: &[Vec<u8>]) -> Result<Owner> {
        let owner = self.owner(home)?;
        let (false, Some(seat)) = (names.is_empty(), self.seat(home)?) else { return Ok(owner) };
        let there = self.at_names(&seat, names)?;
        let mut dirs = there.iter().rev().filter(|(_, entry)| matches!(entry.body, Body::Dir { .. }));
        let Some((_, newest)) = dirs.next() else { return Ok(owner) };
        Ok(dirs.fold(Owner::of(newest), |all, (_, entry)| all.and(&Owner::of(entry))))
    }
}
