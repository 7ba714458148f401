//! To be written.
use super::encoding::{Encoding, Malformed};
/// .
pub(super) fn decode(
    _encoding: &Encoding,
    _stored: &[u8],
    _base: &[u8],
    _out: &mut [u8],
) -> Result<(), Malformed> {
    Err(Malformed("not yet"))
}
