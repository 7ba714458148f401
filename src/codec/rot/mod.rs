//! Floats as byte planes, each stored in the way that suits it.
//!
//! A float's sign, exponent and mantissa have little to do with each other, and the same field of neighbours much: so
//! elements are rotated and split into planes (`planes`), and each plane is one repeated byte, raw where it is noise, or a
//! zstd frame: of Huffman-coded literals alone (`huffman`) or, where hardly anything happens in it, an ordinary one.
//!
//! Stored, for elements of `width` bytes after `phase` bytes that belong to none:
//! `width` kinds, a byte each, least significant plane first · the bytes before the first whole element · those after the
//! last · the raw planes · the other planes: one byte, or a u32 length and a frame, or packed bits (`unsigned`). Raw planes
//! come first so that their places are known before anything is coded: splitting writes them where they stay.

mod unsigned;

use std::cell::RefCell;

use super::encode::constant;
use super::encoding::{Encoding, Malformed};
use super::huffman::Huffman;
use super::lz::{self, Squeezer};
use super::planes;
use super::sample::{Look, Plane};

/// All bytes of the plane are equal; one is stored.
const CONSTANT: u8 = 0;
/// The plane is stored as it is.
const RAW: u8 = 1;
/// One zstd frame.
const FRAME: u8 = 2;
/// Seven bits of each byte (`unsigned`).
const UNSIGNED: u8 = 3;

/// Encodes chunks one after the other with one scratch buffer.
#[derive(Default)]
pub(super) struct Rot {
    huffman: Huffman,
    /// The planes that are coded, as they are split.
    scratch: Vec<u8>,
}

impl Rot {
    /// Replaces `out` by the stored form of `raw`, of the width and phase and with the planes that `look` tells. False,
    /// with anything in `out`, where that is not shorter than `raw`.
    pub(super) fn encode(
        &mut self,
        raw: &[u8],
        look: &Look,
        squeezer: &mut Squeezer,
        out: &mut Vec<u8>,
    ) -> bool {
        self.stored(raw, look, squeezer, out).is_some() && out.len() < raw.len()
    }

    fn stored(&mut self, raw: &[u8], look: &Look, squeezer: &mut Squeezer, out: &mut Vec<u8>) -> Option<()> {
        let guesses = look.planes();
        let width = guesses.len();
        let (head, rest) = raw.split_at_checked(usize::from(look.phase))?;
        let elements = rest.len() / width.max(1);
        let (body, tail) = rest.split_at_checked(elements * width)?;
        if elements == 0 {
            return None;
        }

        let raws = guesses.iter().filter(|guess| **guess == Plane::Noise).count();
        // What was in `out` is overwritten: only what it lacks is filled.
        out.resize(width + head.len() + tail.len() + raws * elements, 0);
        if self.scratch.len() < (width - raws) * elements {
            self.scratch.resize((width - raws) * elements, 0);
        }
        let (ends, noise) = out.split_at_mut_checked(width + head.len() + tail.len())?;
        for (to, from) in ends.iter_mut().skip(width).zip(head.iter().chain(tail)) {
            *to = *from;
        }
        let mut noise = noise.chunks_exact_mut(elements);
        let mut coded = self.scratch.chunks_exact_mut(elements);
        let mut split: [&mut [u8]; planes::MOST] = Default::default();
        for (plane, guess) in split.iter_mut().zip(guesses) {
            *plane = if *guess == Plane::Noise { noise.next()? } else { coded.next()? };
        }
        if !planes::split(body, split.get_mut(..width)?) {
            return None;
        }

        let mut coded = self.scratch.chunks_exact(elements);
        for (number, guess) in guesses.iter().enumerate() {
            let kind = match guess {
                Plane::Noise => RAW,
                Plane::Skewed => append(coded.next()?, out, |plane, out| self.huffman.append(plane, out))?,
                Plane::Unsigned => {
                    let plane = coded.next()?;
                    if unsigned::is_unsigned(plane) {
                        unsigned::pack(plane, out);
                        UNSIGNED
                    } else {
                        append(plane, out, |plane, out| self.huffman.append(plane, out))?
                    }
                }
                Plane::Still => append(coded.next()?, out, |plane, out| squeezer.append(plane, out))?,
            };
            *out.get_mut(number)? = kind;
        }
        Some(())
    }
}

/// Appends a plane that is not stored raw, by `coder` where it is not constant; its kind.
fn append(plane: &[u8], out: &mut Vec<u8>, coder: impl FnOnce(&[u8], &mut Vec<u8>) -> bool) -> Option<u8> {
    if let Some(byte) = constant(plane) {
        out.push(byte);
        return Some(CONSTANT);
    }
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    if !coder(plane, out) {
        return None;
    }
    let len = u32::try_from(out.len() - at - 4).ok()?;
    out.get_mut(at..at + 4)?.copy_from_slice(&len.to_le_bytes());
    Some(FRAME)
}

thread_local! {
    /// The planes of a chunk that are not raw. Grows to the largest chunk that the thread has decoded.
    static DECODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Fills `out` from the `stored` form of exactly so many bytes.
pub(super) fn decode(encoding: &Encoding, stored: &[u8], out: &mut [u8]) -> Result<(), Malformed> {
    let (width, phase) = (usize::from(encoding.width), usize::from(encoding.phase));
    if ![1, 2, 4, 8].contains(&width) || phase >= width || phase > out.len() {
        return Err(Malformed("no such width or phase"));
    }
    let (head, rest) = out.split_at_mut_checked(phase).ok_or(SHORT)?;
    let elements = rest.len() / width;
    let (body, tail) = rest.split_at_mut_checked(elements * width).ok_or(SHORT)?;
    if elements == 0 {
        return Err(Malformed("planes of no elements"));
    }

    let mut stored = stored;
    let kinds = take(&mut stored, width)?;
    head.copy_from_slice(take(&mut stored, head.len())?);
    tail.copy_from_slice(take(&mut stored, tail.len())?);
    if let [kind] = kinds {
        // One plane is the bytes themselves.
        decode_plane(*kind, &mut stored, body)?;
        return if stored.is_empty() { Ok(()) } else { Err(LONG) };
    }
    let mut planes: [&[u8]; planes::MOST] = Default::default();
    for (plane, _) in planes.iter_mut().zip(kinds).filter(|(_, kind)| **kind == RAW) {
        *plane = take(&mut stored, elements)?;
    }
    DECODED.with_borrow_mut(|decoded| {
        let mut planes = planes;
        let others = kinds.iter().filter(|kind| **kind != RAW).count();
        if decoded.len() < others * elements {
            decoded.resize(others * elements, 0);
        }
        let mut decoded = decoded.chunks_exact_mut(elements);
        for (plane, kind) in planes.iter_mut().zip(kinds).filter(|(_, kind)| **kind != RAW) {
            let to = decoded.next().ok_or(SHORT)?;
            decode_plane(*kind, &mut stored, to)?;
            *plane = to;
        }
        if !stored.is_empty() {
            return Err(LONG);
        }
        if !planes::merge(planes.get(..width).ok_or(SHORT)?, body) {
            return Err(SHORT);
        }
        Ok(())
    })
}

/// Fills the plane `to` from what is next in `stored`.
fn decode_plane(kind: u8, stored: &mut &[u8], to: &mut [u8]) -> Result<(), Malformed> {
    match kind {
        RAW => to.copy_from_slice(take(stored, to.len())?),
        UNSIGNED => {
            let packed = take(stored, unsigned::packed_len(to.len()))?;
            if !unsigned::unpack(packed, to) {
                return Err(SHORT);
            }
        }
        CONSTANT => to.fill(*take(stored, 1)?.first().ok_or(SHORT)?),
        FRAME => {
            let (len, rest) = stored.split_first_chunk().ok_or(SHORT)?;
            *stored = rest;
            lz::unsqueeze(take(stored, u32::from_le_bytes(*len) as usize)?, to)?;
        }
        _ => return Err(Malformed("no such kind of plane")),
    }
    Ok(())
}

const LONG: Malformed = Malformed("more bytes than planes");
const SHORT: Malformed = Malformed("planes that end early");

/// The next `len` bytes of `stored`.
fn take<'s>(stored: &mut &'s [u8], len: usize) -> Result<&'s [u8], Malformed> {
    let (taken, rest) = stored.split_at_checked(len).ok_or(SHORT)?;
    *stored = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests;
