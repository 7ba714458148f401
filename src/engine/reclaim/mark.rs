//! What the records of this store need.
//!
//! Order: inodes as they are, what snapshots have saved of them, then versions. A snapshot that ends meanwhile has put its
//! version on record before it forgets what it saved, so its contents are met as one or the other. No record of a version
//! goes while a mark is under way: only a reclaim deletes them, and there is one at a time. What batches put or find
//! meanwhile is in their notes (pack/uses.rs). So whoever lets a record name a content either has it from a batch that is
//! still held, or from a version that is on record.

use std::collections::HashSet;

use super::super::Engine;
use crate::base::Result;
use crate::catalog::keys::{self, RunId};
use crate::gc::{Mark, Marked, Owner, Pace};
use crate::namespace::Namespace;
use crate::version::record::{self, Version};

impl Engine {
    /// Marks what is in use, as if the versions in `gone` were not.
    pub(super) fn mark(&self, gone: &HashSet<(RunId, u32)>, pace: &Pace<'_>) -> Result<Marked> {
        let given_up = self.ns.scan_all(&keys::lost_roots())?;
        let given_up = given_up.iter().filter_map(|(key, _)| keys::parse_lost_root(key)).collect();
        let mut mark = Mark::new(&self.packs, given_up, pace);
        self.ns.each_sealed(&mut |sealed, now| {
            mark.content(&sealed.id, if now.is_some() { Owner::File } else { Owner::History })
        })?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.ns.meta().scan(b"v", after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            for (key, value) in &page {
                let damaged = || Namespace::damaged(key);
                let (run, number) = keys::parse_version(key).ok_or_else(damaged)?;
                if gone.contains(&(run, number)) {
                    continue;
                }
                let version: Version = record::decode(value).ok_or_else(damaged)?;
                version.about.iter().for_each(|about| mark.blob(about, Owner::History));
                mark.tree(&version.tree)?;
            }
            after = Some(last.clone());
        }
        Ok(mark.finish())
    }
}

/// Versions read in one scan.
const PAGE: usize = 256;
