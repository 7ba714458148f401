//! The values that mount options take, from text.
//!
//! Any text in: a value within its bounds, or the words that complete "'TEXT' ..." in a message.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::{Passthrough, Provenance, Snapdir, SnapshotAdmin};
use crate::version::runs::Glob;

/// Background threads beyond this are a typing error.
const THREADS_MAX: usize = 1024;
/// A quiet time beyond this is a typing error.
const SETTLE_MAX: Duration = Duration::from_secs(24 * 3600);

/// The longest name of a directory entry, in bytes.
const NAME_BYTES_MAX: usize = 255;

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

/// `hidden`, `visible` or `disabled`.
pub(super) fn snapdir(value: &str) -> Result<Snapdir, String> {
    match value {
        "hidden" => Ok(Snapdir::Hidden),
        "visible" => Ok(Snapdir::Visible),
        "disabled" => Ok(Snapdir::Disabled),
        _ => Err("is none of hidden, visible, disabled".into()),
    }
}

/// `owner` or `root`.
pub(super) fn snapshot_admin(value: &str) -> Result<SnapshotAdmin, String> {
    match value {
        "owner" => Ok(SnapshotAdmin::Owner),
        "root" => Ok(SnapshotAdmin::Root),
        _ => Err("is neither owner nor root".into()),
    }
}

/// `off`, `on` or `args`.
pub(super) fn provenance(value: &str) -> Result<Provenance, String> {
    match value {
        "off" => Ok(Provenance::Off),
        "on" => Ok(Provenance::On),
        "args" => Ok(Provenance::Args),
        _ => Err("is none of off, on, args".into()),
    }
}

/// The name of one directory entry.
pub(super) fn file_name(value: &str) -> Result<String, String> {
    let is_name = !value.is_empty() && value.len() <= NAME_BYTES_MAX && !value.contains(['/', '\0']);
    if is_name && value != "." && value != ".." {
        Ok(value.to_owned())
    } else {
        Err(format!("is not one name of 1 to {NAME_BYTES_MAX} bytes without '/'"))
    }
}

/// Patterns with `:` between; a colon that is meant as it is is written `\:`. Nothing is no pattern.
pub(super) fn globs(value: &str) -> Result<Vec<Glob>, String> {
    let (mut patterns, mut escaped) = (vec![String::new()], false);
    for letter in value.chars() {
        match patterns.last_mut() {
            Some(last) if letter != ':' || escaped => last.push(letter),
            _ => patterns.push(String::new()),
        }
        escaped = letter == '\\' && !escaped;
    }
    patterns.iter().filter(|pattern| !pattern.is_empty()).map(|pattern| Glob::new(pattern)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
