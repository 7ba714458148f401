//! How far the numbers of two tensors are apart.

use serde::{Deserialize, Serialize};

use crate::base::Result;
use crate::formats::{self, Described, Source};

/// Bytes of each tensor that are compared at a time: whole elements of every type.
const BLOCK: usize = 1 << 20;

/// How far the numbers of a tensor are apart from what they were. Pairs in which one is not finite count for nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Values {
    /// Numbers that were compared.
    pub elements: u64,
    /// Numbers that differ.
    pub differing: u64,
    /// Pairs in which one number is not finite.
    pub not_finite: u64,
    /// The greatest absolute difference.
    pub max_abs: f64,
    /// The mean absolute difference.
    pub mean_abs: f64,
    /// The cosine of the angle between both as vectors; nothing where one is all zeros.
    pub cosine: Option<f64>,
}

/// Sums over pairs of numbers.
#[derive(Default)]
struct Sums {
    values: Values,
    abs: f64,
    dot: f64,
    before: f64,
    after: f64,
}

impl Sums {
    fn add(&mut self, before: f64, after: f64) {
        let differ = before.to_bits() != after.to_bits();
        self.values.elements += 1;
        self.values.differing += u64::from(differ);
        if !before.is_finite() || !after.is_finite() {
            self.values.not_finite += 1;
            return;
        }
        let apart = (after - before).abs();
        self.values.max_abs = self.values.max_abs.max(apart);
        self.abs += apart;
        self.dot += before * after;
        self.before += before * before;
        self.after += after * after;
    }

    fn done(self) -> Values {
        let finite = self.values.elements - self.values.not_finite;
        let lengths = self.before.sqrt() * self.after.sqrt();
        Values {
            mean_abs: if finite > 0 { self.abs / finite as f64 } else { 0.0 },
            cosine: (lengths > 0.0 && lengths.is_finite()).then(|| (self.dot / lengths).clamp(-1.0, 1.0)),
            ..self.values
        }
    }
}

/// Compares the numbers of two tensors of the same type and shape; `None` where they are no plain real numbers. `go_on` is
/// asked before each block.
pub(super) fn compare(
    (before, old): (&Described, &dyn Source),
    (after, new): (&Described, &dyn Source),
    go_on: &dyn Fn() -> Result<()>,
) -> Result<Option<Values>> {
    let same = before.dtype == after.dtype && before.shape == after.shape;
    if !same || before.encoded || after.encoded {
        return Ok(None);
    }
    let (mut ones, mut others) = (Reader::new(before, old), Reader::new(after, new));
    let mut sums = Sums::default();
    loop {
        go_on()?;
        let (Some(one), Some(other)) = (ones.next()?, others.next()?) else { break };
        if one.is_empty() && other.is_empty() {
            return Ok(Some(sums.done()));
        }
        if one.len() != other.len() {
            break;
        }
        one.iter().zip(other).for_each(|(one, other)| sums.add(*one, *other));
    }
    Ok(None)
}

/// The numbers of a tensor, a block at a time.
struct Reader<'a> {
    tensor: &'a Described,
    source: &'a dyn Source,
    part: usize,
    done: u64,
    bytes: Vec<u8>,
    numbers: Vec<f64>,
}

impl<'a> Reader<'a> {
    fn new(tensor: &'a Described, source: &'a dyn Source) -> Self {
        Reader { tensor, source, part: 0, done: 0, bytes: Vec::new(), numbers: Vec::new() }
    }

    /// The next numbers, none at the end; `None` where they are no real numbers.
    fn next(&mut self) -> Result<Option<&[f64]>> {
        self.bytes.clear();
        self.numbers.clear();
        while let Some((from, len)) = self.tensor.parts.get(self.part).copied() {
            let want = (BLOCK - self.bytes.len()).min(usize::try_from(len - self.done).unwrap_or(BLOCK));
            let at = self.bytes.len();
            self.bytes.resize(at + want, 0);
            self.source.read_exact_at(from + self.done, self.bytes.get_mut(at..).unwrap_or_default())?;
            self.done += want as u64;
            if self.done < len {
                break;
            }
            (self.part, self.done) = (self.part + 1, 0);
        }
        let real = formats::decode(&self.tensor.dtype, &self.bytes, &mut self.numbers);
        Ok(real.then_some(&self.numbers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(pairs: &[(f64, f64)]) -> Values {
        let mut sums = Sums::default();
        pairs.iter().for_each(|(one, other)| sums.add(*one, *other));
        sums.done()
    }

    #[test]
    fn differences_are_those_of_the_finite_pairs() {
        let found = values(&[(1.0, 1.0), (2.0, 2.5), (f64::NAN, 1.0), (-3.0, -4.0)]);
        assert_eq!((found.elements, found.differing, found.not_finite), (4, 3, 1));
        assert_eq!((found.max_abs, found.mean_abs), (1.0, 0.5));
        assert!((found.cosine.unwrap() - 18.0 / (14.0_f64.sqrt() * 23.25_f64.sqrt())).abs() < 1e-12);
        assert_eq!(values(&[(0.0, 1.0)]).cosine, None, "no direction");
        assert_eq!(values(&[]), Values::default());
        assert_eq!(values(&[(f64::NAN, f64::NAN)]).differing, 0, "the same bits");
    }
}
