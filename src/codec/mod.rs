//! The stored form of a blob's bytes. Pure: bytes in, bytes out.
//!
//! The id is of the raw bytes; which encoding stores them is the blob header's to say. So encodings are added without a
//! new format, and stored blobs are encoded anew without a new name. Decoding is total and writes exactly the raw length.

pub mod decode;
mod delta;
pub mod encode;
pub mod encoding;
mod huffman;
mod lz;
mod planes;
mod rot;
mod sample;

pub use decode::decode;
pub use delta::estimate as estimate_delta;
pub use encode::Encoder;
pub use encoding::{Codec, Encoding, MAX_RAW, Malformed};
