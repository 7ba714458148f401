//! One naming of element types for the words of all formats: `f32`, `bf16`, `i64`, `bool`, `c64`.
//!
//! A type that has no name here keeps the word that its format has for it, so nothing is told as what it is not.

/// Each type and the bytes of one element.
const TYPES: &[(&str, u64)] = &[
    ("f64", 8),
    ("f32", 4),
    ("f16", 2),
    ("bf16", 2),
    ("f8_e4m3", 1),
    ("f8_e5m2", 1),
    ("i64", 8),
    ("i32", 4),
    ("i16", 2),
    ("i8", 1),
    ("u64", 8),
    ("u32", 4),
    ("u16", 2),
    ("u8", 1),
    ("bool", 1),
    ("c64", 8),
    ("c128", 16),
];

/// The bytes of one element of a type of ours; `None` for any other word.
pub(super) fn element_bytes(dtype: &str) -> Option<u64> {
    TYPES.iter().find(|(name, _)| *name == dtype).map(|(_, bytes)| *bytes)
}

/// The type that safetensors calls `word`.
pub(super) fn of_safetensors(word: &str) -> String {
    let lower = word.to_ascii_lowercase();
    if element_bytes(&lower).is_some() { lower } else { word.to_owned() }
}

/// The type that numpy writes as `code`, such as `<f4`, and whether its bytes lie as a little-endian machine has them.
pub(super) fn of_numpy(code: &str) -> (String, bool) {
    let plain = code.trim_start_matches(['<', '>', '|', '=']);
    let name = match plain {
        "f8" => "f64",
        "f4" => "f32",
        "f2" => "f16",
        "i8" => "i64",
        "i4" => "i32",
        "i2" => "i16",
        "i1" => "i8",
        "u8" => "u64",
        "u4" => "u32",
        "u2" => "u16",
        "u1" => "u8",
        "b1" => "bool",
        "c8" => "c64",
        "c16" => "c128",
        other => other,
    };
    (name.to_owned(), !code.starts_with('>') || element_bytes(name) == Some(1))
}
