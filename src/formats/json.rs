//! The numbers of a JSON object, and what Python writes as JSON and JSON does not know: `NaN` and `Infinity`.
//!
//! What is no number is passed over as it is parsed, so that no object costs more memory than its numbers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Numbers of one object beyond this are left out.
const NUMBERS_MAX: usize = 1024;

/// The numbers in an object by name, and those of its texts that are one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Numbers(pub(super) BTreeMap<String, f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Numbers;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("values by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Numbers, A::Error> {
        let mut numbers = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            if let Perhaps(Some(number)) = map.next_value()?
                && numbers.len() < NUMBERS_MAX
            {
                numbers.insert(name, number);
            }
        }
        Ok(Numbers(numbers))
    }
}

/// Any value, and the number that it is.
struct Perhaps(Option<f64>);

impl<'de> Deserialize<'de> for Perhaps {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Perhaps;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Perhaps, E> {
        Ok(Perhaps(Some(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Perhaps, E> {
        Ok(Perhaps(Some(number as f64)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Perhaps, E> {
        Ok(Perhaps(Some(number as f64)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Perhaps, E> {
        Ok(Perhaps(text.trim().parse().ok()))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_unit<E>(self) -> Result<Perhaps, E> {
        Ok(Perhaps(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Perhaps, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Perhaps(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Perhaps, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Perhaps(None))
    }
}

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
    fn an_object_gives_its_numbers_and_nothing_else() {
        let json = r#"{"a": 1, "b": -2, "c": 0.5, "d": "42 ", "e": "x", "f": [1, {}], "g": {"h": 1}, "i": null, "j": true}"#;
        let Numbers(numbers) = serde_json::from_str(json).unwrap();
        let said: Vec<_> = numbers.iter().map(|(name, number)| (name.as_str(), *number)).collect();
        assert_eq!(said, [("a", 1.0), ("b", -2.0), ("c", 0.5), ("d", 42.0)]);
        let many: String = (0..5000).map(|n| format!("\"{n}\":1,")).collect();
        let Numbers(numbers) = serde_json::from_str(&format!("{{{many}\"x\":1}}")).unwrap();
        assert_eq!(numbers.len(), NUMBERS_MAX);
        assert!(serde_json::from_str::<Numbers>("[1]").is_err());
    }

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
