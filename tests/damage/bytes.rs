//! Checkpoints that are told apart by a number.

/// Bytes of a checkpoint that nothing compresses.
const LEN: usize = 200_000;
/// Numbers in a checkpoint of the series.
const COUNT: usize = 100_000;

/// Bytes that nothing compresses and that differ by `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

fn npy_header(of: &str, count: usize) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '{of}', 'fortran_order': False, 'shape': ({count},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], &header].concat()
}

/// A checkpoint of random bytes. Its length tells it apart too: else all would share the chunk of their header.
pub(crate) fn npy(seed: u64) -> Vec<u8> {
    let len = LEN + seed as usize;
    [npy_header("|u1", len), noise(len, seed)].concat()
}

/// A checkpoint of numbers that `step` has moved a little.
pub(crate) fn floats(step: u32) -> Vec<u8> {
    let unit = |n: usize, salt: u64| {
        let mixed = (n as u64 ^ salt << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let numbers =
        (0..COUNT).flat_map(|n| (unit(n, 0) * 0.05 + unit(n, u64::from(step)) * 1e-4).to_le_bytes());
    npy_header("<f4", COUNT).into_iter().chain(numbers).collect()
}
