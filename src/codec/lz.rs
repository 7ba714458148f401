//! zstd as it is usually used. Contexts cost a megabyte to make and are reused: one an encoder, one a decoding thread.

use std::cell::RefCell;
use std::io::Cursor;

use zstd::bulk::{Compressor, Decompressor};

use super::encoding::Malformed;

/// The level: at this one zstd is not the slowest step of sealing.
const LEVEL: i32 = 1;

/// A reusable zstd compressor.
pub(super) struct Squeezer {
    context: Option<Compressor<'static>>,
}

impl Squeezer {
    /// One that makes its context when it is first needed.
    pub(super) fn new() -> Self {
        Squeezer { context: None }
    }

    /// Replaces `out` by one frame of `raw`. False when zstd cannot: the caller stores the bytes as they are.
    pub(super) fn squeeze(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        self.append(raw, out)
    }

    /// Appends one frame of `raw` to `out`. False, and `out` as it was, when zstd cannot.
    pub(super) fn append(&mut self, raw: &[u8], out: &mut Vec<u8>) -> bool {
        if self.context.is_none() {
            self.context = Compressor::new(LEVEL).ok();
        }
        let Some(context) = self.context.as_mut() else { return false };
        out.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        let before = out.len();
        let mut free = Cursor::new(std::mem::take(out));
        free.set_position(before as u64);
        let done = context.compress_to_buffer(raw, &mut free).is_ok();
        *out = free.into_inner();
        if !done {
            out.truncate(before);
        }
        done
    }
}

thread_local! {
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Fills `out` from the frame `stored`, which must hold exactly that many bytes.
pub(super) fn unsqueeze(stored: &[u8], out: &mut [u8]) -> Result<(), Malformed> {
    CONTEXT.with_borrow_mut(|context| {
        if context.is_none() {
            *context = Decompressor::new().ok();
        }
        let context = context.as_mut().ok_or(Malformed("no memory for a zstd context"))?;
        match context.decompress_to_buffer(stored, out) {
            Ok(len) if len == out.len() => Ok(()),
            Ok(_) => Err(Malformed("a zstd frame of another length")),
            Err(_) => Err(Malformed("not a zstd frame, or too long")),
        }
    })
}
