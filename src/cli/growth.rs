//! How a store has grown, drawn in a terminal: a bar a version, oldest first.
//!
//! A bar is as long as the version's files, and filled as far as the packs grew by it: what is empty was saved.

use super::rows::{size, table};
use crate::command::StatsShown;
use crate::inspect::Share;

/// Bars that a screen takes; more versions are drawn several in one.
const BARS_MAX: usize = 50;
/// The longest bar, in columns.
const WIDTH: u64 = 40;

/// Several versions that are drawn as one.
#[derive(Default)]
struct Bar {
    name: String,
    files: u64,
    added: u64,
}

/// The bars of the versions, or runs, that `stats` tells of.
pub(super) fn plot(stats: &StatsShown) -> String {
    let versions = stats.versions.iter().rev().map(|one| (format!("{:06}", one.number), &one.share));
    let runs = stats.runs.iter().map(|one| (one.path.clone(), &one.share));
    let bars = bars(&versions.chain(runs).collect::<Vec<_>>());
    let longest = bars.iter().map(|bar| bar.files.max(bar.added)).max().unwrap_or(0);
    let (mut files, mut stored, mut rows) = (0, 0, Vec::new());
    for bar in bars {
        files += bar.files;
        stored += bar.added;
        rows.push(vec![
            bar.name.clone(),
            drawn(&bar, longest),
            size(bar.files),
            size(bar.added),
            size(files),
            size(stored),
            saved(files, stored),
        ]);
    }
    if rows.is_empty() {
        return "there are no versions yet\n".to_owned();
    }
    let name = if stats.run.is_some() { "VERSION" } else { "RUN" };
    table(
        &[name, "FILES, AND WHAT IS NEW OF THEM", "FILES", "NEW", "ALL FILES", "ALL STORED", "SAVED"],
        &rows,
    )
}

fn bars(shares: &[(String, &Share)]) -> Vec<Bar> {
    let each = shares.len().div_ceil(BARS_MAX).max(1);
    let bar = |several: &[(String, &Share)]| {
        let name = match several {
            [(first, _), .., (last, _)] => format!("{first}-{last}"),
            [(one, _)] => one.clone(),
            [] => String::new(),
        };
        let sum = |of: fn(&Share) -> u64| several.iter().map(|(_, share)| of(share)).sum();
        Bar { name, files: sum(|share| share.logical_bytes), added: sum(|share| share.added_bytes) }
    };
    shares.chunks(each).map(bar).collect()
}

fn drawn(bar: &Bar, longest: u64) -> String {
    let columns = |bytes: u64| {
        let columns = u128::from(bytes) * u128::from(WIDTH) / u128::from(longest.max(1));
        usize::try_from(columns).unwrap_or(0)
    };
    let (all, full) = (columns(bar.files), columns(bar.added));
    "█".repeat(full) + &"░".repeat(all.saturating_sub(full))
}

fn saved(files: u64, stored: u64) -> String {
    match files.checked_sub(stored) {
        Some(saved) if files > 0 => format!("{:.1} %", 100.0 * saved as f64 / files as f64),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(files: u64, added: u64) -> Share {
        Share { logical_bytes: files, added_bytes: added, ..Share::default() }
    }

    #[test]
    fn bars_are_as_long_as_files_and_full_as_far_as_they_are_new() {
        let bar = |files, added| drawn(&Bar { name: String::new(), files, added }, 100);
        assert_eq!(bar(100, 0), "░".repeat(40));
        assert_eq!(bar(50, 25), "█".repeat(10) + &"░".repeat(10));
        assert_eq!(bar(0, 0), "");
        assert_eq!(bar(10, 20), "█".repeat(8), "lists and headers can be more than small files");
        assert_eq!((saved(100, 25).as_str(), saved(10, 20).as_str()), ("75.0 %", ""));
    }

    #[test]
    fn many_versions_are_drawn_several_in_one_and_none_is_left_out() {
        let share = share(10, 5);
        let all: Vec<(String, &Share)> = (1..=1000).map(|n| (format!("{n:06}"), &share)).collect();
        let bars = bars(&all);
        assert_eq!((bars.len(), bars[0].name.as_str()), (50, "000001-000020"));
        assert_eq!(bars.iter().map(|bar| bar.files).sum::<u64>(), 10_000);
    }
}
