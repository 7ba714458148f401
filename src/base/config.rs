//! The one table of mount options.
//!
//! Every option has one name, one meaning and one row in [`TABLE`]; the row drives the flag, the word in `-o a,b=c`
//! and the key in the store's `config.toml`. Precedence: flag, then `-o`, then `config.toml`, then the default; a
//! caller gets it by applying the sources in the opposite order to one [`MountOptions`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::values;
pub use super::values::nearest;

/// Bytes of decoded chunks kept in memory when nothing else is said.
const CACHE_BYTES: u64 = 256 << 20;
/// The most bytes of sealed contents that stay hot when nothing else is said.
const HOT_CACHE_BYTES_MAX: u64 = 16 << 30;

/// When files are handed to the kernel (FUSE passthrough).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passthrough {
    /// Where kernel and privileges allow.
    Auto,
    /// Always: without it the mount fails.
    On,
    /// Never.
    Off,
}

/// What a mount was asked for. [`Default`] gives the defaults of [`TABLE`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// How long a file is left alone after its last writer closed it.
    pub settle: Duration,
    /// The folder of hot files; `None` = `hot` in the store.
    pub hot: Option<PathBuf>,
    /// Bytes of sealed contents that stay hot; `None` = chosen by [`MountOptions::hot_cache_bytes`].
    pub hot_cache: Option<u64>,
    /// Bytes of decoded chunks in memory.
    pub cache_bytes: u64,
    /// Background threads, at least 1.
    pub threads: usize,
    /// When files are handed to the kernel.
    pub passthrough: Passthrough,
    /// Other users may use the mount.
    pub allow_other: bool,
    /// Nothing may be written.
    pub ro: bool,
    /// Set-user-id and set-group-id bits work.
    pub suid: bool,
    /// Device nodes work.
    pub dev: bool,
    /// Nothing may be executed.
    pub noexec: bool,
    /// The mountpoint may hold files.
    pub nonempty: bool,
    /// The source shown in the mount table; `None` = the store's path.
    pub fsname: Option<String>,
}

impl Default for MountOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        MountOptions {
            settle: Duration::from_secs(2),
            hot: None,
            hot_cache: None,
            cache_bytes: CACHE_BYTES,
            threads: (cores / 4).max(1),
            passthrough: Passthrough::Auto,
            allow_other: false,
            ro: false,
            suid: false,
            dev: false,
            noexec: false,
            nonempty: false,
            fsname: None,
        }
    }
}

/// A value or a name that is no option: the text names it and says what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

type Setter = fn(&mut MountOptions, &str) -> Result<(), String>;

/// One option.
#[derive(Debug)]
pub struct Row {
    /// Its name everywhere; `-` may be written for `_`.
    pub name: &'static str,
    /// What its value looks like; empty for a switch.
    pub value: &'static str,
    /// The default, in words.
    pub default: &'static str,
    /// What it does, one sentence.
    pub help: &'static str,
    set: Setter,
}

impl Row {
    /// Whether it is given without a value.
    pub fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// Every mount option, in the order of the help text.
pub static TABLE: &[Row] = &[
    row(
        "settle",
        "TIME",
        "2s",
        "Leave a file alone for this long after its last writer closed it, then seal it.",
        |o, v| {
            o.settle = values::time(v)?;
            Ok(())
        },
    ),
    row(
        "hot",
        "DIR",
        "hot/ in the store",
        "Keep hot files in this folder, for example on an NVMe disk.",
        |o, v| {
            o.hot = Some(values::folder(v)?);
            Ok(())
        },
    ),
    row(
        "hot_cache",
        "BYTES",
        "10 % of free space, 16GiB at most",
        "Sealed contents of this size stay hot, for fast reads.",
        |o, v| {
            o.hot_cache = Some(values::bytes(v)?);
            Ok(())
        },
    ),
    row("cache", "BYTES", "256MiB", "Keep this much of decoded chunks in memory.", |o, v| {
        o.cache_bytes = values::bytes(v)?;
        Ok(())
    }),
    row(
        "threads",
        "N",
        "a quarter of the cores, at least 1",
        "Seal with this many background threads.",
        |o, v| {
            o.threads = values::count(v)?;
            Ok(())
        },
    ),
    row(
        "passthrough",
        "WHEN",
        "auto",
        "Let the kernel write hot files directly: auto (where it can), on (fail without), off. It needs Linux 6.9 and CAP_SYS_ADMIN.",
        |o, v| {
            o.passthrough = values::passthrough(v)?;
            Ok(())
        },
    ),
    row(
        "allow_other",
        "",
        "off",
        "Let other users use the mount; permissions are always checked.",
        |o, v| {
            o.allow_other = values::switch(v)?;
            Ok(())
        },
    ),
    row("ro", "", "off", "Refuse every change.", |o, v| {
        o.ro = values::switch(v)?;
        Ok(())
    }),
    row("suid", "", "off", "Honour set-user-id and set-group-id bits.", |o, v| {
        o.suid = values::switch(v)?;
        Ok(())
    }),
    row("dev", "", "off", "Honour device nodes.", |o, v| {
        o.dev = values::switch(v)?;
        Ok(())
    }),
    row("noexec", "", "off", "Refuse to execute files.", |o, v| {
        o.noexec = values::switch(v)?;
        Ok(())
    }),
    row(
        "nonempty",
        "",
        "off",
        "Mount over a directory that holds files; they are hidden until it is unmounted.",
        |o, v| {
            o.nonempty = values::switch(v)?;
            Ok(())
        },
    ),
    row("fsname", "NAME", "the store's path", "Show this as the source in the mount table.", |o, v| {
        o.fsname = Some(v.to_owned());
        Ok(())
    }),
];

const fn row(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    set: Setter,
) -> Row {
    Row { name, value, default, help, set }
}

impl MountOptions {
    /// Sets the option `name` to `value` (`None` = given without a value); `origin` ("-o", a path) is for the message.
    pub fn set(&mut self, name: &str, value: Option<&str>, origin: &str) -> Result<(), Invalid> {
        let wanted = name.replace('-', "_");
        let Some(row) = TABLE.iter().find(|row| row.name == wanted) else {
            let near = nearest(&wanted, TABLE.iter().map(|row| row.name));
            return Err(Invalid(format!(
                "unknown option '{name}' in {origin}; the nearest known one is '{near}'"
            )));
        };
        let value = match value {
            Some(value) => value,
            None if row.is_switch() => "true",
            None => {
                return Err(Invalid(format!(
                    "option '{name}' in {origin} needs a value; write {name}={}",
                    row.value
                )));
            }
        };
        (row.set)(self, value).map_err(|why| Invalid(format!("option '{name}' in {origin}: '{value}' {why}")))
    }

    /// Bytes of sealed contents that stay hot on a disk with `free_bytes` left.
    pub fn hot_cache_bytes(&self, free_bytes: u64) -> u64 {
        self.hot_cache.unwrap_or_else(|| (free_bytes / 10).min(HOT_CACHE_BYTES_MAX))
    }

    /// The folder of hot files of the store at `store`.
    pub fn hot_folder(&self, store: &Path) -> PathBuf {
        self.hot.clone().unwrap_or_else(|| store.join("hot"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, value: Option<&str>) -> Result<MountOptions, Invalid> {
        let mut options = MountOptions::default();
        options.set(name, value, "-o").map(|()| options)
    }

    #[test]
    fn sizes_times_and_switches_are_read_with_their_units() {
        assert_eq!(set("hot-cache", Some("16GiB")).unwrap().hot_cache, Some(16 << 30));
        assert_eq!(set("settle", Some("500ms")).unwrap().settle, Duration::from_millis(500));
        assert!(set("allow_other", None).unwrap().allow_other);
        assert!(!set("ro", Some("false")).unwrap().ro);
        assert_eq!(set("passthrough", Some("on")).unwrap().passthrough, Passthrough::On);
    }

    #[test]
    fn a_wrong_value_is_named_with_what_would_be_right() {
        for (name, value, hint) in [
            ("threads", "0", "1 to"),
            ("settle", "2", "2s"),
            ("settle", "-2s", "2s"),
            ("cache", "much", "16GiB"),
            ("passthrough", "maybe", "auto"),
            ("ro", "perhaps", "true"),
        ] {
            let said = set(name, Some(value)).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(value) && said.contains(hint), "{said}");
        }
        assert!(set("settle", None).unwrap_err().to_string().contains("settle=TIME"));
    }

    #[test]
    fn an_unknown_name_gets_the_nearest_known_one() {
        assert!(set("setle", Some("2s")).unwrap_err().0.contains("'settle'"));
        assert!(set("alow_other", None).unwrap_err().0.contains("'allow_other'"));
    }

    #[test]
    fn the_hot_cache_is_a_tenth_of_free_space_up_to_16_gib() {
        let options = MountOptions::default();
        assert_eq!(options.hot_cache_bytes(10 << 30), 1 << 30);
        assert_eq!(options.hot_cache_bytes(10 << 40), 16 << 30);
    }

    #[test]
    fn every_row_can_be_set_from_its_default_or_a_word_like_it() {
        for row in TABLE {
            let value = match row.value {
                "TIME" => "2s",
                "BYTES" => "1MiB",
                "N" => "3",
                "WHEN" => "auto",
                "" => "true",
                _ => "/tmp/x",
            };
            assert!(set(row.name, Some(value)).is_ok(), "{}", row.name);
        }
    }
}
