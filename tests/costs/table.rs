//! The table of what is allowed, `table.txt`: a section for each scenario, a line for each of its counters.
//!
//! Counts are held to the line itself. Lengths of records follow from times and numbers in them, and instructions from
//! how memory happens to lie: these have a small allowance. A count below nine tenths of its line is as wrong as one above it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use parking_lot::Mutex;

/// Counters of one scenario by name.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The tests of this target run side by side and write one file.
static FILE: Mutex<()> = Mutex::new(());

const HEAD: &str = "\
# What each scenario may cost at most: FUSE requests, system calls of the daemon by place, bytes, instructions.
# Renew it with: UPDATE=1 cargo test --test costs -- --ignored
";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/costs/table.txt")
}

/// Whether the table is to be written, not held.
pub(crate) fn is_renewed() -> bool {
    std::env::var_os("UPDATE").is_some()
}

fn read() -> BTreeMap<String, Counts> {
    let text = fs::read_to_string(path()).unwrap_or_default();
    let mut all = BTreeMap::<String, Counts>::new();
    let mut name = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name = section.to_owned();
            all.entry(name.clone()).or_default();
        } else {
            let (counter, count) = line.rsplit_once(' ').unwrap_or_else(|| panic!("table.txt: {line}"));
            let section = all.entry(name.clone()).or_default();
            section.insert(counter.trim().to_owned(), count.parse().unwrap());
        }
    }
    all
}

/// Puts `counts` into the table as the section `name`.
pub(crate) fn renew(name: &str, counts: &Counts) {
    let _one_at_a_time = FILE.lock();
    let mut all = read();
    all.insert(name.to_owned(), counts.clone());
    let mut text = HEAD.to_owned();
    for (name, counts) in all {
        writeln!(text, "\n[{name}]").unwrap();
        for (counter, count) in counts {
            writeln!(text, "{counter:<32} {count:>10}").unwrap();
        }
    }
    fs::write(path(), text).unwrap();
}

/// What of `counts` is not as the section `name` has it, a line each.
pub(crate) fn differences(name: &str, counts: &Counts) -> Vec<String> {
    let allowed = {
        let _whole = FILE.lock();
        read().remove(name).unwrap_or_default()
    };
    let counters: std::collections::BTreeSet<_> = allowed.keys().chain(counts.keys()).collect();
    let of = |counts: &Counts, counter: &str| counts.get(counter).copied().unwrap_or(0);
    let judged = counters.into_iter().filter_map(|counter| {
        let (count, line) = (of(counts, counter), of(&allowed, counter));
        let most = line + line * allowance_percent(counter) / 100;
        let word = match count {
            count if count > most => "more than",
            count if count * 10 < line * 9 => "far less than",
            _ => return None,
        };
        Some(format!("[{name}] {counter}: {count} is {word} {line} in tests/costs/table.txt"))
    });
    judged.collect()
}

fn allowance_percent(counter: &str) -> u64 {
    match counter {
        _ if counter.ends_with(" instructions") => 3,
        _ if counter.ends_with(" bytes read") || counter.ends_with(" bytes written") => 2,
        _ => 0,
    }
}

/// Fails with all that differs.
#[track_caller]
pub(crate) fn none(differences: &[String]) {
    assert!(
        differences.is_empty(),
        "\n{}\nIf that is meant, renew the table and say why: UPDATE=1 cargo test --test costs -- --ignored",
        differences.join("\n")
    );
}

#[test]
fn more_and_far_less_than_a_line_are_told_and_the_allowance_is_not() {
    let section = read().into_iter().find(|(_, counts)| counts.contains_key("request write")).unwrap();
    let (name, line) = section;
    assert_eq!(differences(&name, &line), Vec::<String>::new());
    let mut more = line.clone();
    *more.get_mut("request write").unwrap() += 1;
    more.insert("hot fsync by nobody".to_owned(), 1);
    let told = differences(&name, &more);
    assert!(told.len() == 2 && told.iter().all(|told| told.contains("more than")), "{told:?}");
    let mut less = line;
    less.remove("request write");
    let told = differences(&name, &less);
    assert!(told.len() == 1 && told[0].contains("request write: 0 is far less than"), "{told:?}");
}
