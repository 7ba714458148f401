//! Reads the words and numbers of one name: counters (`step_500`), measured values (`val_loss=0.12`), and the rest.
//!
//! Any bytes in, one left-to-right pass out. A number counts only with a known word beside it: a bare one may be a seed,
//! a fold or a date. What is neither a counter, a measured value nor a word that checkpoints bear makes the name
//! `foreign`: facts are still taken from it, but it does not name one checkpoint.

use std::collections::BTreeMap;

use super::words::{BATCH, CHECKPOINT, COMPANION, EPOCH, HYPERPARAMETER, METRIC, QUALIFIER, SETTING, STEP};

/// Names on Linux have at most 255 bytes; of a longer text only the begin is read.
const NAME_BYTES_MAX: usize = 1024;

/// What a name says.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// From a word that means steps.
    pub(super) step: Option<u64>,
    /// From a word that means a checkpoint.
    pub(super) numbered: Option<u64>,
    /// From a word that means epochs.
    pub(super) epoch: Option<u64>,
    /// Measured values; finite ones only.
    pub(super) metrics: BTreeMap<String, f64>,
    /// It holds something that names of checkpoints do not.
    pub(super) foreign: bool,
}

/// Reads `name`.
pub(super) fn scan(name: &[u8]) -> Scan {
    let name = name.get(..NAME_BYTES_MAX).unwrap_or(name);
    let lower = name.to_ascii_lowercase();
    let mut scanner = Scanner { name, lower: &lower, before: b"", found: Scan::default() };
    let mut at = 0;
    while at < lower.len() {
        at = scanner.advance(at).max(at + 1);
    }
    scanner.found
}

struct Scanner<'a> {
    name: &'a [u8],
    lower: &'a [u8],
    /// The word just read.
    before: &'a [u8],
    found: Scan,
}

impl<'a> Scanner<'a> {
    /// Reads what begins at `at`; where the next thing begins.
    fn advance(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        match rest.first() {
            Some(byte) if byte.is_ascii_alphanumeric() => {}
            byte => {
                self.found.foreign |= byte.is_some_and(|byte| !byte.is_ascii());
                return at + 1;
            }
        }
        self.counter(at)
            .or_else(|| self.counted(at))
            .or_else(|| self.measured(at))
            .or_else(|| self.pair(at))
            .unwrap_or_else(|| self.other(at))
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.lower.get(at..).unwrap_or_default()
    }

    /// `step_500`, `epoch=3`, `ckpt-12`, `iter0001000`.
    fn counter(&mut self, at: usize) -> Option<usize> {
        let rest = self.rest(at);
        let word = letters(rest);
        if SETTING.contains(&self.before) {
            return None;
        }
        let after = rest.get(word.len()..)?;
        let gap = usize::from(after.first().is_some_and(|byte| b"_-=.: ".contains(byte)));
        let digits = digits(after.get(gap..)?);
        let behind = after.get(gap + digits.len()..)?;
        if !ends_a_count(behind) {
            return None;
        }
        let value = number(digits)?;
        let slot = if STEP.contains(&word) || (word == BATCH && gap == 0) {
            &mut self.found.step
        } else if EPOCH.contains(&word) {
            &mut self.found.epoch
        } else if CHECKPOINT.contains(&word) && !is_date(digits, behind) {
            &mut self.found.numbered
        } else {
            return None;
        };
        let end = at + word.len() + gap + digits.len();
        // fairseq: `checkpoint_EPOCH_UPDATES`.
        let second = second_count(behind).filter(|(_, count)| CHECKPOINT.contains(&word) && *count > value);
        let (more, count) = second.unwrap_or((0, value));
        slot.get_or_insert(count);
        self.before = b"";
        Some(end + more)
    }

    /// `10000_steps` (stable-baselines3), `500steps`, `10epoch` (ESPnet).
    fn counted(&mut self, at: usize) -> Option<usize> {
        let rest = self.rest(at);
        let digits = digits(rest);
        let value = number(digits)?;
        let after = rest.get(digits.len()..)?;
        let gap = usize::from(after.first().is_some_and(|byte| b"_-".contains(byte)));
        let word = letters(after.get(gap..)?);
        let slot = match word {
            b"steps" => &mut self.found.step,
            b"step" if gap == 0 => &mut self.found.step,
            b"epoch" if gap == 0 => &mut self.found.epoch,
            _ => return None,
        };
        slot.get_or_insert(value);
        self.before = b"";
        Some(at + digits.len() + gap + word.len())
    }

    /// `val_loss_0.12`: at most three words, the last of which means a measured value.
    fn measured(&mut self, at: usize) -> Option<usize> {
        let mut end = at;
        for _ in 0..3 {
            let word = letters(self.rest(end));
            end += word.len();
            if METRIC.contains(&word) {
                let gap = usize::from(self.rest(end).first().is_some_and(|byte| b"_-:".contains(byte)));
                let (value, len) = decimal(self.rest(end + gap))?;
                // A whole number is more often a count or a class than a measure.
                self.rest(end + gap).get(..len).filter(|text| text.contains(&b'.'))?;
                self.measure(at, end, value);
                return Some(end + gap + len);
            }
            if !QUALIFIER.contains(&word) || !matches!(self.rest(end).first(), Some(b'_' | b'-')) {
                return None;
            }
            end += 1;
        }
        None
    }

    /// `NAME=NUMBER`.
    fn pair(&mut self, at: usize) -> Option<usize> {
        let rest = self.rest(at);
        rest.first().filter(|byte| byte.is_ascii_alphabetic())?;
        let len =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"_.@".contains(byte)).count();
        let key = rest.get(..len)?;
        let text = rest.get(len..)?.strip_prefix(b"=")?;
        let end = at + len + 1;
        let mut words = key.split(|byte| !byte.is_ascii_alphabetic());
        self.before = b"";
        let Some((value, width)) = decimal(text) else {
            let word = letters(text);
            self.found.foreign |= ![&b"nan"[..], b"inf"].contains(&word);
            return Some(end + word.len());
        };
        let whole = text.get(..width).and_then(number);
        let is_metric = words.clone().any(|word| METRIC.contains(&word));
        // Hydra writes `optimizer.lr=0.1`.
        let plain = key.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
        let is_setting = HYPERPARAMETER.contains(&plain) || words.clone().any(|word| SETTING.contains(&word));
        if is_setting && !is_metric {
            self.found.foreign = true;
            return Some(end + width);
        }
        let last = words.next_back().unwrap_or_default();
        let at = at + behind_a_count(key);
        match whole.filter(|_| !is_metric) {
            Some(count) if STEP.contains(&last) => _ = self.found.step.get_or_insert(count),
            Some(count) if EPOCH.contains(&last) => _ = self.found.epoch.get_or_insert(count),
            _ => self.measure(at, end - 1, value),
        }
        Some(end + width)
    }

    /// Notes the value that the name between the two places has; the first of a name counts.
    fn measure(&mut self, from: usize, to: usize, value: f64) {
        let key = String::from_utf8_lossy(self.name.get(from..to).unwrap_or_default()).into_owned();
        if value.is_finite() {
            self.found.metrics.entry(key).or_insert(value);
        }
        self.before = b"";
    }

    /// A word that says nothing, or a number without one.
    fn other(&mut self, at: usize) -> usize {
        let rest = self.rest(at);
        let word = letters(rest);
        if word.is_empty() {
            self.found.foreign = true;
            self.before = b"";
            return at + digits(rest).len();
        }
        // Lightning's `-v1` says that the name was taken.
        let version = digits(rest.get(1..).unwrap_or_default());
        if word == b"v" && !version.is_empty() {
            return at + 1 + version.len();
        }
        self.found.foreign |= !COMPANION.contains(&word);
        self.before = word;
        at + word.len()
    }
}

/// Where the name of a value begins in `best_model_10_val_acc`: behind the number of a checkpoint whose words are no part of
/// it. 0 where there is none, as in `top_5_acc`.
fn behind_a_count(key: &[u8]) -> usize {
    let Some(to) = key.windows(2).rposition(|pair| matches!(pair, [digit, b'_'] if digit.is_ascii_digit()))
    else {
        return 0;
    };
    let before = key.get(..=to).unwrap_or_default();
    let mut words = before.split(|byte| *byte == b'_');
    let counted = words.next_back().is_some_and(|count| number(count).is_some());
    let known = |word: &[u8]| COMPANION.contains(&word) || CHECKPOINT.contains(&word);
    if counted && before.contains(&b'_') && words.all(known) { to + 2 } else { 0 }
}

fn letters(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    bytes.get(..len).unwrap_or_default()
}

fn digits(bytes: &[u8]) -> &[u8] {
    let len = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    bytes.get(..len).unwrap_or_default()
}

/// The value of ASCII digits, leading zeros allowed; `None` for anything else and beyond 64 bits.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The number in `_1000` at the end of a name or before its ending, with the length of both; a date is none.
fn second_count(behind: &[u8]) -> Option<(usize, u64)> {
    let found = digits(behind.strip_prefix(b"_")?);
    let rest = behind.get(1 + found.len()..)?;
    let ends = matches!(rest, [] | [b'.', ..]) && ends_a_count(rest) && !is_date(found, rest);
    Some((1 + found.len(), number(found)?)).filter(|_| ends && !found.is_empty())
}

/// Whether a count may end before `behind`: `7b` is a size, `3fa9` a hash, `0.5` a fraction, `00001-of-00005` a shard.
fn ends_a_count(behind: &[u8]) -> bool {
    match behind {
        [byte, ..] if byte.is_ascii_alphabetic() => {
            let word = letters(behind);
            [STEP, EPOCH, CHECKPOINT].iter().any(|known| known.contains(&word))
        }
        [b'.', digit, ..] if digit.is_ascii_digit() => false,
        [b'-' | b'_', b'o', b'f', b'-' | b'_', ..] => false,
        _ => true,
    }
}

/// `20240131`, `20240131120000`, or `2024` before `-01-31`.
fn is_date(digits: &[u8], behind: &[u8]) -> bool {
    let within = |text: Option<&[u8]>, low: u64, high: u64| {
        text.and_then(number).is_some_and(|value| (low..=high).contains(&value))
    };
    if !within(digits.get(..4), 1990, 2099) {
        return false;
    }
    match digits.len() {
        4 => matches!(behind, [a @ (b'-' | b'_'), b'0' | b'1', m, b, ..] if m.is_ascii_digit() && a == b),
        8 | 12 | 14 => within(digits.get(4..6), 1, 12) && within(digits.get(6..8), 1, 31),
        _ => false,
    }
}

/// A decimal number at the begin of `text` and its length: `0.1234`, `-3`, `1e-05`; none where letters follow at once.
fn decimal(text: &[u8]) -> Option<(f64, usize)> {
    let mut len = usize::from(text.first() == Some(&b'-'));
    let whole = digits(text.get(len..)?);
    if whole.is_empty() {
        return None;
    }
    len += whole.len();
    if let Some(fraction) =
        text.get(len..)?.strip_prefix(b".").map(digits).filter(|digits| !digits.is_empty())
    {
        len += 1 + fraction.len();
    }
    if let Some(b"e") = text.get(len..len + 1) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let exponent = digits(text.get(len + 1 + sign..)?);
        if !exponent.is_empty() {
            len += 1 + sign + exponent.len();
        }
    }
    if text.get(len).is_some_and(u8::is_ascii_alphabetic) {
        return None;
    }
    let value = std::str::from_utf8(text.get(..len)?).ok()?.parse().ok()?;
    Some((value, len))
}
