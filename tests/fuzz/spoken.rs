//! Bodies over what people and programs say: lines on the control socket, mount options, policies, patterns, and names and
//! markers of checkpoints.

use std::path::Path;

use ckptfs::base::text;
use ckptfs::command::Answer;
use ckptfs::control::protocol::{REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Reply, Request, read_line, write_line};
use ckptfs::options::{MountOptions, TABLE, edit};
use ckptfs::retention::{Overrides, Policy};
use ckptfs::version::marker::{Event, marker_of};
use ckptfs::version::runs::Glob;
use ckptfs::version::{names, series};

/// A line is a request, or a reply, that is written as a line of the same meaning, or it is refused.
///
/// Which end reads (a byte: the daemon, the client, the client an answer), the line.
pub(super) fn control(input: &[u8]) {
    let Some((end, bytes)) = input.split_first() else { return };
    let line = [bytes, b"\n"].concat();
    match end % 4 {
        0 => comes_back::<Request>(&line, REQUEST_BYTES_MAX),
        1 => comes_back::<Reply>(&line, REPLY_BYTES_MAX),
        2 => comes_back::<Answer>(&line, REPLY_BYTES_MAX),
        // As it came, without the end of the line, or with several: read until nothing is left.
        _ => {
            let mut from = bytes;
            while let Ok(Some(_)) = read_line::<Request>(&mut from, REQUEST_BYTES_MAX) {}
        }
    }
}

fn comes_back<T>(line: &[u8], longest: u64)
where
    T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + std::fmt::Debug,
{
    let Ok(Some(value)) = read_line::<T>(&mut &*line, longest) else { return };
    let mut written = Vec::new();
    write_line(&mut written, &value).expect("a value that was read can be written");
    assert_eq!(written.iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    let again = read_line::<T>(&mut &*written, u64::MAX - 1).expect("a line that we wrote");
    assert_eq!(again.as_ref(), Some(&value));
    let shown = text::visible(std::str::from_utf8(&written).expect("JSON is text"));
    assert!(shown.chars().all(|letter| letter == '\n' || !letter.is_control()), "{shown:?}");
}

/// Settings are taken or refused with one line; what is taken is told as what it is.
///
/// What it is (a byte: config.toml, `-o`, one line changed in a config.toml, a policy, a pattern, a name, a marker's text), its text.
pub(super) fn settings(input: &[u8]) {
    let Some((what, bytes)) = input.split_first() else { return };
    let lossy = String::from_utf8_lossy(bytes);
    let halves = lossy.split_once('\0').unwrap_or((&lossy, ""));
    let mut options = MountOptions::default();
    match what % 8 {
        0 => told(options.apply_toml(&lossy, Path::new("/s/config.toml")).map_err(|wrong| wrong.0)),
        1 => told(options.apply_list(&lossy).map_err(|wrong| wrong.0)),
        2 => changed(halves.0, halves.1, usize::from(what >> 3)),
        3 => policy(halves),
        4 => {
            if let Ok(glob) = Glob::new(halves.0) {
                glob.matches(halves.1.as_bytes());
            }
        }
        5 => {
            names::facts_of(bytes);
            names::looks_like_checkpoint(bytes);
            series::key(bytes);
            series::by_number(halves.0.as_bytes(), halves.1.as_bytes());
        }
        _ => {
            let event = Event::Closed { name: halves.0.as_bytes() };
            let renamed =
                Event::Renamed { from: b".metadata.tmp", to: halves.0.as_bytes(), is_dir: what & 8 != 0 };
            for marker in [event, renamed].iter().filter_map(|event| marker_of(event, b"checkpoint-5")) {
                marker.committed(Some(halves.1.as_bytes()));
            }
        }
    }
    if options.check().is_ok() {
        let mut again = Policy::default();
        for (name, value) in options.policy.settings() {
            again.set(name, &value).expect("a setting as it is told");
        }
    }
}

fn told(done: Result<(), String>) {
    if let Err(why) = done {
        assert!(!why.is_empty() && !text::one_line(&why).contains('\n'));
    }
}

/// A line that is changed is read as that value, and nothing else changes, or the change is refused.
fn changed(text: &str, value: &str, number: usize) {
    let policies: Vec<_> = TABLE.iter().filter(|row| row.is_policy()).collect();
    let name = policies[number % policies.len()].name;
    if Policy::default().set(name, value).is_err() {
        return;
    }
    let path = Path::new("/s/config.toml");
    let new = edit::with_setting(text, name, Some(value));
    if edit::check(text, path).is_err() || edit::check(&new, path).is_err() {
        return;
    }
    let (mut before, mut after) = (MountOptions::default(), MountOptions::default());
    before.apply_toml(text, path).expect("a text that was checked");
    after.apply_toml(&new, path).expect("a text that was checked");
    before.policy.set(name, value).expect("a value that was taken before");
    assert_eq!(before, after, "{new}");
}

fn policy((name, value): (&str, &str)) {
    let mut own = Overrides::default();
    if own.set(name, value).is_ok() {
        let policy = own.over(&Policy::default());
        policy.check().expect("what cannot be told keeps all");
    }
}
