//! SHA-1 (FIPS 180-4), for one purpose: git names contents by it. Nothing here relies on it being hard to forge.

/// The hash of `parts`, one after the other.
pub(super) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut block = [0_u8; 64];
    let (mut filled, mut bytes) = (0_usize, 0_u64);
    let mut push = |byte: u8, state: &mut [u32; 5]| {
        if let Some(slot) = block.get_mut(filled) {
            *slot = byte;
        }
        filled += 1;
        if filled == block.len() {
            compress(state, &block);
            filled = 0;
        }
        filled
    };
    for byte in parts.iter().copied().flatten() {
        push(*byte, &mut state);
        bytes += 1;
    }
    // A one bit, zeros up to the last eight bytes of a block, and the length in bits.
    let mut at = push(0x80, &mut state);
    while at != 56 {
        at = push(0, &mut state);
    }
    for byte in bytes.wrapping_mul(8).to_be_bytes() {
        push(byte, &mut state);
    }
    let mut hash = [0; 20];
    for (out, word) in hash.chunks_exact_mut(4).zip(state) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    // The last sixteen words of the schedule, the oldest first.
    let mut recent = [0_u32; 16];
    for (word, bytes) in recent.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for round in 0..80 {
        let [w0, _, w2, _, _, _, _, _, w8, _, _, _, _, w13, _, _] = recent;
        let (mix, constant) = match round {
            0..20 => ((b & c) | (!b & d), 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc_u32),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = a.rotate_left(5).wrapping_add(mix).wrapping_add(e).wrapping_add(constant).wrapping_add(w0);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        recent.rotate_left(1);
        if let Some(last) = recent.last_mut() {
            *last = (w0 ^ w2 ^ w8 ^ w13).rotate_left(1);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(parts: &[&[u8]]) -> String {
        sha1(parts).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(hex(&[]), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(hex(&[b"abc"]), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&[two_blocks]), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(hex(&[&vec![b'a'; 1_000_000]]), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    }

    #[test]
    fn parts_count_as_one_text_and_git_names_blobs_so() {
        assert_eq!(sha1(&[b"a", b"", b"bc"]), sha1(&[b"abc"]));
        assert_eq!(hex(&[b"blob 6\0", b"hello\n"]), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
