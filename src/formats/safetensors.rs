//! Safetensors: eight bytes of length, a JSON header of that length, then the tensors without a gap.
//!
//! The header is read only up to 16 MiB; a longer one, up to the 100 MB that the library allows, is only measured. It is
//! parsed in one pass that keeps the tensors and the numbers of `__metadata__`, never a tree.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::describe::Described;
use super::json::Numbers;
use super::read::{self, Fault, invalid, shown};
use super::tensors::Tensor;
use super::{Source, dtype};
use crate::base::Result;

/// The longest header that the library reads, in bytes.
const HEADER_MAX: u64 = 100_000_000;
/// The longest header whose content is looked at, in bytes.
const PARSED_MAX: u64 = 16 << 20;

/// Whether `head` begins as a safetensors file does.
pub(super) fn begins(head: &[u8]) -> bool {
    let Some((len, json)) = head.split_first_chunk::<8>() else { return false };
    let len = u64::from_le_bytes(*len);
    (2..=HEADER_MAX).contains(&len) && (json.starts_with(b"{\"") || json.starts_with(b"{}"))
}

/// What the header says.
#[derive(Default)]
struct Header {
    metadata: Numbers,
    tensors: Vec<Entry>,
}

/// One tensor: its type in the format's own word, its shape, and its begin and end from the end of the header on.
#[derive(Deserialize)]
struct Entry {
    #[serde(skip)]
    name: String,
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Header, A::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                header.metadata = map.next_value::<Option<Numbers>>()?.unwrap_or_default();
            } else {
                let tensor: Entry = map.next_value()?;
                header.tensors.push(Entry { name, ..tensor });
            }
        }
        Ok(header)
    }
}

impl Entry {
    /// Bytes by type and shape; `None` for a type that is not known here.
    fn bytes(&self) -> Option<u64> {
        let bits = match self.dtype.as_str() {
            "F4" => 4,
            "F6_E2M3" | "F6_E3M2" => 6,
            "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
            "U16" | "I16" | "F16" | "BF16" => 16,
            "U32" | "I32" | "F32" => 32,
            "U64" | "I64" | "F64" | "C64" => 64,
            "C128" => 128,
            _ => return None,
        };
        // What overflows is of no file's length.
        let product = self.shape.iter().try_fold(bits, |all: u64, side| all.checked_mul(*side));
        Some(product.map_or(u64::MAX, |bits| bits / 8))
    }

    /// Offset and length in a file with a header of `header` bytes.
    fn place(&self, header: u64) -> Option<(u64, u64)> {
        let (begin, end) = self.data_offsets;
        Some((begin.checked_add(8 + header)?, end.checked_sub(begin)?))
    }
}

/// The length of the header in bytes, and the header where it is short enough to be looked at.
fn header(source: &dyn Source) -> Result<(u64, Option<Header>), Fault> {
    let Some(len) = read::array(source, 0)?.map(u64::from_le_bytes) else {
        return invalid("safetensors of less than 8 bytes: cut short");
    };
    if len > HEADER_MAX {
        return invalid(format!("safetensors with a header of {len} bytes"));
    }
    if len > source.len() - 8 {
        return invalid("safetensors that ends within its header: cut short");
    }
    if len > PARSED_MAX {
        return Ok((len, None));
    }
    let json = read::at_most(source, 8, usize::try_from(len).unwrap_or(usize::MAX))?;
    match serde_json::from_slice(&json) {
        Ok(header) => Ok((len, Some(header))),
        Err(error) => {
            invalid(format!("safetensors with a damaged header: {}", shown(error.to_string().as_bytes())))
        }
    }
}

/// Checks that the tensors follow each other without a gap and end where the file ends.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    let (len, header) = header(source)?;
    let Some(mut header) = header else { return Ok(()) };
    header.tensors.sort_unstable_by_key(|tensor| tensor.data_offsets);
    let mut end = 0;
    for tensor in &header.tensors {
        let (from, to) = tensor.data_offsets;
        if from != end || to < from {
            return invalid(format!("safetensors with a gap or an overlap at byte {end} of its tensors"));
        }
        if tensor.bytes().is_some_and(|wanted| wanted != to - from) {
            return invalid(format!("safetensors whose tensor at byte {end} is not of its shape"));
        }
        end = to;
    }
    let (wanted, there) = (end.saturating_add(8 + len), source.len());
    match wanted == there {
        true => Ok(()),
        false if there < wanted => {
            invalid(format!("safetensors of {there} bytes whose header names {wanted}: cut short"))
        }
        false => invalid(format!("safetensors of {there} bytes whose header names {wanted}")),
    }
}

/// The tensors that the header names, sound or not.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    let (len, header) = header(source)?;
    let tensors = header.unwrap_or_default().tensors.into_iter();
    let tensor = |entry: Entry| {
        let (offset, len) = entry.place(len)?;
        Some(Tensor { name: entry.name.into_bytes(), offset, len })
    };
    Ok(tensors.filter_map(tensor).collect())
}

/// The tensors as the header describes them, sound or not.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let (len, header) = header(source)?;
    let tensors = header.unwrap_or_default().tensors.into_iter();
    let tensor = |entry: Entry| Described {
        parts: entry.place(len).into_iter().collect(),
        dtype: dtype::of_safetensors(&entry.dtype),
        name: entry.name,
        shape: entry.shape,
        ..Described::default()
    };
    Ok(tensors.map(tensor).collect())
}

/// The numbers among the texts of `__metadata__`; none when the header is damaged or too long.
pub(super) fn metadata(source: &dyn Source) -> Result<BTreeMap<String, f64>> {
    match header(source) {
        Ok((_, header)) => Ok(header.unwrap_or_default().metadata.0),
        Err(Fault::Invalid(_)) => Ok(BTreeMap::new()),
        Err(Fault::Failed(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, Huge, fixture};

    fn file(json: &str, data: usize) -> Vec<u8> {
        [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &vec![7; data]].concat()
    }

    fn said(bytes: Vec<u8>) -> String {
        match check(&Bytes::new(bytes)) {
            Ok(()) => String::new(),
            Err(Fault::Invalid(why)) => why,
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn the_librarys_file_is_valid_and_every_cut_of_it_is_not() {
        let whole = fixture("model.safetensors");
        assert!(begins(&whole));
        assert_eq!(said(whole.clone()), "");
        assert!((0..whole.len()).all(|len| said(whole[..len].to_vec()).contains("cut short")));
        assert_eq!(metadata(&Bytes::new(whole)).unwrap().get("step"), Some(&42.0));
    }

    #[test]
    fn what_does_not_add_up_is_said() {
        let one = r#"{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert_eq!(said(file(one, 8)), "");
        assert!(said(file(one, 9)).contains("names"));
        assert!(said(file(&one.replace("[2]", "[3]"), 8)).contains("not of its shape"));
        assert!(said(file(&one.replace("[2]", "[4294967296,4294967296]"), 8)).contains("not of its shape"));
        assert!(said(file(&one.replace("[0,8]", "[1,9]"), 9)).contains("gap"));
        assert!(said(file(&one.replace("[0,8]", "[8,0]"), 8)).contains("gap"));
        assert!(said(file("{\"w\":1}", 0)).contains("damaged header"));
        assert!(said(file(&one.replace("F32", "F3000"), 8)).is_empty());
        assert_eq!(said(file("{}", 0)), "");
        assert!(said(vec![255; 20]).contains("a header of"));
    }

    #[test]
    fn a_header_of_fifty_megabytes_is_measured_and_not_read() {
        let head = [&50_000_000_u64.to_le_bytes()[..], b"{\"w\""].concat();
        assert!(begins(&head));
        assert!(check(&Huge { head: head.clone(), len: 60_000_000, fill: b' ' }).is_ok());
        assert!(check(&Huge { head, len: 40_000_000, fill: b' ' }).is_err());
    }
}
