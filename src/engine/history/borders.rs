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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::open;
    use crate::catalog::keys::ROOT;

    /// Safetensors of one tensor of 300,000 bytes that no codec shrinks, behind a header of `more` bytes more.
    fn save(more: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let noise = (0..300_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        });
        let json = format!(
            r#"{{"__metadata__":{{"note":"{}"}},"w":{{"dtype":"U8","shape":[300000],"data_offsets":[0,300000]}}}}"#,
            "x".repeat(more)
        );
        (json.len() as u64).to_le_bytes().into_iter().chain(json.into_bytes()).chain(noise).collect()
    }

    #[test]
    fn a_tensor_that_moved_in_the_file_is_stored_once() {
        let dir = tempfile::tempdir().unwrap();
        let world = open(dir.path(), Duration::from_secs(3600));
        let added = [1, 1000].map(|more| {
            world.save(ROOT, "m.safetensors", &save(more));
            world.versions(ROOT).last().unwrap().new_bytes
        });
        assert!(added[0] > 300_000 && added[1] < 10_000, "{added:?}");
        let versions = world.versions(ROOT);
        for (version, more) in versions.iter().zip([1, 1000]) {
            assert!(world.read(version, &["m.safetensors"]).unwrap() == save(more));
        }
    }
}
