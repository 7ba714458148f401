//! Whether a pickle is all there: its opcodes are passed over, one after the other, up to the last STOP.
//!
//! Where they cannot be followed (joblib puts raw arrays between them, or there are more than 16 MiB of them) the last
//! byte decides, which every pickle ends with.

use super::Source;
use super::pickle::{self, Arg, Ended, Limits, Ops};
use super::read::{self, Fault, Reader, invalid};
use super::stored;
use crate::base::Result;

/// How far the opcodes could be followed.
enum Walk {
    /// Past a STOP; what follows it, if anything, is no pickle.
    Whole,
    Cut,
    Lost,
}

/// Checks a file that begins with a pickle.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    let head = read::at_most(source, 0, pickle::LEGACY_TORCH.len())?;
    if head == pickle::LEGACY_TORCH {
        return stored::check(source);
    }
    if !pickle::begins(&head) {
        return invalid("pickle without its protocol");
    }
    match walk(source)? {
        Walk::Whole => Ok(()),
        Walk::Lost if read::tail(source, 1)? == b"." => Ok(()),
        Walk::Cut | Walk::Lost => invalid("pickle that ends before its STOP: cut short"),
    }
}

fn walk(source: &dyn Source) -> Result<Walk> {
    let mut reader = Reader::new(source, 0, u64::MAX);
    let mut ops = Ops::new(&mut reader, Limits::FACTS.bytes());
    let mut between = false;
    loop {
        match ops.next()? {
            Ok(op) if between && op.code != 0x80 => return Ok(Walk::Whole),
            Ok(op) if is_joblib(&op.arg) => return Ok(Walk::Lost),
            Ok(op) => between = op.code == b'.',
            Err(_) if between => return Ok(Walk::Whole),
            Err(Ended::Cut) => return Ok(Walk::Cut),
            Err(_) => return Ok(Walk::Lost),
        }
    }
}

/// Whether an opcode names joblib's classes, behind which raw bytes may lie.
fn is_joblib(arg: &Arg) -> bool {
    match arg {
        Arg::Lines(text, _) | Arg::Kept(text) => text.starts_with(b"joblib."),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, fixture};

    fn is_valid(bytes: &[u8]) -> bool {
        match check(&Bytes::new(bytes)) {
            Ok(()) => true,
            Err(Fault::Invalid(_)) => false,
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_pickle_is_valid_and_every_cut_of_it_is_not() {
        for name in ["plain.pkl", "protocol2.pkl"] {
            let whole = fixture(name);
            assert!(is_valid(&whole));
            assert!((0..whole.len()).all(|len| !is_valid(&whole[..len])), "{name}");
            let twice = [&whole[..], &whole].concat();
            assert!(is_valid(&twice) && !is_valid(&twice[..twice.len() - 1]));
        }
    }

    #[test]
    fn raw_arrays_of_joblib_are_not_taken_for_opcodes() {
        let joblib = b"\x80\x02cjoblib.numpy_pickle\nNumpyArrayWrapper\nq\0)\x81X\xff\xff\xff\xff.";
        assert!(is_valid(joblib));
        assert!(!is_valid(&joblib[..joblib.len() - 1]));
    }
}
