//! Mount options as flags: made from the one table, read back in the order of precedence.

use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches};

use super::failure::Outcome;
use crate::options::{MountOptions, TABLE};

/// The flags of the table, and `-o`.
pub(super) fn args() -> Vec<Arg> {
    let list = Arg::new("o")
        .short('o')
        .value_name("LIST")
        .action(ArgAction::Append)
        .help("Mount options as mount(8) and /etc/fstab give them: a,b=c. The names are those of the flags below")
        .help_heading("Mount options");
    let rows = TABLE.iter().map(|row| {
        let arg = Arg::new(row.name)
            .long(row.name)
            .help(format!("{} Default: {}.", row.help, row.default))
            .help_heading(if row.is_policy() { "Retention options" } else { "Mount options" });
        let arg = if row.name.contains('_') { arg.alias(row.name.replace('_', "-")) } else { arg };
        if row.is_switch() {
            // `--ro=false` takes back what config.toml says.
            arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("true|false")
        } else if row.name == "run" {
            arg.value_name(row.value).action(ArgAction::Append)
        } else {
            arg.value_name(row.value)
        }
    });
    std::iter::once(list).chain(rows).collect()
}

/// The options that `matches` and the store's `config` give.
pub(super) fn gather(matches: &ArgMatches, config: &Path) -> Outcome<MountOptions> {
    let mut options = MountOptions::default();
    options.apply_file(config)?;
    for list in matches.get_many::<String>("o").into_iter().flatten() {
        options.apply_list(list)?;
    }
    for row in TABLE {
        if let Some(values) = matches.get_many::<String>(row.name) {
            // Only patterns can be given several times, and a colon is between several of them.
            let values: Vec<&str> = values.map(String::as_str).collect();
            options.set(row.name, Some(&values.join(":")), "the command line")?;
        }
    }
    options.check()?;
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flag_goes_before_o_before_config_before_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config.toml");
        std::fs::write(&config, "settle = \"9s\"\nthreads = 9\ncache = \"9MiB\"\nro = true\n").unwrap();
        let read = |words: &[&str]| {
            let words = std::iter::once(&"x").chain(words);
            gather(&clap::Command::new("x").args(args()).get_matches_from(words), &config).unwrap()
        };
        let options = read(&["--settle", "1s", "-o", "settle=4s,threads=4", "--ro=false", "--allow-other"]);
        assert_eq!(
            (options.settle, options.threads, options.cache_bytes),
            (Duration::from_secs(1), 4, 9 << 20)
        );
        assert!(!options.ro && options.allow_other && !options.nonempty);
        assert!(read(&["--ro"]).ro);
        let options = read(&["--run", "a/*", "--run", "b", "--max_to_keep=3", "-o", "run=c,keep_daily=7"]);
        assert_eq!(options.runs.len(), 2);
        assert_eq!((options.policy.max_to_keep, options.policy.keep_daily), (3, 7));
    }
}
