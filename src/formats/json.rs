//! What Python writes as JSON and JSON does not know: `NaN` and `Infinity`.

use std::borrow::Cow;

/// The same JSON with `null` where a number is not finite. Strings are left as they are.
pub(super) fn without_nonfinite(json: &[u8]) -> Cow<'_, [u8]> {
    const WORDS: [&[u8]; 3] = [b"-Infinity", b"Infinity", b"NaN"];
    let mut out = Vec::new();
    let (mut rest, mut in_string) = (json, false);
    let mut plain = json;
    while let Some((byte, after)) = rest.split_first() {
        let word = WORDS.into_iter().find(|word| !in_string && rest.starts_with(word));
        rest = match (byte, word) {
            (_, Some(word)) => {
                out.extend_from_slice(plain.get(..plain.len() - rest.len()).unwrap_or_default());
                out.extend_from_slice(b"null");
                plain = rest.get(word.len()..).unwrap_or_default();
                plain
            }
            (b'\\', _) if in_string => after.get(1..).unwrap_or_default(),
            (b'"', _) => {
                in_string = !in_string;
                after
            }
            _ => after,
        };
    }
    if out.is_empty() {
        return Cow::Borrowed(json);
    }
    out.extend_from_slice(plain);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_replaced() {
        let json = br#"{"NaN \" Infinity": NaN, "a": [-Infinity, Infinity, 1]}"#;
        let wanted = br#"{"NaN \" Infinity": null, "a": [null, null, 1]}"#;
        assert_eq!(without_nonfinite(json).as_ref(), wanted);
        for untouched in [&br#"{"a": 1}"#[..], b"", b"\"\\", b"\"NaN"] {
            assert!(matches!(without_nonfinite(untouched), Cow::Borrowed(same) if same == untouched));
        }
    }
}
