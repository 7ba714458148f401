//! What differs between two versions.
//!
//! Files are the same where their contents have one hash. One that only the later version has is compared with the save
//! before it in its series (`step_200.pt` with `step_100.pt`). Tensors go by name. Whether one changed is told by the
//! chunks of both files; only where these lie otherwise in the two (tensors under 64 KiB share chunks with their
//! neighbours) the bytes are read.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::super::super::Engine;
use super::files::VersionFile;
use super::values::{self, Values};
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::content::manifest::Manifest;
use crate::content::ranges::{self, Told};
use crate::content::tree::Body;
use crate::formats::{Described, Source};
use crate::pack::collect::is_damage;
use crate::version::record::{Version, path_text};
use crate::version::series;

/// Bytes that are compared at a time.
const BLOCK: u64 = 1 << 20;

/// What became of a file or a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the later version has it.
    Added,
    /// Only the earlier version has it.
    Removed,
    /// Both have it, with other bytes.
    Changed,
}

/// What differs between two versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Files that differ, in the order of their paths.
    pub files: Vec<FileDiff>,
    /// Files that are the same in both.
    pub same_files: u64,
    /// Bytes of tensors that were read because hashes did not tell.
    pub read_bytes: u64,
}

/// A file that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileDiff {
    /// Its path below the run.
    pub path: String,
    /// What became of it.
    pub change: Change,
    /// The file of the earlier version that it was compared with, when that has another path: the save before it.
    pub against: Option<String>,
    /// Bytes before, of the file that it was compared with.
    pub bytes_before: Option<u64>,
    /// Bytes after.
    pub bytes_after: Option<u64>,
    /// Bytes of it that are in chunks which the file before does not have.
    pub new_bytes: u64,
    /// Tensors that differ, in the order of the file.
    pub tensors: Vec<TensorDiff>,
    /// Tensors that are the same.
    pub same_tensors: u64,
    /// What of it cannot be read.
    pub damage: Option<String>,
}

/// A tensor that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorDiff {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: Change,
    /// The type of its elements before.
    pub dtype_before: Option<String>,
    /// And after.
    pub dtype_after: Option<String>,
    /// Its sides before.
    pub shape_before: Option<Vec<u64>>,
    /// And after.
    pub shape_after: Option<Vec<u64>>,
    /// Bytes in the file, after; of one that was removed before.
    pub bytes: u64,
    /// How far its numbers are apart, where that was asked for and both are real numbers of one type and shape.
    pub values: Option<Values>,
}

/// Two versions that are compared.
pub(super) struct Diff<'a> {
    pub(super) engine: &'a Engine,
    pub(super) before: &'a Version,
    pub(super) after: &'a Version,
    /// The numbers of tensors that changed are compared, too.
    pub(super) values: bool,
}

/// One file in one of the two versions.
struct Side<'a> {
    manifest: Manifest,
    source: Box<dyn Source + 'a>,
    tensors: Vec<Described>,
}

impl Diff<'_> {
    pub(super) fn run(&self, only: &[String], monitor: &dyn Monitor) -> Result<Compared> {
        let (before, after) = (self.files(self.before, only)?, self.files(self.after, only)?);
        if !only.is_empty() && before.is_empty() && after.is_empty() {
            return Err(Error::Refused(format!("neither version has {}", only.join(", "))));
        }
        let old: HashMap<Vec<u8>, &VersionFile> = before.iter().map(|file| (file.path(), file)).collect();
        let new: HashMap<Vec<u8>, &VersionFile> = after.iter().map(|file| (file.path(), file)).collect();
        let saves = Saves::of(&before);
        let mut compared = Compared::default();
        monitor.begin("comparing (files)", (before.len() + after.len()) as u64);
        for (done, file) in after.iter().enumerate() {
            self.engine.go_on()?;
            match old.get(&file.path()) {
                Some(was) if is_same(was, file) => compared.same_files += 1,
                Some(was) => self.changed(was, file, Change::Changed, &mut compared)?,
                None => match saves.before(file) {
                    Some(was) => self.changed(was, file, Change::Added, &mut compared)?,
                    None => compared.files.push(one_sided(file, Change::Added)),
                },
            }
            monitor.advance(done as u64 + 1);
        }
        let gone = before.iter().filter(|file| !new.contains_key(&file.path()));
        compared.files.extend(gone.map(|file| one_sided(file, Change::Removed)));
        compared.files.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(compared)
    }

    /// The files of one version; a path that only the other one has leads to none.
    fn files(&self, version: &Version, only: &[String]) -> Result<Vec<VersionFile>> {
        if only.is_empty() {
            return self.engine.files_inside(version, only);
        }
        let mut found = Vec::new();
        for path in only {
            match self.engine.files_inside(version, std::slice::from_ref(path)) {
                Err(Error::Refused(_)) => {}
                files => found.extend(files?),
            }
        }
        found.sort_by_cached_key(VersionFile::path);
        found.dedup_by_key(|file| file.path());
        Ok(found)
    }

    fn changed(
        &self,
        was: &VersionFile,
        file: &VersionFile,
        change: Change,
        compared: &mut Compared,
    ) -> Result<()> {
        let mut diff = FileDiff { bytes_before: Some(was.entry.size()), ..one_sided(file, change) };
        diff.against = (was.path() != file.path()).then(|| path_text(&was.path()));
        match self.inside(was, file, &mut diff) {
            Ok(read) => compared.read_bytes += read,
            Err(error) if is_damage(&error) => diff.damage = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        compared.files.push(diff);
        Ok(())
    }

    /// Compares what is inside two files; the bytes that had to be read for it.
    fn inside(&self, was: &VersionFile, file: &VersionFile, diff: &mut FileDiff) -> Result<u64> {
        let (Some(before), Some(after)) = (self.side(self.before, was)?, self.side(self.after, file)?) else {
            return Ok(0);
        };
        diff.new_bytes = ranges::new_bytes(&after.manifest, &before.manifest);
        let mut old: BTreeMap<&str, &Described> =
            before.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut read = 0;
        for tensor in &after.tensors {
            self.engine.go_on()?;
            let Some(then) = old.remove(tensor.name.as_str()) else {
                diff.tensors.push(tensor_diff(None, Some(tensor)));
                continue;
            };
            if tensor_is_same((&before, then), (&after, tensor), &mut read)? {
                // One that has no bytes of its own in the file may be anything.
                diff.same_tensors += u64::from(!tensor.parts.is_empty());
                continue;
            }
            let mut changed = tensor_diff(Some(then), Some(tensor));
            if self.values {
                let (one, other) = ((then, &*before.source), (tensor, &*after.source));
                changed.values = values::compare(one, other, &|| self.engine.go_on())?;
            }
            diff.tensors.push(changed);
        }
        diff.tensors.extend(old.into_values().map(|tensor| tensor_diff(Some(tensor), None)));
        Ok(read)
    }

    fn side<'a>(&'a self, version: &Version, file: &VersionFile) -> Result<Option<Side<'a>>> {
        let (Some(manifest), Some(source)) =
            (self.engine.manifest_inside(file)?, self.engine.source_inside(file))
        else {
            return Ok(None);
        };
        let tensors = self.engine.described(version, file)?;
        Ok(Some(Side { manifest, source: Box::new(source), tensors }))
    }
}

/// Whether two files, or links, are the same in both versions.
fn is_same(one: &VersionFile, other: &VersionFile) -> bool {
    match (&one.entry.body, &other.entry.body) {
        (Body::File { content: one, .. }, Body::File { content: other, .. }) => one == other,
        (one, other) => one == other,
    }
}

/// A file that has no other to be compared with.
fn one_sided(file: &VersionFile, change: Change) -> FileDiff {
    let bytes = file.entry.size();
    let is_after = change != Change::Removed;
    FileDiff {
        path: path_text(&file.path()),
        change,
        against: None,
        bytes_before: (!is_after).then_some(bytes),
        bytes_after: is_after.then_some(bytes),
        new_bytes: if is_after { bytes } else { 0 },
        tensors: Vec::new(),
        same_tensors: 0,
        damage: None,
    }
}

fn tensor_diff(before: Option<&Described>, after: Option<&Described>) -> TensorDiff {
    let one = after.or(before);
    TensorDiff {
        name: one.map(|tensor| tensor.name.clone()).unwrap_or_default(),
        change: match (before, after) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        },
        dtype_before: before.map(|tensor| tensor.dtype.clone()),
        dtype_after: after.map(|tensor| tensor.dtype.clone()),
        shape_before: before.map(|tensor| tensor.shape.clone()),
        shape_after: after.map(|tensor| tensor.shape.clone()),
        bytes: one.map_or(0, |tensor| tensor.parts.iter().map(|(_, len)| *len).sum()),
        values: None,
    }
}

/// Whether a tensor is the same in both files; `read` grows by what had to be read to know.
fn tensor_is_same(
    (before, then): (&Side<'_>, &Described),
    (after, now): (&Side<'_>, &Described),
    read: &mut u64,
) -> Result<bool> {
    let lens = |tensor: &Described| tensor.parts.iter().map(|(_, len)| *len).collect::<Vec<_>>();
    if then.dtype != now.dtype || then.shape != now.shape || lens(then) != lens(now) {
        return Ok(false);
    }
    let mut unclear = Vec::new();
    for ((at, len), (other, _)) in then.parts.iter().zip(&now.parts) {
        match ranges::compare(&before.manifest, *at..at.saturating_add(*len), &after.manifest, *other) {
            Told::Same => {}
            Told::Different => return Ok(false),
            Told::Unclear => unclear.push((*at, *other, *len)),
        }
    }
    for (at, other, len) in unclear {
        *read += 2 * len;
        if !has_same_bytes(&*before.source, at, &*after.source, other, len)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_same_bytes(one: &dyn Source, at: u64, other: &dyn Source, place: u64, len: u64) -> Result<bool> {
    let (mut ours, mut theirs, mut done) = (Vec::new(), Vec::new(), 0);
    while done < len {
        let step = usize::try_from(BLOCK.min(len - done)).unwrap_or(usize::MAX);
        ours.resize(step, 0);
        theirs.resize(step, 0);
        one.read_exact_at(at + done, &mut ours)?;
        other.read_exact_at(place + done, &mut theirs)?;
        if ours != theirs {
            return Ok(false);
        }
        done += step as u64;
    }
    Ok(true)
}

/// The files of a version by the series that they are saves of.
struct Saves<'a>(HashMap<Vec<u8>, Vec<(Vec<u8>, &'a VersionFile)>>);

impl<'a> Saves<'a> {
    fn of(files: &'a [VersionFile]) -> Self {
        let mut saves: HashMap<Vec<u8>, Vec<_>> = HashMap::new();
        for file in files.iter().filter(|file| file.content().is_some_and(|(.., format)| format.is_some())) {
            saves.entry(series::key(&file.path())).or_default().push((file.path(), file));
        }
        saves
            .values_mut()
            .for_each(|saves| saves.sort_by(|(one, _), (other, _)| series::by_number(one, other)));
        Saves(saves)
    }

    /// The last save of the series of `file` before it, else the first one after it.
    fn before(&self, file: &VersionFile) -> Option<&'a VersionFile> {
        let (path, saves) = (file.path(), self.0.get(&series::key(&file.path()))?);
        let later = saves.partition_point(|(other, _)| series::by_number(other, &path).is_lt());
        let found = later.checked_sub(1).and_then(|at| saves.get(at)).or_else(|| saves.first());
        found.map(|(_, file)| *file)
    }
}
