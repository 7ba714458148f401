//! The raw bytes of a stored form.
//!
//! Any bytes in: exactly `out.len()` raw bytes or an error, in time and memory bounded by them. The caller checks the
//! stored checksum before and the hash after.

use super::encoding::{Codec, Encoding, Malformed};
use super::{delta, lz, rot};

/// Fills `out`, whose length is the blob's raw length, from the `stored` bytes; `base` are the raw bytes of the blob that
/// the encoding names as its base, if it names one.
pub fn decode(
    encoding: &Encoding,
    stored: &[u8],
    base: Option<&[u8]>,
    out: &mut [u8],
) -> Result<(), Malformed> {
    let codec = Codec::from_number(encoding.codec).ok_or(Malformed("unknown codec"))?;
    if encoding.version != 1 {
        return Err(Malformed("unknown version of a codec"));
    }
    if encoding.base.is_some() != (codec == Codec::Delta) || encoding.base.is_some() != base.is_some() {
        return Err(Malformed("a base where the codec has none, or none where it needs one"));
    }
    match codec {
        Codec::Raw if stored.len() == out.len() => out.copy_from_slice(stored),
        Codec::Raw => return Err(Malformed("raw bytes of another length")),
        Codec::Constant => match stored {
            [byte] if !out.is_empty() => out.fill(*byte),
            _ => return Err(Malformed("a constant that is not one byte")),
        },
        Codec::Zstd => lz::unsqueeze(stored, out)?,
        Codec::Rot => rot::decode(encoding, stored, out)?,
        Codec::Delta => delta::decode(encoding, stored, base.unwrap_or_default(), out)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ChunkId;
    use crate::codec::encode::Encoder;
    use proptest::prelude::*;

    fn stored(raw: &[u8]) -> (Encoding, Vec<u8>) {
        let mut out = b"what was there before".to_vec();
        let encoding = Encoder::new().encode(raw, &mut out);
        (encoding, out)
    }

    fn back(encoding: &Encoding, stored: &[u8], len: usize) -> Result<Vec<u8>, Malformed> {
        let mut out = vec![0xA5; len];
        decode(encoding, stored, None, &mut out).map(|()| out)
    }

    #[test]
    fn each_kind_of_data_takes_its_encoding_and_comes_back() {
        let text = b"loss 0.693 step 10\n".repeat(5000);
        let noise = crate::content::hash::chunk_id(b"seed").0;
        for (raw, codec, most) in [
            (&text[..], Codec::Zstd, text.len() / 4),
            (&noise[..], Codec::Raw, 32),
            (&[7; 1 << 20][..], Codec::Constant, 1),
            (&[][..], Codec::Raw, 0),
        ] {
            let (encoding, bytes) = stored(raw);
            assert_eq!(encoding, Encoding::plain(codec));
            assert!(bytes.len() <= most, "{} bytes as {codec:?}", bytes.len());
            assert_eq!(back(&encoding, &bytes, raw.len()).unwrap(), raw);
        }
    }

    #[test]
    fn another_length_an_unknown_codec_and_a_base_are_refused() {
        let raw = b"abcabcabc".repeat(100);
        let (encoding, bytes) = stored(&raw);
        assert!(back(&encoding, &bytes, raw.len() - 1).is_err());
        assert!(back(&encoding, &bytes, raw.len() + 1).is_err());
        assert!(back(&encoding, &bytes[..bytes.len() - 1], raw.len()).is_err());
        assert!(back(&Encoding { codec: 200, ..encoding }, &bytes, raw.len()).is_err());
        assert!(back(&Encoding { version: 2, ..encoding }, &bytes, raw.len()).is_err());
        assert!(back(&Encoding { base: Some(ChunkId([1; 32])), ..encoding }, &bytes, raw.len()).is_err());
        assert!(back(&Encoding::plain(Codec::Constant), b"", 5).is_err());
    }

    proptest! {
        #[test]
        fn any_stored_bytes_give_a_result(codec in 0_u8..4, bytes in proptest::collection::vec(any::<u8>(), 0..300), len in 0_usize..5000) {
            let encoding = Encoding { codec, ..Encoding::plain(Codec::Raw) };
            if let Ok(raw) = back(&encoding, &bytes, len) {
                prop_assert_eq!(raw.len(), len);
            }
        }

        #[test]
        fn any_raw_bytes_come_back(raw in proptest::collection::vec(0_u8..4, 0..4000)) {
            let (encoding, bytes) = stored(&raw);
            prop_assert!(bytes.len() <= raw.len().max(1));
            prop_assert_eq!(back(&encoding, &bytes, raw.len()).unwrap(), raw);
        }
    }
}
