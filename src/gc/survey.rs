//! How much of each pack is in use: footers are read, blobs are not.
//!
//! Newest packs first, so that of a blob that several hold the newest copy counts. A pack whose footer does not verify, or
//! that holds a root which could not be read, is left alone.

use std::collections::HashSet;

use super::Pace;
use super::mark::{Marked, Owner};
use super::plan::PackUse;
use crate::base::{Error, Result};
use crate::pack::PackStore;
use crate::pack::collect::is_damage;
use crate::pack::format::ENTRY;

/// What was found of the packs.
#[derive(Debug, Default)]
pub struct Survey {
    /// The packs that may be worked on.
    pub packs: Vec<PackUse>,
    /// Bytes in use, those of packs that are left alone included.
    pub live_bytes: u64,
    /// Of these, what only history holds.
    pub history_bytes: u64,
    /// Why packs are left alone.
    pub faults: Vec<Error>,
}

/// Looks at `packs` (numbers and bytes), which were there before the mark began; those in `skip` are left alone.
pub fn survey(
    store: &PackStore,
    packs: &[(u32, u32)],
    marked: &mut Marked,
    skip: &HashSet<u32>,
    pace: &Pace<'_>,
) -> Result<Survey> {
    let (mut survey, mut found) = (Survey::default(), HashSet::new());
    for (number, len) in packs.iter().rev() {
        let bytes = u64::from(*len);
        let entries = match store.footer(*number) {
            Ok(Some(entries)) => entries,
            Ok(None) => {
                let what = format!("pack {number:08x}: its list of blobs does not verify");
                survey.faults.push(Error::damaged(store.path(), what));
                survey.live_bytes += bytes;
                continue;
            }
            Err(error) if is_damage(&error) => {
                survey.faults.push(error);
                survey.live_bytes += bytes;
                continue;
            }
            Err(error) => return Err(error),
        };
        pace((entries.len() * ENTRY) as u64)?;
        let (mut live_bytes, mut history_bytes) = (0, 0);
        for entry in &entries {
            let stored = u64::from(entry.len) + ENTRY as u64;
            match marked.live.claim(&entry.id, *number) {
                Some(Owner::File) => live_bytes += stored,
                Some(Owner::History) => {
                    live_bytes += stored;
                    history_bytes += stored;
                }
                None => {}
            }
        }
        survey.live_bytes += live_bytes;
        survey.history_bytes += history_bytes;
        let shorts = entries.iter().map(|entry| entry.id.short());
        let broken: Vec<u64> = shorts.filter(|id| marked.broken.contains(id)).collect();
        found.extend(broken.iter().copied());
        if broken.is_empty() && !skip.contains(number) {
            survey.packs.push(PackUse { number: *number, bytes, live_bytes });
        }
    }
    if found.len() < marked.broken.len() {
        // Its pack is lost, or could not be read when the store was opened: what it names is still there, and no one knows which.
        let what =
            "lists of chunks are in no pack; nothing is removed until the store is repaired or opened again";
        return Err(Error::Refused(format!("{} {what}", marked.broken.len() - found.len())));
    }
    survey.packs.reverse();
    Ok(survey)
}
