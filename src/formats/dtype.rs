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

/// The type that torch calls `name`: a storage's class (`FloatStorage`) or a type (`float32`).
pub(super) fn of_torch(name: &str) -> String {
    let ours = match name.strip_suffix("Storage").unwrap_or(name) {
        "Double" | "float64" => "f64",
        "Float" | "float32" => "f32",
        "Half" | "float16" => "f16",
        "BFloat16" | "bfloat16" => "bf16",
        "float8_e4m3fn" => "f8_e4m3",
        "float8_e5m2" => "f8_e5m2",
        "Long" | "int64" => "i64",
        "Int" | "int32" => "i32",
        "Short" | "int16" => "i16",
        "Char" | "int8" => "i8",
        "uint64" => "u64",
        "uint32" => "u32",
        "uint16" => "u16",
        "Byte" | "uint8" => "u8",
        "Bool" | "bool" => "bool",
        "ComplexFloat" | "complex64" => "c64",
        "ComplexDouble" | "complex128" => "c128",
        "Untyped" => "",
        other => return other.to_ascii_lowercase(),
    };
    ours.to_owned()
}

/// The type that TensorFlow numbers `number` in its `types.proto`.
pub(super) fn of_tensorflow(number: u64) -> String {
    let name = match number {
        1 => "f32",
        2 => "f64",
        3 => "i32",
        4 => "u8",
        5 => "i16",
        6 => "i8",
        7 => "string",
        8 => "c64",
        9 => "i64",
        10 => "bool",
        11 => "qint8",
        12 => "quint8",
        13 => "qint32",
        14 => "bf16",
        15 => "qint16",
        16 => "quint16",
        17 => "u16",
        18 => "c128",
        19 => "f16",
        20 => "resource",
        21 => "variant",
        22 => "u32",
        23 => "u64",
        24 => "f8_e5m2",
        25 => "f8_e4m3",
        29 => "int4",
        30 => "uint4",
        _ => "",
    };
    name.to_owned()
}

/// The type that zarr calls `word`: as numpy writes it, or by its name.
pub(super) fn of_zarr(word: &str) -> (String, bool) {
    let named = of_torch(word);
    if element_bytes(&named).is_some() { (named, true) } else { of_numpy(word) }
}
