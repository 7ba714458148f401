//! The files of a version, as its tree has them.

use super::super::super::Engine;
use super::super::judge::SealedSource;
use super::{FileInside, TensorInside, tensors};
use crate::base::clock::rfc3339;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::manifest::Manifest;
use crate::content::tree::{Body, Entry, Soundness};
use crate::formats::{Format, Siblings, Source};
use crate::pack::collect::is_damage;
use crate::seal::stored;
use crate::version::record::{Version, path_bytes, path_text};
use crate::version::trees::Trees;

/// A file where the tree of a version has it.
#[derive(Clone, Debug)]
pub(super) struct VersionFile {
    /// The names that lead to its directory.
    pub(super) dir: Vec<Vec<u8>>,
    pub(super) entry: Entry,
}

impl VersionFile {
    /// Its path below the run.
    pub(super) fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> =
            self.dir.iter().map(Vec::as_slice).chain([self.entry.name.as_slice()]).collect();
        names.join(&b'/')
    }

    /// Its content, size and format.
    pub(super) fn content(&self) -> Option<(ChunkId, u64, Option<Format>)> {
        match self.entry.body {
            Body::File { content, size, format, .. } => Some((content, size, Format::from_number(format))),
            _ => None,
        }
    }
}

/// The directory of a file in a version, for formats that name others.
pub(super) struct VersionSiblings<'a> {
    pub(super) engine: &'a Engine,
    pub(super) version: &'a Version,
    pub(super) dir: &'a [Vec<u8>],
}

impl VersionSiblings<'_> {
    fn find(&self, name: &[u8]) -> Result<Option<(ChunkId, u64)>> {
        let trees = Trees::new(&self.engine.packs);
        let path: Vec<Vec<u8>> = self.dir.iter().cloned().chain([name.to_vec()]).collect();
        Ok(match trees.walk(trees.top(&self.version.tree)?, &path)?.map(|entry| entry.body) {
            Some(Body::File { content, size, .. }) => Some((content, size)),
            _ => None,
        })
    }
}

impl Siblings for VersionSiblings<'_> {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        Ok(self.find(name)?.map(|(_, size)| size))
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        let found = self.find(name)?;
        Ok(found.map(|(content, size)| Box::new(self.engine.sealed_source(content, size)) as Box<dyn Source>))
    }
}

impl Engine {
    /// All of a version but its directories, in the order of their paths; what is at and below the paths `only`, or all.
    /// `ENOENT` when one of these leads to nothing.
    pub(super) fn files_inside(&self, version: &Version, only: &[String]) -> Result<Vec<VersionFile>> {
        let trees = Trees::new(&self.packs);
        let top = trees.top(&version.tree)?;
        let (mut found, all) = (Vec::new(), [String::new()]);
        for from in if only.is_empty() { &all } else { only } {
            let path = path_bytes(from);
            let names: Vec<Vec<u8>> = path
                .split(|byte| *byte == b'/')
                .filter(|name| !name.is_empty())
                .map(<[u8]>::to_vec)
                .collect();
            let Some(entry) = trees.walk(top.clone(), &names)? else {
                return Err(Error::Refused(format!(
                    "version {:06} has no file '{from}'; list what it has: ckptfs show",
                    version.number
                )));
            };
            let Body::Dir { tree, .. } = &entry.body else {
                let dir = names.get(..names.len() - 1).unwrap_or_default().to_vec();
                found.push(VersionFile { dir, entry });
                continue;
            };
            trees.each(tree, &mut |below, entry| {
                if !matches!(entry.body, Body::Dir { .. }) {
                    let dir = names.iter().chain(below).cloned().collect();
                    found.push(VersionFile { dir, entry: entry.clone() });
                }
                Ok(())
            })?;
        }
        found.sort_by_cached_key(VersionFile::path);
        found.dedup_by_key(|file| file.path());
        Ok(found)
    }

    /// What is told of a file.
    pub(super) fn file_inside(
        &self,
        version: &Version,
        file: &VersionFile,
        with_tensors: bool,
    ) -> Result<FileInside> {
        let entry = &file.entry;
        let mut shown = FileInside {
            path: path_text(&file.path()),
            kind: "special".to_owned(),
            bytes: entry.size(),
            mode: entry.mode,
            mtime: rfc3339(entry.mtime),
            ..FileInside::default()
        };
        match &entry.body {
            Body::Symlink(target) => {
                shown.kind = "symlink".to_owned();
                shown.target = Some(path_text(target));
            }
            Body::File { content, format, soundness, .. } => {
                shown.kind = "file".to_owned();
                shown.content = Some(content.to_string());
                shown.format = Format::from_number(*format).map(|format| format.name().to_owned());
                shown.state = state(*soundness).map(str::to_owned);
                let read = self.stored_inside(version, file, with_tensors);
                match read {
                    Ok((stored, tensors)) => (shown.stored_bytes, shown.tensors) = (stored, tensors),
                    Err(error) if is_damage(&error) => shown.damage = Some(error.to_string()),
                    Err(error) => return Err(error),
                }
            }
            Body::Special(_) | Body::Dir { .. } => {}
        }
        Ok(shown)
    }

    fn stored_inside(
        &self,
        version: &Version,
        file: &VersionFile,
        with_tensors: bool,
    ) -> Result<(u64, Vec<TensorInside>)> {
        let Some((content, ..)) = file.content() else { return Ok((0, Vec::new())) };
        let manifest = stored::load(&self.packs, &content)?;
        let stored = tensors::StoredLens::of(&self.packs, &manifest)?;
        let described = if with_tensors { self.described(version, file)? } else { Vec::new() };
        let tensors = described.into_iter().map(|tensor| stored.inside(&manifest, tensor)).collect();
        Ok((stored.all(), tensors))
    }

    /// The bytes of a file of a version, to be looked at.
    pub(super) fn source_inside(&self, file: &VersionFile) -> Option<SealedSource<'_>> {
        file.content().map(|(content, size, _)| self.sealed_source(content, size))
    }

    /// The chunks of a file of a version.
    pub(super) fn manifest_inside(&self, file: &VersionFile) -> Result<Option<Manifest>> {
        file.content().map(|(content, ..)| stored::load(&self.packs, &content)).transpose()
    }
}

fn state(soundness: Soundness) -> Option<&'static str> {
    match soundness {
        Soundness::Unknown => None,
        Soundness::Valid => Some("valid"),
        Soundness::Invalid => Some("invalid"),
        Soundness::BeingWritten => Some("being written"),
    }
}
