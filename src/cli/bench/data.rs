//! What is saved: numbers as a model has them, so that the codec finds in them what it finds in real life.
//!
//! Little-endian 32-bit floats, normally distributed, the same in every run. They are made before any clock runs, and
//! [`Weights::change`] gives every chunk other bytes: no save holds a chunk that the store has already, be it from the same
//! file, from the save before or from another folder.

use std::f64::consts::TAU;

/// The spread of the numbers: that of a layer of a few thousand inputs.
const SPREAD: f64 = 0.02;
/// Two floats in every block of so many bytes are changed from one save to the next. Chunks are larger.
const BLOCK: usize = 4096;
/// The bytes that are made from one seed, so that the numbers do not depend on how many cores make them.
const PART: usize = 1 << 20;
/// Two floats.
const PAIR: usize = 8;
/// Seeds from here on are those of changes.
const CHANGES: u64 = 1 << 63;

/// The bytes of one save.
pub(super) struct Weights {
    bytes: Vec<u8>,
    changes: u64,
}

impl Weights {
    /// `len` bytes, made by all cores.
    pub(super) fn new(len: usize) -> Self {
        let mut bytes = vec![0; len];
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let parts_each = len.div_ceil(PART).div_ceil(cores).max(1);
        std::thread::scope(|scope| {
            for (number, share) in bytes.chunks_mut(parts_each * PART).enumerate() {
                let first = (number * parts_each) as u64;
                scope.spawn(move || {
                    share.chunks_mut(PART).zip(first..).for_each(|(part, seed)| fill(part, seed));
                });
            }
        });
        Weights { bytes, changes: 0 }
    }

    /// Other numbers in every block.
    pub(super) fn change(&mut self) {
        self.changes += 1;
        let mut dice = Dice::new(CHANGES + self.changes);
        self.bytes.chunks_mut(BLOCK).for_each(|block| dice.write_pair(block));
    }

    /// The bytes to save.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn fill(part: &mut [u8], seed: u64) {
    let mut dice = Dice::new(seed);
    part.chunks_mut(PAIR).for_each(|pair| dice.write_pair(pair));
}

/// SplitMix64: small, and good enough for numbers that nobody is to guess wrong about.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        // Seeds that are neighbours give sequences that have nothing in common.
        let mut dice = Dice(seed.wrapping_mul(0xd134_2543_de82_ef95));
        dice.0 = dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Above 0 and at most 1.
    fn unit(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }

    /// Two normally distributed floats (Box and Muller), or as much of them as there is room for.
    fn write_pair(&mut self, to: &mut [u8]) {
        let radius = SPREAD * (-2.0 * self.unit().ln()).sqrt();
        let (sin, cos) = (TAU * self.unit()).sin_cos();
        let pair = [(radius * cos) as f32, (radius * sin) as f32].map(f32::to_le_bytes);
        to.iter_mut().zip(pair.as_flattened()).for_each(|(to, byte)| *to = *byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(bytes: &[u8]) -> Vec<f64> {
        bytes.chunks_exact(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect()
    }

    #[test]
    fn numbers_are_normal_and_the_same_in_every_run() {
        let weights = Weights::new(3 * PART + 5);
        let all = floats(weights.bytes());
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let spread = (all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64).sqrt();
        let within = all.iter().filter(|x| x.abs() < SPREAD).count() as f64 / all.len() as f64;
        assert!(mean.abs() < 0.0005 && (spread - SPREAD).abs() < 0.0005, "{mean} {spread}");
        assert!((within - 0.6827).abs() < 0.005, "a normal distribution has 68 % there: {within}");
        assert_eq!(weights.bytes(), Weights::new(3 * PART + 5).bytes());
    }

    #[test]
    fn no_block_is_there_twice_nor_left_by_a_change() {
        let mut weights = Weights::new(2 * PART);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..3 {
            for block in weights.bytes().chunks(BLOCK) {
                assert!(seen.insert(block.to_vec()), "a block for the second time");
            }
            weights.change();
        }
        assert!(floats(weights.bytes()).iter().all(|x| x.is_finite() && x.abs() < 1.0));
    }
}
