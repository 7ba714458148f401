//! Looks at a pack whole: does it hold what its list says, and does every blob give the bytes that its id names.
//!
//! Nothing is changed. What is damaged is told of and passed over; any other failure ends the look.

use std::collections::HashSet;
use std::fs::File;

use super::collect::is_damage;
use super::format::{ENTRY, PACK_HEADER, PackEntry, TRAILER, encode_pack_header};
use super::index::Location;
use super::reader::{self, read_exact};
use super::scan;
use super::store::PackStore;
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};

/// What was found of one pack.
#[derive(Debug, Default)]
pub struct Verified {
    /// Its blobs: from its list, or, where that does not verify, those that were found by walking.
    pub entries: Vec<PackEntry>,
    /// Blobs of these that do not give their bytes.
    pub unsound: HashSet<ChunkId>,
    /// What is wrong with the pack, one error for each place.
    pub faults: Vec<Error>,
}

/// Told how many bytes were read just now; its error ends the look.
pub type Pace<'a> = dyn Fn(u64) -> Result<()> + 'a;

impl PackStore {
    /// Every place where the chunk index has blob `id`.
    pub fn find(&self, id: &ChunkId) -> Result<Vec<Location>> {
        self.shared().index.find_all(id)
    }

    /// Looks at `pack`: header, list and places of the blobs; with `data` every blob is read, decoded and hashed.
    pub fn verify(&self, pack: u32, data: bool, pace: &Pace<'_>) -> Result<Verified> {
        let mut found = Verified::default();
        self.verify_list(pack, &mut found)?;
        if !data {
            pace(found.entries.len() as u64)?;
            return Ok(found);
        }
        let mut entries = found.entries.clone();
        entries.sort_unstable_by_key(|entry| entry.offset);
        for entry in entries {
            pace(u64::from(entry.len))?;
            let read = self.fetch_at(&entry.at(pack), |open, at| self.read_in(open, &entry.id, at).map(drop));
            match read {
                Ok(()) => {}
                Err(error) if is_damage(&error) => {
                    self.shared().doubt(&entry.id);
                    found.unsound.insert(entry.id);
                    found.faults.push(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn verify_list(&self, pack: u32, found: &mut Verified) -> Result<()> {
        let path = self.pack_path(pack);
        let file = File::open(&path).context("open", &path)?;
        let mut head = [0; PACK_HEADER];
        let header = read_exact(&file, &path, &mut head, 0, "the pack ends in its header");
        if let Err(error) = told(header)? {
            found.faults.push(error);
        } else if head[..] != encode_pack_header(pack)[..] {
            found.faults.push(Error::damaged(&path, "pack header: it is not that of this pack"));
        }
        let len = file.metadata().context("stat", &path)?.len();
        let listed = match told(reader::read_footer(&file, &path))? {
            Ok(Some(entries)) if reader::footer_number(&file, &path)? == Some(pack) => Some(entries),
            Ok(Some(_)) => {
                found.faults.push(Error::damaged(&path, "list of blobs: it is that of another pack"));
                None
            }
            Ok(None) => {
                found.faults.push(Error::damaged(&path, "list of blobs: it does not verify"));
                None
            }
            Err(error) => {
                found.faults.push(error);
                None
            }
        };
        let is_listed = listed.is_some();
        found.entries = match listed {
            Some(entries) => entries,
            None => told(scan::scan(&file, &path))?.unwrap_or_else(|error| {
                found.faults.push(error);
                Vec::new()
            }),
        };
        if is_listed && !lies_in(&found.entries, len) {
            found.faults.push(Error::damaged(&path, "list of blobs: they do not lie one after the other"));
        }
        Ok(())
    }
}

/// Damage as a value, any other failure as one.
fn told<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if !is_damage(&error) => Err(error),
        other => Ok(other),
    }
}

/// Whether the blobs fill the pack from its header to its list.
fn lies_in(entries: &[PackEntry], len: u64) -> bool {
    let mut places: Vec<(u32, u32)> = entries.iter().map(|entry| (entry.offset, entry.len)).collect();
    places.sort_unstable();
    let mut at = PACK_HEADER as u64;
    for (offset, len) in places {
        if u64::from(offset) != at {
            return false;
        }
        at += u64::from(len);
    }
    at + (entries.len() * ENTRY + TRAILER) as u64 == len
}
