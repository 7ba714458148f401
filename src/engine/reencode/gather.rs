//! The series of contents that the versions of all runs have.
//!
//! Versions are walked oldest first, and of each only the nodes that no earlier one of its run has: so a content is met
//! where it first appears, and the cost is that of what is different, not of all trees.

use std::collections::{BTreeMap, HashSet};

use super::super::Engine;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::content::tree::{Body, Entry, Node};
use crate::formats::Format;
use crate::pack::collect::is_damage;
use crate::version::series;
use crate::version::trees::Trees;

/// Contents below this size are not worth a delta.
const SIZE_MIN: u64 = 64 << 10;

/// Contents of one file, save after save, oldest first.
pub(super) type Series = Vec<ChunkId>;

/// The files of one version that earlier ones of its run do not have, by the key of their series.
type New = BTreeMap<Vec<u8>, Vec<(Vec<u8>, ChunkId)>>;

impl Engine {
    /// The series of all runs.
    pub(super) fn gather_series(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Vec<Series>> {
        let mut all = Vec::new();
        for (run, _) in self.runs() {
            all.extend(self.series_of(run, go_on)?.into_values());
        }
        Ok(all)
    }

    fn series_of(&self, run: RunId, go_on: &dyn Fn() -> Result<()>) -> Result<BTreeMap<Vec<u8>, Series>> {
        let (mut found, mut seen) = (BTreeMap::<Vec<u8>, Series>::new(), HashSet::new());
        for version in self.all_versions(run)? {
            go_on()?;
            let new = match self.new_files(&version.tree, &mut seen, go_on) {
                // A version that cannot be read is for others to report.
                Err(error) if is_damage(&error) => continue,
                new => new?,
            };
            for (key, mut files) in new {
                files.sort_by(|(one, _), (other, _)| series::by_number(one, other));
                let series = found.entry(key).or_default();
                for (_, content) in files {
                    // One that comes back (a restored file) is the newest again.
                    series.retain(|before| *before != content);
                    series.push(content);
                }
            }
        }
        Ok(found)
    }

    fn new_files(
        &self,
        top: &ChunkId,
        seen: &mut HashSet<ChunkId>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<New> {
        let trees = Trees::new(&self.packs);
        let mut new = New::new();
        let mut todo: Vec<(Vec<u8>, ChunkId)> = vec![(Vec::new(), *top)];
        while let Some((dir, node)) = todo.pop() {
            if !seen.insert(node) {
                continue;
            }
            go_on()?;
            match trees.node_uncached(&node)? {
                Node::Leaf(entries) => {
                    for entry in entries {
                        let path = if dir.is_empty() {
                            entry.name.clone()
                        } else {
                            [&dir[..], b"/", &entry.name].concat()
                        };
                        match entry.body {
                            Body::Dir { tree, .. } => todo.push((path, tree)),
                            _ if gains(&entry) => note(&mut new, path, &entry),
                            _ => {}
                        }
                    }
                }
                Node::Fan(buckets) => {
                    todo.extend(buckets.into_iter().flatten().map(|bucket| (dir.clone(), bucket)));
                }
                Node::About(_) => {
                    return Err(Error::damaged(self.packs.path(), format!("store: {node} is no directory")));
                }
            }
        }
        Ok(new)
    }
}

/// Whether deltas of a file may pay: checkpoint content of some size that is not compressed itself.
fn gains(entry: &Entry) -> bool {
    matches!(entry.body, Body::File { size, format, .. }
        if size >= SIZE_MIN && Format::from_number(format).is_some_and(|format| format != Format::OrbaxData))
}

fn note(new: &mut New, path: Vec<u8>, entry: &Entry) {
    if let Body::File { content, .. } = entry.body {
        new.entry(series::key(&path)).or_default().push((path, content));
    }
}
