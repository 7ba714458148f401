//! What is measured against one another: each turns a chunk into stored bytes and back.

use ckptfs::base::id::ChunkId;
use ckptfs::codec::{self, Codec, Encoder, Encoding};
use zstd::bulk::{Compressor, Decompressor};

use super::planes::{self, Change};
use super::series::Pair;

/// One way to store chunks. `out` is replaced; decoding fills `out`, which has the raw length.
pub trait Side {
    /// Its name in the tables.
    fn name(&self) -> String;
    /// Stores a chunk; the encoding is asked for again when it is decoded.
    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding>;
    /// The chunk again.
    fn decode(&mut self, pair: &Pair, encoding: Option<&Encoding>, stored: &[u8], out: &mut [u8]);
}

fn compressor() -> Compressor<'static> {
    Compressor::new(1).unwrap()
}

/// One zstd frame, level 1.
pub struct Zstd(Compressor<'static>, Decompressor<'static>);

impl Zstd {
    pub fn new() -> Self {
        Zstd(compressor(), Decompressor::new().unwrap())
    }
}

impl Side for Zstd {
    fn name(&self) -> String {
        "zstd -1".into()
    }

    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(pair.raw.len()));
        self.0.compress_to_buffer(&pair.raw, out).unwrap();
        None
    }

    fn decode(&mut self, _: &Pair, _: Option<&Encoding>, stored: &[u8], out: &mut [u8]) {
        assert_eq!(self.1.decompress_to_buffer(stored, out).unwrap(), out.len());
    }
}

/// Planes of bytes, perhaps of what differs from the base, each a zstd frame of level 1 behind its length.
pub struct Planes {
    change: Change,
    zstd: Zstd,
    planes: Vec<u8>,
}

impl Planes {
    pub fn new(change: Change) -> Self {
        Planes { change, zstd: Zstd::new(), planes: Vec::new() }
    }

    fn lengths(pair: &Pair) -> impl Iterator<Item = usize> {
        let count = pair.raw.len() / pair.width;
        let rest = pair.raw.len() % pair.width;
        std::iter::repeat_n(count, pair.width).chain((rest > 0).then_some(rest))
    }
}

impl Side for Planes {
    fn name(&self) -> String {
        match self.change {
            Change::None => "byte planes + zstd -1",
            Change::Xor => "XOR + planes + zstd -1",
            Change::Subtract => "subtract + planes + zstd -1",
        }
        .into()
    }

    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        self.planes.resize(pair.raw.len(), 0);
        planes::split(&pair.raw, &pair.base, pair.width, self.change, &mut self.planes);
        let bound = zstd::zstd_safe::compress_bound(pair.raw.len());
        out.resize(2 * bound, 0);
        let (mut from, mut to) = (0, 0);
        for length in Self::lengths(pair) {
            let plane = &self.planes[from..from + length];
            let stored = self.zstd.0.compress_to_buffer(plane, &mut out[to + 4..]).unwrap();
            out[to..to + 4].copy_from_slice(&(stored as u32).to_le_bytes());
            (from, to) = (from + length, to + 4 + stored);
        }
        out.truncate(to);
        None
    }

    fn decode(&mut self, pair: &Pair, _: Option<&Encoding>, mut stored: &[u8], out: &mut [u8]) {
        self.planes.resize(out.len(), 0);
        let mut to = 0;
        for length in Self::lengths(pair) {
            let (head, rest) = stored.split_first_chunk::<4>().unwrap();
            let (frame, rest) = rest.split_at(u32::from_le_bytes(*head) as usize);
            self.zstd.1.decompress_to_buffer(frame, &mut self.planes[to..to + length]).unwrap();
            (stored, to) = (rest, to + length);
        }
        planes::join(&self.planes, &pair.base, pair.width, self.change, out);
    }
}

/// Bytes grouped by their place in an element, then LZ4, as Xet.
pub struct GroupedLz4(Vec<u8>);

impl GroupedLz4 {
    pub fn new() -> Self {
        GroupedLz4(Vec::new())
    }
}

/// Xet groups four bytes whatever the elements are.
const XET_WIDTH: usize = 4;

impl Side for GroupedLz4 {
    fn name(&self) -> String {
        "byte groups + LZ4".into()
    }

    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        self.0.resize(pair.raw.len(), 0);
        planes::split(&pair.raw, &[], XET_WIDTH, Change::None, &mut self.0);
        out.resize(lz4_flex::block::get_maximum_output_size(pair.raw.len()), 0);
        let stored = lz4_flex::block::compress_into(&self.0, out).unwrap();
        out.truncate(stored);
        None
    }

    fn decode(&mut self, _: &Pair, _: Option<&Encoding>, stored: &[u8], out: &mut [u8]) {
        self.0.resize(out.len(), 0);
        assert_eq!(lz4_flex::block::decompress_into(stored, &mut self.0).unwrap(), out.len());
        planes::join(&self.0, &[], XET_WIDTH, Change::None, out);
    }
}

/// Pcodec at its default level: f32, or, for bf16, which it does not know, u16.
pub struct Pco;

/// Numbers from bytes, and bytes from numbers.
macro_rules! pco_of {
    ($type:ty, $pair:expr, $out:expr) => {{
        let numbers: Vec<$type> = $pair
            .raw
            .chunks_exact(size_of::<$type>())
            .map(|n| <$type>::from_le_bytes(n.try_into().unwrap()))
            .collect();
        *$out = pco::standalone::simple_compress(&numbers, &pco::ChunkConfig::default()).unwrap();
    }};
    (back $type:ty, $stored:expr, $out:expr) => {{
        let numbers: Vec<$type> = pco::standalone::simple_decompress($stored).unwrap();
        for (to, number) in $out.chunks_exact_mut(size_of::<$type>()).zip(numbers) {
            to.copy_from_slice(&number.to_le_bytes());
        }
    }};
}

impl Side for Pco {
    fn name(&self) -> String {
        "pco".into()
    }

    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        match pair.width {
            2 => pco_of!(u16, pair, out),
            _ => pco_of!(f32, pair, out),
        }
        None
    }

    fn decode(&mut self, pair: &Pair, _: Option<&Encoding>, stored: &[u8], out: &mut [u8]) {
        match pair.width {
            2 => pco_of!(back u16, stored, out),
            _ => pco_of!(back f32, stored, out),
        }
    }
}

/// What ckptfs stores when it seals.
pub struct Own(pub Encoder);

impl Side for Own {
    fn name(&self) -> String {
        "ckptfs".into()
    }

    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        Some(self.0.encode(&pair.raw, out))
    }

    fn decode(&mut self, _: &Pair, encoding: Option<&Encoding>, stored: &[u8], out: &mut [u8]) {
        codec::decode(encoding.unwrap(), stored, None, out).unwrap();
    }
}

/// What ckptfs stores of an older version, given how the chunk is stored by itself.
pub struct OwnDelta(pub Encoder);

impl Side for OwnDelta {
    fn name(&self) -> String {
        "ckptfs delta".into()
    }

    /// Where the codec has no delta for it: the bytes as they are.
    fn encode(&mut self, pair: &Pair, out: &mut Vec<u8>) -> Option<Encoding> {
        let like = pair.like.as_ref().unwrap();
        let Some(encoding) = self.0.encode_delta(like, &pair.raw, &pair.base, out) else {
            out.clear();
            out.extend_from_slice(&pair.raw);
            return Some(Encoding::plain(Codec::Raw));
        };
        Some(Encoding { base: Some(ChunkId([0; ChunkId::LEN])), ..encoding })
    }

    fn decode(&mut self, pair: &Pair, encoding: Option<&Encoding>, stored: &[u8], out: &mut [u8]) {
        let encoding = encoding.unwrap();
        codec::decode(encoding, stored, encoding.base.map(|_| &pair.base[..]), out).unwrap();
    }
}
