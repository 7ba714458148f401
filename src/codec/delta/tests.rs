//! Deltas as a caller sees them: everything comes back, damage is told, sizes are near the entropy.

use super::*;
use proptest::prelude::*;

fn like(width: u8, phase: u8) -> Encoding {
    Encoding { width, phase, ..Encoding::plain(Codec::Rot) }
}

/// The stored length, if there is a delta; it is decoded and compared.
fn there_and_back(width: u8, phase: u8, raw: &[u8], base: &[u8]) -> Option<usize> {
    let mut stored = b"what was there before".to_vec();
    let encoding = encode(&like(width, phase), raw, base, &mut stored)?;
    assert!(stored.len() < raw.len());
    let mut out = vec![0xA5; raw.len()];
    decode(&encoding, &stored, base, &mut out).unwrap();
    assert!(out == raw);
    Some(stored.len())
}

#[test]
fn equal_blobs_cost_next_to_nothing() {
    let raw: Vec<u8> = (0..1_u32 << 18).flat_map(|n| (n as f32).sqrt().to_le_bytes()).collect();
    for width in [2, 4] {
        let stored = there_and_back(width, 1, &raw, &raw).unwrap();
        assert!(stored < 36, "{stored} bytes of {width}");
    }
}

#[test]
fn another_length_width_or_phase_is_no_delta_and_a_wrong_base_is_malformed() {
    let raw: Vec<u8> = (0..4000_u32).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let mut stored = Vec::new();
    for (width, phase, base) in
        [(1, 0, &raw[..]), (8, 0, &raw), (0, 0, &raw), (2, 2, &raw), (4, 0, &raw[4..])]
    {
        assert_eq!(encode(&like(width, phase), &raw, base, &mut stored), None);
    }
    assert_eq!(encode(&like(4, 3), &raw[..6], &raw[..6], &mut stored), None);
    let encoding = encode(&like(4, 0), &raw, &raw, &mut stored).unwrap();
    let mut out = vec![0; raw.len()];
    for base in [&raw[1..], &[], &[&raw[..], &[0]].concat()] {
        assert!(decode(&encoding, &stored, base, &mut out).is_err());
    }
    let mut longer = vec![0; raw.len() + 4];
    assert!(
        decode(&encoding, &stored, &[&raw[..], &[0; 4]].concat(), &mut longer).is_ok(),
        "more of what is certain"
    );
    for encoding in [Encoding { width: 8, ..encoding }, Encoding { phase: 4, ..encoding }] {
        assert!(decode(&encoding, &stored, &raw, &mut out).is_err());
    }
}

#[test]
fn a_delta_is_decoded_where_its_base_is_named_and_given() {
    let base: Vec<u8> = (0..4000_u32).flat_map(|n| (n as f32).to_le_bytes()).collect();
    let mut raw = base.clone();
    raw[5] ^= 1;
    let mut stored = Vec::new();
    let encoding = crate::codec::Encoder::new().encode_delta(&like(4, 0), &raw, &base, &mut stored).unwrap();
    assert_eq!((encoding.codec, encoding.width, encoding.base), (Codec::Delta as u8, 4, None));
    let named = Encoding { base: Some(crate::base::id::ChunkId([1; 32])), ..encoding };
    let mut out = vec![0; raw.len()];
    crate::codec::decode(&named, &stored, Some(&base), &mut out).unwrap();
    assert!(out == raw);
    assert!(crate::codec::decode(&named, &stored, None, &mut out).is_err());
    assert!(crate::codec::decode(&encoding, &stored, Some(&base), &mut out).is_err());
}

#[test]
fn unlike_blobs_give_no_delta() {
    let noise = |seed: u32| -> Vec<u8> {
        (0..2048_u32).flat_map(|n| crate::content::hash::chunk_id(&(n + seed).to_le_bytes()).0).collect()
    };
    for width in [2, 4] {
        assert_eq!(there_and_back(width, 0, &noise(0), &noise(1 << 20)), None);
    }
}

/// Normally distributed numbers, from a generator of its own that gives the same ones each time.
fn normal(seed: u32) -> impl Iterator<Item = f64> {
    (0_u32..).map(move |n| {
        let digest = crate::content::hash::chunk_id(&[seed, n].map(u32::to_le_bytes).concat()).0;
        let uniform =
            digest.as_chunks::<2>().0.iter().map(|two| f64::from(u16::from_le_bytes(*two)) / 65536.0);
        // Twelve uniform numbers have the variance 1.
        uniform.take(12).sum::<f64>() - 6.0
    })
}

/// `floats` as bytes, of 4 or, rounded, of 2.
fn floats(width: u8, floats: impl Iterator<Item = f64>) -> Vec<u8> {
    let bytes = |bits: u32| match width {
        2 => (bits + 0x7FFF + (bits >> 16 & 1)).to_le_bytes()[2..].to_vec(),
        _ => bits.to_le_bytes().to_vec(),
    };
    floats.flat_map(|float| bytes((float as f32).to_bits())).collect()
}

#[test]
fn weights_that_moved_take_little_and_the_estimate_tells_how_much() {
    for (width, step, most) in [(4, 1e-6, 40), (4, 1e-4, 61), (2, 1e-5, 7), (2, 1e-4, 20)] {
        let weights: Vec<f64> = normal(1).take(1 << 16).map(|number| number * 0.02).collect();
        let base = floats(width, weights.iter().copied());
        let raw = floats(width, weights.iter().zip(normal(2)).map(|(weight, more)| weight + more * step));
        let stored = there_and_back(width, 0, &raw, &base).unwrap();
        assert!(stored * 100 < raw.len() * most, "{stored} of {} bytes", raw.len());
        let estimate = estimate(&like(width, 0), &raw, &base).unwrap();
        assert!(estimate.abs_diff(stored) * 12 < stored, "{estimate} for {stored}");
    }
}

#[test]
fn an_estimate_is_there_where_a_delta_can_be() {
    let raw = vec![7; 1000];
    assert_eq!(estimate(&like(8, 0), &raw, &raw), None);
    assert_eq!(estimate(&like(4, 0), &raw, &raw[1..]), None);
    assert_eq!(estimate(&like(4, 3), &raw[..6], &raw[..6]), None);
    assert!(estimate(&like(4, 1), &raw, &raw).unwrap() < 30);
}

/// Elements around a base: most near, some anywhere; every length and phase.
fn pair() -> impl Strategy<Value = (u8, u8, Vec<u8>, Vec<u8>)> {
    let element = (any::<u32>(), 0_u32..33, any::<u32>(), any::<bool>());
    let elements = proptest::collection::vec(element, 0..700);
    (elements, any::<u64>(), any::<bool>(), 0_u8..4, 0_usize..4).prop_map(
        |(elements, near, wide, phase, less)| {
            let width = if wide { 4 } else { 2 };
            let (mut raw, mut base) = (Vec::new(), Vec::new());
            for (n, (bits, shift, step, like)) in elements.into_iter().enumerate() {
                // Near a few places, as exponents are, or any pattern.
                let bits = if like { (bits >> 12) | (near as u32) << 20 } else { bits };
                let step = if near >> (n % 64) & 1 == 0 { 0 } else { step.checked_shr(shift).unwrap_or(0) };
                base.extend_from_slice(&bits.to_le_bytes()[..width]);
                raw.extend_from_slice(&bits.wrapping_add(step).to_le_bytes()[..width]);
            }
            let len = raw.len().saturating_sub(less);
            (width as u8, phase % width as u8, raw[..len].to_vec(), base[..len].to_vec())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_pair_comes_back((width, phase, raw, base) in pair()) {
        there_and_back(width, phase, &raw, &base);
    }

    #[test]
    fn damage_gives_a_result_or_an_error(
        (width, phase, raw, base) in pair(),
        at in any::<proptest::sample::Index>(),
        with in 1_u8..,
        cut in 0_usize..200,
    ) {
        let mut stored = Vec::new();
        if let Some(encoding) = encode(&like(width, phase), &raw, &base, &mut stored) {
            let mut out = vec![0; raw.len()];
            let of_another = decode(&encoding, &stored, &vec![0x3F; raw.len()], &mut out);
            prop_assert!(of_another.is_err() || raw.len() < 4 || out.len() == raw.len());
            let shorter = stored[..stored.len().saturating_sub(cut + 1)].to_vec();
            if decode(&encoding, &shorter, &base, &mut out).is_ok() {
                prop_assert_eq!(out.len(), raw.len());
            }
            let place = at.index(stored.len());
            stored[place] ^= with;
            if decode(&encoding, &stored, &base, &mut out).is_ok() {
                prop_assert_eq!(out.len(), raw.len());
            }
        }
    }

    #[test]
    fn any_stored_bytes_give_a_result(
        groups in 0_u8..14,
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        base in proptest::collection::vec(any::<u8>(), 0..3000),
        wide in any::<bool>(),
        phase in 0_u8..5,
    ) {
        let encoding = Encoding { codec: Codec::Delta as u8, ..like(if wide { 4 } else { 2 }, phase) };
        let mut out = vec![0; base.len()];
        for stored in [&bytes[..], &[&[groups], &bytes[..]].concat()] {
            if decode(&encoding, stored, &base, &mut out).is_ok() {
                prop_assert!(stored.len() > 6);
            }
        }
    }
}
