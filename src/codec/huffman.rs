//! Huffman coding alone, as standard zstd frames that any zstd decoder reads.
//!
//! A frame of blocks that hold literals and no sequences (RFC 8878, 3.1.1.3): nobody looks for matches, which float planes
//! do not have, and each block of at most 128 KiB has a table of its own. zstd writes such frames when it is given the
//! sequences: here only the ends of blocks. What does not shrink becomes a raw block.

use std::ptr::NonNull;

use zstd::zstd_safe::zstd_sys::{
    ZSTD_CCtx, ZSTD_CCtx_setParameter, ZSTD_ParamSwitch_e, ZSTD_Sequence, ZSTD_SequenceFormat_e,
    ZSTD_cParameter, ZSTD_compressBound, ZSTD_compressSequences, ZSTD_createCCtx, ZSTD_freeCCtx,
    ZSTD_isError,
};

/// The longest block that zstd allows, in bytes.
const BLOCK: usize = 128 << 10;

/// Writes frames one after the other with one context.
#[derive(Default)]
pub(super) struct Huffman {
    context: Option<Context>,
    /// The ends of the blocks of the frame being written.
    ends: Vec<ZSTD_Sequence>,
}

impl Huffman {
    /// Appends one frame whose content is `plane` to `out`. False, and `out` as it was, when zstd cannot.
    pub(super) fn append(&mut self, plane: &[u8], out: &mut Vec<u8>) -> bool {
        if self.context.is_none() {
            self.context = Context::new();
        }
        let Some(context) = &self.context else { return false };
        self.ends.clear();
        self.ends.extend(plane.chunks(BLOCK).map(|block| ZSTD_Sequence {
            offset: 0,
            // At most 128 KiB.
            litLength: block.len() as u32,
            matchLength: 0,
            rep: 0,
        }));
        // SAFETY: a function of one number.
        out.reserve(unsafe { ZSTD_compressBound(plane.len()) });
        let free = out.spare_capacity_mut();
        // SAFETY: the context is alive and this thread's alone, each pointer is good for the length beside it, and zstd keeps
        // none of them; the lengths of the ends add up to the plane's.
        let written = unsafe {
            ZSTD_compressSequences(
                context.0.as_ptr(),
                free.as_mut_ptr().cast(),
                free.len(),
                self.ends.as_ptr(),
                self.ends.len(),
                plane.as_ptr().cast(),
                plane.len(),
            )
        };
        // SAFETY: a function of one number.
        if unsafe { ZSTD_isError(written) } != 0 {
            return false;
        }
        // SAFETY: zstd has written so many of the free bytes.
        unsafe { out.set_len(out.len() + written) };
        true
    }
}

/// A context of zstd, set to what is said above.
struct Context(NonNull<ZSTD_CCtx>);

// SAFETY: zstd's contexts belong to no thread, and this one is used by one at a time (`&mut Huffman`).
unsafe impl Send for Context {}

impl Context {
    fn new() -> Option<Self> {
        use ZSTD_cParameter::*;
        // SAFETY: the pointer is ours, or null.
        let context = Context(NonNull::new(unsafe { ZSTD_createCCtx() })?);
        let parameters = [
            (ZSTD_c_compressionLevel, 1),
            // Blocks of 128 KiB need such a window; the match finder, which never runs, gets the least there is.
            (ZSTD_c_windowLog, 17),
            (ZSTD_c_hashLog, 6),
            (ZSTD_c_chainLog, 6),
            // ZSTD_c_blockDelimiters
            (ZSTD_c_experimentalParam11, ZSTD_SequenceFormat_e::ZSTD_sf_explicitBlockDelimiters as i32),
            // ZSTD_c_literalCompressionMode
            (ZSTD_c_experimentalParam5, ZSTD_ParamSwitch_e::ZSTD_ps_enable as i32),
        ];
        for (parameter, value) in parameters {
            // SAFETY: the context is alive.
            let result = unsafe { ZSTD_CCtx_setParameter(context.0.as_ptr(), parameter, value) };
            // SAFETY: a function of one number.
            if unsafe { ZSTD_isError(result) } != 0 {
                return None;
            }
        }
        Some(context)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: it was made by zstd and is used by nobody after this. Its result is 0 for every context.
        unsafe { ZSTD_freeCCtx(self.0.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(plane: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        assert!(Huffman::default().append(plane, &mut out));
        assert!(out.starts_with(b"before"));
        out.split_off(6)
    }

    /// Bytes whose values 0, 1, 2, ... are each half as frequent as the one before: 2 bits of entropy.
    fn halving(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 32) as u32).trailing_zeros() as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn the_plain_decoder_reads_a_frame_and_it_has_the_size_of_the_entropy() {
        for len in [0, 1, 5, 100, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 1 << 20] {
            let plane = halving(len);
            let coded = frame(&plane);
            assert_eq!(zstd::bulk::decompress(&coded, len).unwrap(), plane);
            assert_eq!(zstd::stream::decode_all(&coded[..]).unwrap(), plane);
            assert!(coded.len() <= len / 4 + len / 500 + 100, "{} of {len}", coded.len());
        }
    }

    #[test]
    fn each_block_has_its_table() {
        let low = halving(BLOCK);
        let high: Vec<u8> = low.iter().map(|byte| 255 - byte).collect();
        let coded = frame(&[&low[..], &high[..]].concat());
        assert!(coded.len() < BLOCK / 2 + 1000, "{}", coded.len());
    }

    #[test]
    fn what_does_not_shrink_hardly_grows() {
        let noise: Vec<u8> =
            (0..9000_u32).flat_map(|n| crate::content::hash::chunk_id(&n.to_le_bytes()).0).collect();
        assert!(frame(&noise).len() <= noise.len() + 32);
    }

    proptest! {
        #[test]
        fn any_plane_comes_back(plane in proptest::collection::vec(0_u8..20, 0..3000)) {
            prop_assert_eq!(zstd::bulk::decompress(&frame(&plane), plane.len()).unwrap(), plane);
        }
    }
}
