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
        // What repeats far apart is not in the sample.
        if sample::repeats_far(raw) {
            return self.shorter(raw, &look, out);
        }
        if look.may_match() {
            let matches = self.squeezed_sample();
            // The sample shows fewer matches than there are.
            if look.repeats && matches > planes * 0.9 && matches < planes * 1.1 {
                return self.shorter(raw, &look, out);
            }
            if matches < planes * 0.98 {
                return self.squeezed(raw, out);
            }
        }
        if planes > WORTH { None } else { self.planes(raw, &look, out) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode;
    use crate::content::hash::chunk_id;

    fn noise(seed: u32, len: usize) -> Vec<u8> {
        let blocks =
            (0..len as u32 / 32 + 1).flat_map(|n| chunk_id(&[seed, n].map(u32::to_le_bytes).concat()).0);
        blocks.take(len).collect()
    }

    /// Four-byte floats with one of four exponents: 2 of 8 bits of entropy in a quarter of the bytes.
    fn floats(seed: u32, len: usize) -> Vec<u8> {
        let sign_and_exponent = |byte: u8| byte & 0x80 | 0x3C | byte & 1;
        let chunk = |four: &[u8]| [four[0], four[1], four[2], sign_and_exponent(four[3])];
        noise(seed, len).as_chunks::<4>().0.iter().flat_map(|four| chunk(four)).collect()
    }

    /// The codec that an encoder takes for `raw`, and the part of its length that is stored; it comes back.
    fn encoded(encoder: &mut Encoder, out: &mut Vec<u8>, raw: &[u8]) -> (Codec, f32) {
        let encoding = encoder.encode(raw, out);
        let mut back = vec![0x5A; raw.len()];
        decode(&encoding, out, None, &mut back).unwrap();
        assert_eq!(back, raw);
        assert!(out.len() <= raw.len());
        (Codec::from_number(encoding.codec).unwrap(), out.len() as f32 / raw.len() as f32)
    }

    #[test]
    fn each_kind_of_data_takes_what_suits_it_with_one_encoder_and_one_buffer() {
        let len = 1 << 19;
        let rows: Vec<u8> = (0..len as u32 / 3072).flat_map(|n| floats(n % 50, 3072)).collect();
        let sparse: Vec<u8> = floats(1, len / 20)
            .as_chunks::<4>()
            .0
            .iter()
            .flat_map(|four| [&[0; 76][..], four].concat())
            .collect();
        let nibbles: Vec<u8> = noise(2, len).iter().map(|byte| byte & 0x77).collect();
        let ids: Vec<u8> = noise(3, len / 4)
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|two| [two[0], two[1], 0, 0, 0, 0, 0, 0])
            .collect();
        let json: Vec<u8> = (0..len / 30)
            .flat_map(|n| format!("{{\"step\": {n}, \"loss\": 0.{n}}}\n").into_bytes())
            .collect();
        let shifted = [&b"header"[..], &floats(4, len)].concat();
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        for _ in 0..2 {
            for (name, raw, codecs, least, most) in [
                ("floats", &floats(5, len), &[Codec::Rot][..], 0.79, 0.83),
                ("floats after a header", &shifted, &[Codec::Rot], 0.79, 0.83),
                ("noise", &noise(6, len), &[Codec::Raw], 1.0, 1.0),
                ("rows that repeat", &rows, &[Codec::Zstd], 0.2, 0.5),
                ("mostly zeros", &sparse, &[Codec::Zstd, Codec::Rot], 0.05, 0.12),
                ("six bits of noise in a byte", &nibbles, &[Codec::Rot, Codec::Zstd], 0.74, 0.77),
                ("small integers", &ids, &[Codec::Rot], 0.24, 0.26),
                ("text", &json, &[Codec::Zstd], 0.01, 0.4),
                ("few floats", &floats(7, 4096), &[Codec::Raw, Codec::Zstd], 0.8, 1.0),
            ] {
                let (codec, part) = encoded(&mut encoder, &mut out, raw);
                assert!(
                    codecs.contains(&codec) && part >= least && part <= most,
                    "{name}: {codec:?}, {part}"
                );
            }
        }
    }

    #[test]
    fn nothing_grows_at_any_length() {
        let (mut encoder, mut out) = (Encoder::new(), Vec::new());
        for len in [0, 1, 2, 63, 8191, 8192, 8193, 9001, 20_011] {
            encoded(&mut encoder, &mut out, &noise(8, len));
            encoded(&mut encoder, &mut out, &floats(9, len));
        }
    }
}
