//! Changing one option in the text of a `config.toml`, and leaving every other line as its author wrote it.
//!
//! Text in, text out; only [`read`] touches a file. Options are at the top of the file, one a line. A text in which the
//! change does not come out right (a value over several lines) fails [`check`], and the file stays as it is.

use std::path::Path;

use super::sources::read_config;
use super::{Invalid, MountOptions};

/// The text of the file at `path`; empty when there is none.
pub fn read(path: &Path) -> Result<String, Invalid> {
    read_config(path).map(Option::unwrap_or_default)
}

/// `text` with the option `name` set to `value`, or without it. The name has `_`, as in the table.
pub fn with_setting(text: &str, name: &str, value: Option<&str>) -> String {
    // As a basic TOML string; values that options take have no control characters.
    let line =
        value.map(|value| format!("{name} = \"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")));
    let mut lines: Vec<String> = Vec::new();
    let (mut put, mut top) = (false, true);
    for old in text.lines() {
        top &= !old.trim_start().starts_with('[');
        if top && is_setting(old, name) {
            if let (Some(line), false) = (&line, put) {
                lines.push(line.clone());
                put = true;
            }
            continue;
        }
        lines.push(old.to_owned());
    }
    if let (Some(line), false) = (line, put) {
        let place = lines.iter().position(|line| line.trim_start().starts_with('[')).unwrap_or(lines.len());
        lines.insert(place, line);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether `line` sets `name`: `-` may be written for `_`, and the name in quotes.
fn is_setting(line: &str, name: &str) -> bool {
    let Some((key, _)) = line.split_once('=') else { return false };
    key.trim().trim_matches(['"', '\'']).replace('-', "_") == name
}

/// Whether `text` is a `config.toml` that a mount would take.
pub fn check(text: &str, path: &Path) -> Result<(), Invalid> {
    let mut options = MountOptions::default();
    options.apply_toml(text, path)?;
    options.check()
}

#[cfg(test)]
mod tests {
    use super::super::sources::template;
    use super::*;

    fn read_back(text: &str) -> MountOptions {
        let mut options = MountOptions::default();
        options.apply_toml(text, Path::new("c")).unwrap();
        options
    }

    #[test]
    fn one_line_changes_and_comments_stay() {
        let text = "# mine\nthreads = 3\nkeep-daily = 7 # a week\n\n# the end\n";
        let changed = with_setting(text, "keep_daily", Some("14"));
        assert_eq!(changed, "# mine\nthreads = 3\nkeep_daily = \"14\"\n\n# the end\n");
        assert_eq!(read_back(&changed).policy.keep_daily, 14);
        assert_eq!(with_setting(&changed, "keep_daily", None), "# mine\nthreads = 3\n\n# the end\n");
        let quoted = with_setting("", "monitor", Some(r#"a"b\c"#));
        assert_eq!(read_back(&quoted).policy.monitor.as_deref(), Some(r#"a"b\c"#));
    }

    #[test]
    fn the_template_keeps_its_examples_and_a_table_is_not_touched() {
        let changed = with_setting(&template(), "max_to_keep", Some("3"));
        assert!(changed.contains("#max_to_keep") && changed.ends_with("max_to_keep = \"3\"\n"));
        assert_eq!(read_back(&changed).policy.max_to_keep, 3);
        assert_eq!(with_setting(&changed, "max_to_keep", None), template());
        let tabled = with_setting("[x]\nmode = 1\n", "mode", Some("max"));
        assert_eq!(tabled, "mode = \"max\"\n[x]\nmode = 1\n");
    }

    #[test]
    fn what_does_not_come_out_right_is_refused() {
        assert!(check("threads = 3\n", Path::new("c")).is_ok());
        let odd = with_setting("monitor = \"\"\"\nloss\"\"\"\n", "monitor", Some("acc"));
        assert!(check(&odd, Path::new("c")).is_err(), "{odd}");
        assert!(check("keep_best = 3", Path::new("c")).unwrap_err().0.contains("monitor"));
    }
}
