//! What a blob header says about how its bytes are stored.

use crate::base::id::ChunkId;

/// The longest raw length of a blob, in bytes.
pub const MAX_RAW: usize = 16 << 20;

/// Stored bytes that are not what their header says; the text tells what is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

/// How bytes are encoded; the number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    Raw = 0,
    /// One byte that all are equal to.
    Constant = 1,
    /// One zstd frame.
    Zstd = 2,
    /// Float planes, each by itself: `codec/rot`.
    Rot = 3,
    /// What differs from the elements of a base: `codec/delta`.
    Delta = 4,
}

impl Codec {
    /// The codec with this number, if this program knows it.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Codec::Raw),
            1 => Some(Codec::Constant),
            2 => Some(Codec::Zstd),
            3 => Some(Codec::Rot),
            4 => Some(Codec::Delta),
            _ => None,
        }
    }
}

/// How one blob's bytes are encoded, as its header says it.
///
/// Numbers, not a [`Codec`]: a header of a codec that this program does not know is still a header, and its blob can be
/// walked over, copied and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The number of a [`Codec`].
    pub codec: u8,
    /// The codec's version.
    pub version: u8,
    /// Bytes of an element, 0 = none.
    pub width: u8,
    /// Offset of the first whole element, in bytes.
    pub phase: u8,
    /// The blob that is needed to decode this one.
    pub base: Option<ChunkId>,
}

impl Encoding {
    /// Version 1 of `codec`, without elements and without a base.
    pub fn plain(codec: Codec) -> Self {
        Encoding { codec: codec as u8, version: 1, width: 0, phase: 0, base: None }
    }
}
