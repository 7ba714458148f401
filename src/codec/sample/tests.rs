//! Float widths and phases are found at every byte shift, and nothing is found where there is nothing.

use super::*;

/// Uniform bits, by splitmix64.
struct Random(u64);

impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut it = self.0;
        it = (it ^ it >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        it = (it ^ it >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        it ^ it >> 31
    }

    /// Normally distributed, by Box and Muller.
    fn normal(&mut self) -> f64 {
        let (a, b) = ((self.bits() >> 11) as f64 + 1.0, (self.bits() >> 11) as f64);
        let scale = 2_f64.powi(-53);
        (-2.0 * (a * scale).ln()).sqrt() * (std::f64::consts::TAU * b * scale).cos()
    }
}

/// The bits of a small normal number as a float16, rounded towards zero.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 255) as i32 - 112;
    let sign = (bits >> 16 & 0x8000) as u16;
    if exponent <= 0 { sign } else { sign | (exponent as u16) << 10 | (bits >> 13 & 1023) as u16 }
}

const LEN: usize = 1 << 18;

fn floats(kind: &str, sigma: f64) -> Vec<u8> {
    let mut random = Random(1);
    let mut bytes = Vec::new();
    while bytes.len() < LEN {
        let value = random.normal() * sigma;
        match kind {
            "f16" => bytes.extend(half(value as f32).to_le_bytes()),
            "bf16" => bytes.extend(((value as f32).to_bits() >> 16).to_le_bytes().iter().take(2)),
            "f32" => bytes.extend((value as f32).to_le_bytes()),
            _ => bytes.extend(value.to_le_bytes()),
        }
    }
    bytes
}

fn look_at(raw: &[u8]) -> Look {
    let mut sample = Vec::new();
    assert!(take(raw, &mut sample));
    assert_eq!(sample.len(), SAMPLE);
    look(&sample)
}

#[test]
fn floats_are_found_at_every_shift() {
    for (kind, width) in [("f16", 2), ("bf16", 2), ("f32", 4), ("f64", 8)] {
        for sigma in [1.0, 0.02] {
            let raw = floats(kind, sigma);
            for shift in 0..8 {
                let look = look_at(&[&[7; 8][..shift], &raw].concat());
                let found = (look.width, look.phase);
                assert_eq!(
                    found,
                    (width, shift as u8 % width),
                    "{kind} {sigma} shifted by {shift}: {look:?}"
                );
                assert!(look.planes().last() != Some(&Plane::Noise) && !look.repeats);
            }
        }
    }
}

#[test]
fn a_header_and_a_tail_do_not_hide_floats() {
    let raw = [
        &b"{\"weight\": [0, 16384], \"bias\": [16384, 16640]}\n".repeat(1000)[..LEN / 6],
        &floats("f32", 0.02),
    ]
    .concat();
    let look = look_at(&raw);
    assert_eq!((look.width, usize::from(look.phase)), (4, LEN / 6 % 4));
}

#[test]
fn a_bfloat16_kept_as_float32_begins_where_it_does() {
    let raw: Vec<u8> = floats("bf16", 0.02).chunks(2).flat_map(|two| [0, 0, two[0], two[1]]).collect();
    let look = look_at(&raw);
    assert_eq!((look.width, look.phase), (4, 0));
    assert!(look.estimate() < 0.4);
}

#[test]
fn integers_are_as_wide_as_they_vary() {
    let mut random = Random(2);
    let raw: Vec<u8> = (0..LEN / 8).flat_map(|_| (random.bits() % 50_000).to_le_bytes()).collect();
    let look = look_at(&raw);
    assert_eq!((look.width, look.phase), (8, 0));
    assert!(look.estimate() < 0.27);
    let shifted = look_at(&[&[0; 3][..], &raw].concat());
    assert_eq!((shifted.width, shifted.phase), (8, 3));
}

#[test]
fn bytes_are_not_taken_for_floats_and_noise_is_noise() {
    let mut random = Random(3);
    let noise: Vec<u8> = (0..LEN / 8).flat_map(|_| random.bits().to_le_bytes()).collect();
    let look = look_at(&noise);
    assert_eq!((look.width, look.repeats), (1, false));
    assert!(look.estimate() > 0.99);
    let int8: Vec<u8> = (0..LEN).map(|_| (random.normal() * 20.0) as i8 as u8).collect();
    assert_eq!(look_at(&int8).width, 1);
    let text = look_at(&b"loss 0.693 step 10\n".repeat(20_000));
    assert_eq!((text.width, text.repeats), (1, true));
    let zeros = look_at(
        &floats("f32", 0.02).chunks(512).flat_map(|half| [half, &[0; 512]].concat()).collect::<Vec<_>>(),
    );
    assert!(zeros.repeats);
}

#[test]
fn what_is_too_short_is_not_sampled_and_nothing_is_read_beyond_the_end() {
    let mut sample = vec![1];
    assert!(!take(&[], &mut sample) && sample.is_empty());
    assert!(!take(&vec![1; SAMPLE - 1], &mut sample));
    for len in (SAMPLE..SAMPLE + 300).step_by(7) {
        assert!(take(&vec![1; len], &mut sample));
        assert_eq!(sample.len(), SAMPLE);
    }
}
