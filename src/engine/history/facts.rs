//! What is recorded of a version beside its bytes: whether it is complete and valid, its step, epoch and metrics.
//!
//! Pure but for small reads at the moment. Only what is new counts: a broken file that an earlier version has does not
//! spoil the later ones.

use std::collections::{BTreeMap, BTreeSet};

use super::trigger::{is_destruction, is_settled};
use super::walk::{NewFile, Walk, is_temporary_path};
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::content::tree::Soundness;
use crate::formats::{self, Format};
use crate::pack::collect::is_damage;
use crate::version::names::{facts_of_path, is_temporary};

/// Extended attributes with which a script says what it saved.
const XATTR: &[u8] = b"user.ckptfs.";
const EPOCH: &[u8] = b"user.ckptfs.epoch";
/// The longest trainer_state.json that is read, in bytes.
const TRAINER_STATE_MAX: u64 = 16 << 20;
/// Reasons that are recorded.
const REASONS_MAX: usize = 8;
/// Triggers that are no marker: nothing has said that a save is finished.
const UNMARKED: [&str; 9] =
    ["quiet", "next-save", "overwrite", "delete", "snapshot", "unmount", "restore", "clone", "import"];

/// Whether a version can be resumed from, and why not.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) complete: bool,
    pub(super) valid: bool,
    pub(super) why: Vec<String>,
}

/// What a version says of training.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) step: Option<u64>,
    pub(super) epoch: Option<u64>,
    pub(super) metrics: BTreeMap<String, f64>,
}

impl Walk<'_> {
    /// How the version that was walked stands, made by `trigger`.
    pub(super) fn standing(&self, trigger: &str) -> Result<Standing> {
        let marked = !UNMARKED.contains(&trigger);
        let (mut incomplete, mut invalid) = (self.missing.clone(), Vec::new());
        for file in &self.new {
            let name = || String::from_utf8_lossy(&file.path.join(&b'/')).into_owned();
            if is_temporary_path(&file.path) {
                if is_settled(trigger) && !self.is_of_next_save(file) {
                    incomplete.push(format!("{}: left under a temporary name", name()));
                }
                continue;
            }
            match file.soundness {
                Soundness::BeingWritten => incomplete.push(format!("{}: was being written", name())),
                Soundness::Invalid => {
                    invalid.push(format!("{}: {}", name(), file.why.as_deref().unwrap_or("not valid")));
                }
                Soundness::Unknown | Soundness::Valid => {}
            }
            if !marked && let Some(what) = self.companion_missing(file)? {
                incomplete.push(format!("{}: {what}", name()));
            }
        }
        if !marked {
            incomplete.extend(self.blank_files()?);
            incomplete.extend(self.unfinished()?);
        }
        let valid = invalid.is_empty();
        let complete = incomplete.is_empty() && (valid || marked);
        let mut why: Vec<String> = invalid.into_iter().chain(incomplete).collect();
        why.truncate(REASONS_MAX);
        Ok(Standing { complete, valid, why })
    }

    /// Whether a file with a temporary name is the next save of something that is new in this version under its own name:
    /// the moment fell between its close and its rename, and what it is to replace is whole.
    fn is_of_next_save(&self, file: &NewFile) -> bool {
        let Some(at) = file.path.iter().position(|name| is_temporary(name)) else { return false };
        let (Some(above), Some(temporary)) = (file.path.get(..at), file.path.get(at)) else { return false };
        self.new.iter().filter(|other| !is_temporary_path(&other.path)).any(|other| {
            let name = other.path.strip_prefix(above).and_then(<[_]>::first);
            name.is_some_and(|name| temporary.windows(name.len()).any(|part| part == *name))
        })
    }

    /// What a file needs beside it to be a whole checkpoint, if that is not there.
    fn companion_missing(&self, file: &NewFile) -> Result<Option<String>> {
        let has = |name: &[u8]| self.view.entry(file.dir, name).map(|found| found.is_some());
        let name = file.path.last().map(Vec::as_slice).unwrap_or_default();
        let is_new = |of: Format| self.new.iter().any(|other| other.dir == file.dir && other.format == of);
        Ok(match file.format {
            // Rewritten data under an old `.metadata` is not a checkpoint until that is renamed again.
            Format::DcpData if !is_new(Format::DcpMetadata) => {
                Some("its `.metadata` was not written after it".to_owned())
            }
            Format::TfData => {
                let text = String::from_utf8_lossy(name);
                let index =
                    text.rfind(".data-").and_then(|at| text.get(..at)).map(|stem| format!("{stem}.index"));
                match index {
                    Some(index) if !has(index.as_bytes())? => Some(format!("{index} is missing")),
                    _ => None,
                }
            }
            _ => match missing_shard(name, &has)? {
                Some(shard) => Some(shard),
                None => self.trainer_state_missing(file, &has)?,
            },
        })
    }

    /// The HF Trainer writes trainer_state.json last: an optimizer in its folder without that is half a checkpoint.
    fn trainer_state_missing(
        &self,
        file: &NewFile,
        has: &dyn Fn(&[u8]) -> Result<bool>,
    ) -> Result<Option<String>> {
        let above = file.path.len().checked_sub(2).and_then(|at| file.path.get(at));
        let is_trainers = above.is_some_and(|dir| dir.starts_with(b"checkpoint-"));
        if !is_trainers || has(b"trainer_state.json")? {
            return Ok(None);
        }
        let begun = has(b"optimizer.pt")? || has(b"training_args.bin")? || has(b"config.json")?;
        Ok(begun.then(|| "trainer_state.json is missing beside it".to_owned()))
    }

    /// Step, epoch and metrics of the version, of the furthest of its new files; what a script has said of this save goes
    /// first, then names, then what the files hold. A file with a temporary name tells of the save after this one.
    pub(super) fn progress(&self, run: Ino, trigger: &str) -> Result<Progress> {
        let (mut best, mut dirs) = (Progress::default(), BTreeSet::from([run]));
        for file in &self.new {
            let is_next = is_temporary_path(&file.path)
                || (is_destruction(trigger) && file.links.is_empty() && self.has_moved_on(file)?);
            if file.soundness != Soundness::Valid || is_next {
                continue;
            }
            let mut found = Progress::default();
            for path in [&file.path].into_iter().chain(&file.links) {
                let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                let named = facts_of_path(&path);
                found.add(named.step, named.epoch, named.metrics);
            }
            found.add(file.facts.step, file.facts.epoch, file.facts.metrics.clone());
            found.say(&self.said_anew(file)?);
            dirs.insert(file.dir);
            best.take(found);
        }
        for dir in dirs {
            if let Some(state) = self.trainer_state_or_report(dir)? {
                let mut found = Progress::default();
                found.add(state.step, state.epoch, state.metrics);
                best.take(found);
            }
        }
        best.say(&self.view.xattrs(run)?);
        Ok(best)
    }

    /// The extended attributes of a file, but for those that the version before has with it: they stay when a file is
    /// overwritten, and tell of the save that it was then. An epoch may well go on.
    fn said_anew(&self, file: &NewFile) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let before = self.entry_before(&file.path)?.filter(|entry| entry.ino == file.ino);
        let before = before.map(|entry| entry.xattrs).unwrap_or_default();
        let mut said = self.view.xattrs(file.ino)?;
        said.retain(|one| one.0 == EPOCH || !before.contains(one));
        Ok(said)
    }

    /// [`trainer_state`](Self::trainer_state), where bytes that are lost tell nothing: they must not stop the version.
    fn trainer_state_or_report(&self, dir: Ino) -> Result<Option<formats::Facts>> {
        match self.trainer_state(dir) {
            Err(error) if is_lost(&error) => {
                self.engine.report(&error, "read trainer_state.json");
                Ok(None)
            }
            other => other,
        }
    }

    fn trainer_state(&self, dir: Ino) -> Result<Option<formats::Facts>> {
        let Some(ino) = self.view.entry(dir, b"trainer_state.json")? else { return Ok(None) };
        let Some(inode) = self.view.inode(ino)? else { return Ok(None) };
        let source = self.engine.source_of(&inode)?;
        let Ok(len) = usize::try_from(source.len().min(TRAINER_STATE_MAX)) else { return Ok(None) };
        let mut bytes = vec![0; len];
        source.read_exact_at(0, &mut bytes)?;
        Ok(formats::trainer_state(&bytes))
    }
}

impl Progress {
    /// Takes over what a script has said in extended attributes.
    fn say(&mut self, xattrs: &[(Vec<u8>, Vec<u8>)]) {
        for (name, value) in xattrs {
            let Some(name) = name.strip_prefix(XATTR) else { continue };
            let Ok(value) = std::str::from_utf8(value) else { continue };
            match (name, name.strip_prefix(b"metric.".as_slice())) {
                (b"step", _) => self.step = value.trim().parse().ok().or(self.step),
                (b"epoch", _) => self.epoch = value.trim().parse().ok().or(self.epoch),
                (_, Some(metric)) => {
                    if let (Ok(value), Ok(metric)) = (value.trim().parse(), std::str::from_utf8(metric)) {
                        self.metrics.insert(metric.to_owned(), value);
                    }
                }
                _ => {}
            }
        }
    }

    /// Adds what is not known yet.
    pub(super) fn add(&mut self, step: Option<u64>, epoch: Option<u64>, metrics: BTreeMap<String, f64>) {
        self.step = self.step.or(step);
        self.epoch = self.epoch.or(epoch);
        for (name, value) in metrics {
            self.metrics.entry(name).or_insert(value);
        }
    }

    /// Takes over from another file what is further, and metrics that are not known yet.
    fn take(&mut self, other: Progress) {
        let further = (other.step, other.epoch) > (self.step, self.epoch);
        let Progress { step, epoch, metrics } = other;
        if further {
            let before = std::mem::replace(self, Progress { step, epoch, metrics });
            self.add(before.step, before.epoch, before.metrics);
        } else {
            self.add(step, epoch, metrics);
        }
    }
}

/// Whether an error says that bytes are gone or damaged, and will be the next time too.
fn is_lost(error: &Error) -> bool {
    match error {
        Error::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound || is_damage(error),
        Error::Errno(errno) => *errno == libc::ESTALE,
        Error::Damaged { .. } => true,
        Error::Refused(_) | Error::Poisoned(_) => false,
    }
}

/// Of a file `stem-00001-of-00003.ext`, the first shard that is not there.
fn missing_shard(name: &[u8], has: &dyn Fn(&[u8]) -> Result<bool>) -> Result<Option<String>> {
    let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
    let Some(at) = name.rfind("-of-") else { return Ok(None) };
    let (Some(before), Some(after)) = (name.get(..at), name.get(at + 4..)) else { return Ok(None) };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let width = before.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (Some(count), Some(tail)) = (after.get(..digits), after.get(digits..)) else { return Ok(None) };
    let (Ok(count), Some(stem)) = (count.parse::<u32>(), before.get(..before.len() - width)) else {
        return Ok(None);
    };
    if width == 0 || count > 100_000 {
        return Ok(None);
    }
    let total = after.get(..digits).unwrap_or_default();
    for shard in 1..=count {
        let wanted = format!("{stem}{shard:0width$}-of-{total}{tail}");
        if !has(wanted.as_bytes())? {
            return Ok(Some(format!("{wanted} is missing beside it")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_shards_is_whole_or_the_first_missing_one_is_named() {
        let there = |names: &'static [&'static str]| {
            move |name: &[u8]| Ok(names.iter().any(|n| n.as_bytes() == name))
        };
        let all = there(&["m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors"]);
        let some = there(&["m-00002-of-00002.safetensors"]);
        assert_eq!(missing_shard(b"m-00001-of-00002.safetensors", &all).unwrap(), None);
        let said = missing_shard(b"m-00002-of-00002.safetensors", &some).unwrap().unwrap();
        assert!(said.contains("m-00001-of-00002.safetensors"), "{said}");
        for name in [&b"model.pt"[..], b"-of-", b"a-of-3", b"x-1-of-99999999999.pt", b"\xff-1-of-2"] {
            assert_eq!(missing_shard(name, &some).unwrap(), None);
        }
    }

    #[test]
    fn the_furthest_file_says_the_step_and_the_others_fill_in() {
        let progress = |step, epoch, metric: &str| Progress {
            step,
            epoch,
            metrics: BTreeMap::from([(metric.to_owned(), 1.0)]),
        };
        let mut best = Progress::default();
        best.take(progress(Some(5), None, "a"));
        best.take(progress(Some(7), None, "b"));
        best.take(progress(None, Some(2), "c"));
        assert_eq!((best.step, best.epoch), (Some(7), Some(2)));
        assert_eq!(best.metrics.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
