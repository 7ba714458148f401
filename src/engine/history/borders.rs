//! Where the tensors of a file lie that is about to be sealed.
//!
//! A hint and no more: where a table cannot be read, or is not there yet, the file is cut without borders. A disk that
//! fails is for sealing itself to meet.

use std::ops::Range;

use super::super::Engine;
use super::judge::ThenSiblings;
use super::walk::Walk;
use crate::base::Result;
use crate::catalog::keys::{HotId, Ino};
use crate::catalog::records::Home;
use crate::formats::{self, Siblings};

impl Engine {
    /// The tensors of hot file `hot`, the content of a file that now has the name `home`.
    pub(in super::super) fn borders(&self, home: Option<&Home>, hot: HotId) -> Vec<Range<u64>> {
        let Some(home) = home else { return Vec::new() };
        let siblings = self.live_siblings(home.parent);
        let found = self.file_path(home).and_then(|path| self.borders_of(&path, hot, &siblings));
        or_none(found, &home.name)
    }

    fn borders_of(&self, path: &[u8], hot: HotId, siblings: &dyn Siblings) -> Result<Vec<Range<u64>>> {
        let source = self.hot_source(hot)?;
        let Some(format) = formats::recognise(path, &source)? else { return Ok(Vec::new()) };
        let tensors = formats::tensors(format, path, &source, siblings)?;
        Ok(tensors.iter().map(|tensor| tensor.offset..tensor.end()).collect())
    }
}

impl Walk<'_> {
    /// The tensors of hot file `hot`, the content at the moment of the file at `path` below the run, in directory `dir`.
    pub(super) fn borders(&self, path: &[u8], dir: Ino, hot: HotId) -> Vec<Range<u64>> {
        let siblings = ThenSiblings { engine: self.engine, view: self.view, dir };
        or_none(self.engine.borders_of(path, hot, &siblings), path)
    }
}

fn or_none(found: Result<Vec<Range<u64>>>, name: &[u8]) -> Vec<Range<u64>> {
    found.unwrap_or_else(|error| {
        tracing::debug!("{}: cut without its tensors: {error}", String::from_utf8_lossy(name));
        Vec::new()
    })
}
