//! The numbers of a tensor: little-endian elements, one after the other, by the names of types that [`super::describe`]
//! gives.

use half::{bf16, f16};

/// The numbers in `bytes`, whole elements of type `dtype`, appended to `out`. `false` for a type that is no real number
/// (complex, quantised, not known): nothing is appended then.
///
/// 64-bit integers beyond 2^53 become the nearest double.
pub fn decode(dtype: &str, bytes: &[u8], out: &mut Vec<f64>) -> bool {
    match dtype {
        "f64" => each(bytes, out, f64::from_le_bytes),
        "f32" => each(bytes, out, |b| f32::from_le_bytes(b).into()),
        "f16" => each(bytes, out, |b| f16::from_le_bytes(b).into()),
        "bf16" => each(bytes, out, |b| bf16::from_le_bytes(b).into()),
        // The upper half of a 16-bit float.
        "f8_e5m2" => each(bytes, out, |[b]: [u8; 1]| f16::from_le_bytes([0, b]).into()),
        "f8_e4m3" => each(bytes, out, |[b]: [u8; 1]| e4m3(b)),
        "i64" => each(bytes, out, |b| i64::from_le_bytes(b) as f64),
        "u64" => each(bytes, out, |b| u64::from_le_bytes(b) as f64),
        "i32" => each(bytes, out, |b| i32::from_le_bytes(b).into()),
        "u32" => each(bytes, out, |b| u32::from_le_bytes(b).into()),
        "i16" => each(bytes, out, |b| i16::from_le_bytes(b).into()),
        "u16" => each(bytes, out, |b| u16::from_le_bytes(b).into()),
        "i8" => each(bytes, out, |b| i8::from_le_bytes(b).into()),
        "u8" | "bool" => each(bytes, out, |b| u8::from_le_bytes(b).into()),
        _ => return false,
    }
    true
}

fn each<const N: usize>(bytes: &[u8], out: &mut Vec<f64>, number: impl Fn([u8; N]) -> f64) {
    let (elements, _) = bytes.as_chunks::<N>();
    out.extend(elements.iter().map(|element| number(*element)));
}

/// Four bits of exponent, three of mantissa, no infinities ("FP8 Formats for Deep Learning", 2022: E4M3).
fn e4m3(bits: u8) -> f64 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f64::from(bits & 7));
    let size = match (exponent, bits & 7) {
        (15, 7) => f64::NAN,
        (0, _) => mantissa * 2_f64.powi(-9),
        _ => (1.0 + mantissa / 8.0) * 2_f64.powi(exponent - 7),
    };
    if bits & 0x80 == 0 { size } else { -size }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(dtype: &str, bytes: &[u8]) -> Vec<f64> {
        let mut out = Vec::new();
        assert!(decode(dtype, bytes, &mut out), "{dtype}");
        out
    }

    #[test]
    fn every_type_gives_its_numbers() {
        assert_eq!(numbers("f64", &(-1.5_f64).to_le_bytes()), [-1.5]);
        assert_eq!(numbers("f32", &[1.5_f32.to_le_bytes(), 2_f32.to_le_bytes()].concat()), [1.5, 2.0]);
        assert_eq!(numbers("f16", &[0x00, 0x3c, 0x00, 0xc0]), [1.0, -2.0]);
        assert_eq!(numbers("bf16", &[0x80, 0x3f]), [1.0]);
        assert_eq!(numbers("f8_e5m2", &[0x3c, 0xbc]), [1.0, -1.0]);
        assert_eq!(
            numbers("f8_e4m3", &[0x38, 0xb8, 0x7e, 0x01, 0x00]),
            [1.0, -1.0, 448.0, 0.001_953_125, 0.0]
        );
        assert!(numbers("f8_e4m3", &[0x7f])[0].is_nan());
        for (dtype, width) in [("i64", 8), ("i32", 4), ("i16", 2), ("i8", 1)] {
            assert_eq!(numbers(dtype, &vec![255; 2 * width]), [-1.0, -1.0], "{dtype}");
        }
        assert_eq!(numbers("u64", &[255; 8]), [18_446_744_073_709_551_615.0]);
        assert_eq!(numbers("u32", &[255; 4]), [4_294_967_295.0]);
        assert_eq!(numbers("u16", &[1, 1]), [257.0]);
        assert_eq!(numbers("bool", &[0, 1]), [0.0, 1.0]);
    }

    #[test]
    fn what_is_no_real_number_gives_none() {
        let mut out = Vec::new();
        assert!(!decode("c64", &[0; 8], &mut out) && !decode("", &[0; 8], &mut out) && out.is_empty());
    }
}
