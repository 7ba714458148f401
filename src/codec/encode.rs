//! Chooses and makes the stored form of a blob.
//!
//! What is stored is never longer than the raw bytes. A sample decides what is tried: the planes of floats, zstd, or
//! nothing where neither would save anything worth its time.

use super::delta;
use super::encoding::{Codec, Encoding};
use super::lz::Squeezer;
use super::rot::Rot;
use super::sample::{self, Look};

/// What saves less than this part is stored raw.
const WORTH: f32 = 0.98;

/// Encodes blobs one after the other with reused contexts and buffers; one for each thread that encodes.
pub struct Encoder {
    squeezer: Squeezer,
    rot: Rot,
    sample: Vec<u8>,
    /// A second form, where two are compared.
    other: Vec<u8>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder; contexts are made when they are first needed.
    pub fn new() -> Self {
        Encoder { squeezer: Squeezer::new(), rot: Rot::default(), sample: Vec::new(), other: Vec::new() }
    }

    /// Replaces `out` by the stored form of `raw` and tells which it is.
    ///
    /// One byte where all are equal; planes or zstd -1, which of them a sample expects to be shorter; the bytes as they
    /// are where that saves less than 2 %. A buffer that is given again and again is filled without being cleared.
    pub fn encode(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Encoding {
        if let Some(byte) = constant(raw) {
            out.clear();
            out.push(byte);
            return Encoding::plain(Codec::Constant);
        }
        let encoding = if sample::take(raw, &mut self.sample) {
            self.sampled(raw, out)
        } else {
            self.squeezed(raw, out)
        };
        encoding.unwrap_or_else(|| {
            out.clear();
            out.extend_from_slice(raw);
            Encoding::plain(Codec::Raw)
        })
    }

    /// The better form, by the sample that was taken, if it is worth it.
    fn sampled(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<Encoding> {
        let look = sample::look(&self.sample);
        let planes = look.estimate();
        // Floats have no matches to be found; bytes may, and whatever repeats.
        if !look.repeats && (look.width > 1 || planes > WORTH) {
            return if planes > WORTH { None } else { self.planes(raw, &look, out) };
        }
        let matches = self.squeezed_sample();
        // A sample shows few of the matches that there are: when in doubt both are made.
        if look.repeats && planes <= WORTH && matches < planes * 1.3 && matches > planes * 0.7 {
            return self.shorter(raw, &look, out);
        }
        if matches < planes * 0.98 { self.squeezed(raw, out) } else { self.planes(raw, &look, out) }
    }

    /// `raw` as planes, if that is worth it.
    fn planes(&mut self, raw: &[u8], look: &Look, out: &mut Vec<u8>) -> Option<Encoding> {
        let done = self.rot.encode(raw, look, &mut self.squeezer, out) && worth(out, raw);
        done.then(|| Encoding { width: look.width, phase: look.phase, ..Encoding::plain(Codec::Rot) })
    }

    /// `raw` as one zstd frame, if that is worth it.
    fn squeezed(&mut self, raw: &[u8], out: &mut Vec<u8>) -> Option<Encoding> {
        (self.squeezer.squeeze(raw, out) && worth(out, raw)).then(|| Encoding::plain(Codec::Zstd))
    }

    /// The shorter one of both.
    fn shorter(&mut self, raw: &[u8], look: &Look, out: &mut Vec<u8>) -> Option<Encoding> {
        let planes = self.planes(raw, look, out);
        let mut other = std::mem::take(&mut self.other);
        let mut chosen = planes;
        if let Some(squeezed) = self.squeezed(raw, &mut other)
            && (planes.is_none() || other.len() < out.len())
        {
            std::mem::swap(out, &mut other);
            chosen = Some(squeezed);
        }
        self.other = other;
        chosen
    }

    /// The part of the sample's length that is left of it by zstd.
    fn squeezed_sample(&mut self) -> f32 {
        let done = self.squeezer.squeeze(&self.sample, &mut self.other);
        if done { self.other.len() as f32 / self.sample.len().max(1) as f32 } else { 1.0 }
    }

    /// Replaces `out` by what `raw` differs from `base` in and tells how it is encoded, but for the base, which is the
    /// caller's to name. `like` says how `raw` is stored by itself: its width and phase count. `None` when they have no
    /// floats or differ in length.
    pub fn encode_delta(
        &mut self,
        like: &Encoding,
        raw: &[u8],
        base: &[u8],
        out: &mut Vec<u8>,
    ) -> Option<Encoding> {
        delta::encode(like, raw, base, out)
    }
}

/// Whether `stored` saves enough of `raw`.
fn worth(stored: &[u8], raw: &[u8]) -> bool {
    stored.len() <= raw.len() / 50 * 49
}

/// The byte that all of `raw` are equal to, if there is one.
pub fn constant(raw: &[u8]) -> Option<u8> {
    let (first, rest) = raw.split_first()?;
    // Each byte equals its neighbour: one memcmp, which stops at the first difference.
    (rest == raw.get(..rest.len())?).then_some(*first)
}
