//! Whether a file is text, by samples from its front, its middle and its end.

use super::{Source, read};
use crate::base::Result;

/// The length of a sample in bytes.
const SAMPLE: usize = 4096;

/// Whether all samples are UTF-8 without the control letters that no text has. A file without bytes is text.
pub(super) fn is_text(source: &dyn Source) -> Result<bool> {
    let len = source.len();
    for at in [0, len / 2, len.saturating_sub(SAMPLE as u64)] {
        if !is_text_part(&read::at_most(source, at, SAMPLE)?, at == 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a part of a file is text; a letter may be cut at either end of it.
fn is_text_part(part: &[u8], is_front: bool) -> bool {
    let rest =
        if is_front { 0 } else { part.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count() };
    let part = part.get(rest..).unwrap_or_default();
    let text = match std::str::from_utf8(part) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => part
            .get(..error.valid_up_to())
            .and_then(|head| std::str::from_utf8(head).ok())
            .unwrap_or_default(),
        Err(_) => return false,
    };
    // Bells, backspaces, tabs, ends of line and page, and escapes stand in logs of terminals.
    text.bytes().all(|byte| byte >= 0x20 || matches!(byte, 0x07..=0x0d | 0x1b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::Bytes;

    fn said(bytes: impl Into<Vec<u8>>) -> bool {
        is_text(&Bytes::new(bytes)).unwrap()
    }

    #[test]
    fn text_of_any_length_is_text_wherever_the_samples_cut_its_letters() {
        for len in 0..5 {
            let text =
                [&b"x".repeat(len)[..], "epoch 1 \u{1b}[32m\u{e9}\u{1F980}\r\n".repeat(5000).as_bytes()]
                    .concat();
            assert!(said(text));
        }
        assert!(said("") && said("{\"a\": 1}"));
    }

    #[test]
    fn one_binary_sample_is_enough() {
        let text = b"loss 0.1\n".repeat(10_000);
        for at in [0, text.len() / 2 + 10, text.len() - 1] {
            let mut binary = text.clone();
            binary[at] = 0;
            assert!(!said(binary.clone()));
            binary[at] = 0xff;
            assert!(!said(binary));
        }
    }
}
