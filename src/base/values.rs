//! The values that mount options take, from text.
//!
//! Any text in: a value within its bounds, or the words that complete "'TEXT' ..." in a message.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::config::Passthrough;

/// Background threads beyond this are a typing error.
const THREADS_MAX: usize = 1024;
/// A quiet time beyond this is a typing error.
const SETTLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// On or off.
pub(super) fn switch(value: &str) -> Result<bool, String> {
    match value {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("is neither true nor false".into()),
    }
}

/// A size in bytes: `16GiB`, `500MB`, `4096`.
pub(super) fn bytes(value: &str) -> Result<u64, String> {
    value
        .parse::<ByteSize>()
        .map(|size| size.as_u64())
        .map_err(|_| "is not a size; write for example 16GiB".into())
}

/// A time with its unit: `2s`, `500ms`, `1m30s`.
pub(super) fn time(value: &str) -> Result<Duration, String> {
    let wrong = "is not a time up to 24h; write for example 2s or 500ms";
    let parsed: jiff::SignedDuration = value.parse().map_err(|_| wrong)?;
    let time = Duration::try_from(parsed).map_err(|_| wrong)?;
    if time > SETTLE_MAX { Err(wrong.into()) } else { Ok(time) }
}

/// A number of threads.
pub(super) fn count(value: &str) -> Result<usize, String> {
    match value.parse() {
        Ok(count @ 1..=THREADS_MAX) => Ok(count),
        _ => Err(format!("is not a number from 1 to {THREADS_MAX}")),
    }
}

/// A folder; a relative one is taken from where the command was given.
pub(super) fn folder(value: &str) -> Result<PathBuf, String> {
    std::path::absolute(value).map_err(|_| "is not a path".into())
}

/// `auto`, `on` or `off`.
pub(super) fn passthrough(value: &str) -> Result<Passthrough, String> {
    match value {
        "auto" => Ok(Passthrough::Auto),
        "on" => Ok(Passthrough::On),
        "off" => Ok(Passthrough::Off),
        _ => Err("is none of auto, on, off".into()),
    }
}

/// The candidate that is the fewest single-letter edits away from `name`; empty without candidates.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> &'a str {
    candidates.min_by_key(|candidate| edits(name, candidate)).unwrap_or_default()
}

/// Levenshtein's distance, one row at a time. Names longer than 64 letters are compared by their first 64.
fn edits(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, a) in from.chars().take(64).enumerate() {
        let mut corner = line;
        let mut left = line + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(to.chars()) {
            let best = (corner + usize::from(a != b)).min(left + 1).min(*cell + 1);
            corner = std::mem::replace(cell, best);
            left = best;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_one_with_the_fewest_edits() {
        assert_eq!((edits("kitten", "sitting"), edits("", "ab"), edits("ab", "")), (3, 2, 2));
        assert_eq!(nearest("setle", ["cache", "settle"].into_iter()), "settle");
        assert_eq!(nearest("x", [].into_iter()), "");
    }

    #[test]
    fn odd_texts_are_refused_and_bounds_hold() {
        for text in ["", "-1", "1e99", "16 XiB", "\u{1F980}", "99999999999999999999999"] {
            assert!(count(text).is_err() && time(text).is_err(), "{text}");
            assert!(switch(text).is_err() && passthrough(text).is_err(), "{text}");
        }
        assert!(bytes("16 XiB").is_err() && bytes("").is_err() && bytes("-1").is_err());
        assert!(time("25h").is_err() && count("1025").is_err());
    }
}
