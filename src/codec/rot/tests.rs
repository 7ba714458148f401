//! Every width, phase and border comes back; no stored bytes are too wrong for an answer.

use super::*;
use crate::codec::sample;
use proptest::prelude::*;

/// A look of this width and phase whose planes are all called `plane`.
fn look(width: u8, phase: u8, plane: Plane) -> Look {
    Look::of(phase, &vec![plane; usize::from(width)])
}

fn encoding(look: &Look) -> Encoding {
    Encoding { width: look.width, phase: look.phase, ..Encoding::plain(crate::codec::Codec::Rot) }
}

/// `raw` as it is stored, whether or not that is shorter.
fn stored(raw: &[u8], look: &Look) -> Option<Vec<u8>> {
    let mut out = vec![0xEE; 77];
    Rot::default().stored(raw, look, &mut Squeezer::new(), &mut out).map(|()| out)
}

fn back(encoding: &Encoding, stored: &[u8], len: usize) -> Result<Vec<u8>, Malformed> {
    let mut out = vec![0xA5; len];
    decode(encoding, stored, &mut out).map(|()| out)
}

fn noise(len: usize) -> Vec<u8> {
    (0..len as u32 / 32 + 1)
        .flat_map(|n| crate::content::hash::chunk_id(&n.to_le_bytes()).0)
        .take(len)
        .collect()
}

#[test]
fn every_width_phase_kind_and_length_around_borders_comes_back() {
    let noise = noise(3000);
    for width in [1_u8, 2, 4, 8] {
        let block = 64 * usize::from(width);
        let ends =
            [0, 1, 7, 8, 9, 15, 16, 17, block - 1, block, block + 1, 2 * block + 9, 3 * block - 1, 2999];
        for (phase, len) in (0..width).flat_map(|phase| ends.map(|len| (phase, len))) {
            let raw = &noise[..len];
            for plane in [Plane::Noise, Plane::Skewed, Plane::Still, Plane::Unsigned] {
                let look = look(width, phase, plane);
                let Some(stored) = stored(raw, &look) else {
                    assert!(len < usize::from(width + phase), "{width} {phase} {len}");
                    continue;
                };
                assert_eq!(
                    back(&encoding(&look), &stored, len).unwrap(),
                    raw,
                    "{width} {phase} {len} {plane:?}"
                );
            }
        }
    }
}

#[test]
fn planes_are_stored_as_the_format_says() {
    // Two float16 between a byte before and a byte after: rotated 0x0203 and 0x0205.
    let raw = [0xAA, 0x81, 0x81, 0x82, 0x81, 0xBB];
    let looked = Look::of(1, &[Plane::Noise, Plane::Skewed]);
    let bytes = stored(&raw, &looked).unwrap();
    assert_eq!(bytes, [RAW, CONSTANT, 0xAA, 0xBB, 3, 5, 3]);
    assert_eq!(back(&encoding(&looked), &bytes, 6).unwrap(), raw);
}

#[test]
fn what_does_not_shrink_is_refused_and_buffers_are_used_again() {
    let noise = noise(20_000);
    let skewed: Vec<u8> =
        noise.iter().enumerate().map(|(n, byte)| if n % 4 == 3 { byte % 3 } else { *byte }).collect();
    let (mut rot, mut out, mut squeezer) = (Rot::default(), Vec::new(), Squeezer::new());
    for (raw, width, shrinks) in
        [(&skewed, 4, true), (&noise, 8, false), (&skewed, 8, true), (&noise, 2, false), (&skewed, 4, true)]
    {
        let look = look(width, 0, Plane::Skewed);
        assert_eq!(rot.encode(raw, &look, &mut squeezer, &mut out), shrinks);
        if shrinks {
            assert!(out.len() < raw.len() / 5 * 4 + 500);
            assert_eq!(&back(&encoding(&look), &out, raw.len()).unwrap(), raw);
        }
    }
}

#[test]
fn a_damaged_form_is_malformed() {
    let raw: Vec<u8> = noise(5000).iter().map(|byte| byte % 9).collect();
    let looked = look(4, 1, Plane::Skewed);
    let (encoding, bytes) = (encoding(&looked), stored(&raw, &looked).unwrap());
    assert_eq!(back(&encoding, &bytes, raw.len()).unwrap(), raw);
    for cut in [0, 3, 4, 5, 7, 8, 11, 12, bytes.len() / 2, bytes.len() - 1] {
        assert!(back(&encoding, &bytes[..cut], raw.len()).is_err(), "cut at {cut}");
    }
    let more = [&bytes[..], &[0]].concat();
    assert_eq!(back(&encoding, &more, raw.len()), Err(Malformed("more bytes than planes")));
    for (at, value) in
        [(0, 4), (0, UNSIGNED), (0, RAW), (0, CONSTANT), (8, 0xFF), (11, 0xFF), (12, 0), (bytes.len() / 2, 0)]
    {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        // Damage inside a frame may give other bytes; it never gives a panic. Here it is found.
        if at < 13 {
            assert!(back(&encoding, &bytes, raw.len()).is_err(), "byte {at} is {value}");
        }
    }
    for (width, phase) in [(0, 0), (3, 0), (16, 0), (4, 4), (2, 3), (255, 255)] {
        assert!(back(&Encoding { width, phase, ..encoding }, &bytes, raw.len()).is_err());
    }
    assert!(back(&encoding, &bytes, 0).is_err());
    assert!(back(&encoding, &bytes, 4).is_err());
}

proptest! {
    #[test]
    fn any_stored_bytes_give_a_result(
        kinds in proptest::collection::vec(0_u8..5, 8), bytes in proptest::collection::vec(any::<u8>(), 0..300),
        width in 0_u8..9, phase in 0_u8..9, len in 0_usize..600,
    ) {
        let encoding = Encoding { width, phase, ..Encoding::plain(crate::codec::Codec::Rot) };
        let kinds = &kinds[..usize::from(width).min(8)];
        if let Ok(raw) = back(&encoding, &[kinds, &bytes[..]].concat(), len) {
            prop_assert_eq!(raw.len(), len);
        }
    }

    #[test]
    fn a_changed_byte_gives_a_result(at in any::<prop::sample::Index>(), value in any::<u8>(), phase in 0_u8..4) {
        let raw: Vec<u8> = noise(3000).iter().map(|byte| byte % 9).collect();
        let looked = look(4, phase, Plane::Skewed);
        let mut bytes = stored(&raw, &looked).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(back) = back(&encoding(&looked), &bytes, raw.len()) {
            prop_assert_eq!(back.len(), raw.len());
        }
    }

    #[test]
    fn any_raw_bytes_come_back_by_any_look(
        raw in proptest::collection::vec(any::<u8>(), 0..3000), modulus in 1_u8..=255, width in 0_u32..4, phase in 0_u8..8,
        planes in proptest::collection::vec(0_usize..4, 8),
    ) {
        let raw: Vec<u8> = raw.iter().map(|byte| byte % modulus).collect();
        let width = 1 << width;
        let planes: Vec<Plane> =
            planes.iter().take(width).map(|at| [Plane::Noise, Plane::Skewed, Plane::Still, Plane::Unsigned][*at]).collect();
        let looked = Look::of(phase % width as u8, &planes);
        if let Some(bytes) = stored(&raw, &looked) {
            prop_assert_eq!(back(&encoding(&looked), &bytes, raw.len()).unwrap(), raw);
        }
    }
}

#[test]
fn positive_numbers_store_no_sign() {
    let raw: Vec<u8> =
        noise(1 << 18).chunks(4).flat_map(|four| [four[0], four[1], four[2], 60 + four[3] % 3]).collect();
    let mut sampled = Vec::new();
    assert!(sample::take(&raw, &mut sampled));
    let look = sample::look(&sampled);
    assert_eq!(look.planes(), [Plane::Unsigned, Plane::Noise, Plane::Noise, Plane::Skewed]);
    let bytes = stored(&raw, &look).unwrap();
    assert_eq!(bytes[..4], [UNSIGNED, RAW, RAW, FRAME]);
    assert_eq!(back(&encoding(&look), &bytes, raw.len()).unwrap(), raw);
    // One negative number where the sample did not look: the plane is coded as any other.
    let mut negative = raw.clone();
    negative[raw.len() / 2 + 3] |= 0x80;
    let bytes = stored(&negative, &look).unwrap();
    assert_eq!(bytes[..4], [FRAME, RAW, RAW, FRAME]);
    assert_eq!(back(&encoding(&look), &bytes, raw.len()).unwrap(), negative);
}

#[test]
fn the_sampled_look_fits_the_chunk() {
    let mut sampled = Vec::new();
    let raw: Vec<u8> =
        noise(1 << 18).chunks(4).flat_map(|four| [four[0], four[1], four[2], 60 + four[3] % 3]).collect();
    assert!(sample::take(&raw, &mut sampled));
    let look = sample::look(&sampled);
    let bytes = stored(&raw, &look).unwrap();
    // The rotated last byte has 6 values.
    assert!(
        (bytes.len() as f32 / raw.len() as f32 - look.estimate()).abs() < 0.01,
        "{} {look:?}",
        bytes.len()
    );
    assert_eq!(back(&encoding(&look), &bytes, raw.len()).unwrap(), raw);
}
