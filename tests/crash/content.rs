//! Bytes of checkpoints: numpy files that the program knows as such.

/// A file of `len` numbers (u1) that nothing compresses.
pub(crate) fn npy(stamp: u32, len: usize) -> Vec<u8> {
    let mut bytes = header("|u1", len);
    bytes.extend(crate::common::noise(len, u64::from(stamp) + 1));
    bytes
}

/// A file of `count` numbers (f32) that training has moved by `stamp` steps: most of their bits stay.
pub(crate) fn floats(stamp: u32, count: usize) -> Vec<u8> {
    let mut bytes = header("<f4", count);
    let noise = |n: usize| {
        let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    for n in 0..count {
        let moved = noise(n + count * (stamp as usize + 1)) * 1e-4 + stamp as f32 * 1e-5;
        bytes.extend((noise(n) * 0.05 + moved).to_le_bytes());
    }
    bytes
}

fn header(kind: &str, count: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({count},), }}").into_bytes();
    text.resize(117, b' ');
    text.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text);
    bytes
}
