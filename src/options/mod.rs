//! The one table of mount options.
//!
//! Every option has one name, one meaning and one row in [`TABLE`]; the row drives the flag, the word in `-o a,b=c`
//! and the key in the store's `config.toml`. Precedence: flag, then `-o`, then `config.toml`, then the default; a
//! caller gets it by applying the sources in the opposite order to one [`MountOptions`], and then asks it to
//! [`check`](MountOptions::check) what only the whole can tell.

pub mod edit;
pub mod salvage;
pub mod sources;
mod table;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::nearest::nearest;
use crate::retention::Policy;
use crate::version::runs::Glob;
pub use table::{Row, TABLE};

/// Bytes of decoded chunks kept in memory when nothing else is said.
const CACHE_BYTES: u64 = 256 << 20;
/// The most bytes of sealed contents that stay hot when nothing else is said.
const HOT_CACHE_BYTES_MAX: u64 = 16 << 30;

/// Bytes a second at which packs are looked at for damage when nothing else is said.
const SCRUB_RATE: u64 = 16 << 20;

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

/// Whether the virtual directory of versions is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapdir {
    /// It is found by its name and not listed.
    Hidden,
    /// It is listed in every directory too.
    Visible,
    /// It is not there.
    Disabled,
}

/// Who may make, tag and expire versions through the virtual directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotAdmin {
    /// The owner of the directory, and root.
    Owner,
    /// Root alone.
    Root,
}

/// What is recorded of who wrote a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// Nothing.
    Off,
    /// Host, user, program, script and git commit.
    On,
    /// The arguments of the program too.
    Args,
}

/// What a mount was asked for. [`Default`] gives the defaults of [`TABLE`].
#[derive(Clone, Debug, PartialEq)]
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
    /// Bytes a second at which packs are looked at for damage; 0 = never.
    pub scrub_rate: u64,
    /// When files are handed to the kernel.
    pub passthrough: Passthrough,
    /// Directories that are runs, by their path below the mount.
    pub runs: Vec<Glob>,
    /// Whether the virtual directory of versions is there.
    pub snapdir: Snapdir,
    /// Its name.
    pub snapdir_name: String,
    /// Who may work with versions through it.
    pub snapshot_admin: SnapshotAdmin,
    /// What is recorded of who wrote a version.
    pub provenance: Provenance,
    /// Free bytes of the disk below which pressure begins; `None` = 5 % of the disk, 10 GiB at most.
    pub min_free: Option<u64>,
    /// The policy of runs without one.
    pub policy: Policy,
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
            scrub_rate: SCRUB_RATE,
            passthrough: Passthrough::Auto,
            runs: Vec::new(),
            snapdir: Snapdir::Hidden,
            snapdir_name: ".snapshots".to_owned(),
            snapshot_admin: SnapshotAdmin::Owner,
            provenance: Provenance::On,
            min_free: None,
            policy: Policy::default(),
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
        if value.contains(char::is_control) {
            return Err(Invalid(format!(
                "option '{name}' in {origin} has control characters; write it without"
            )));
        }
        row.apply(self, value).map_err(|why| Invalid(format!("option '{name}' in {origin}: '{value}' {why}")))
    }

    /// Whether the options make sense together; the text says what would be right.
    pub fn check(&self) -> Result<(), Invalid> {
        self.policy
            .check()
            .map_err(|why| Invalid(format!("the retention options contradict each other: {why}")))
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
            ("snapdir", "gone", "disabled"),
            ("snapdir_name", "a/b", "one name"),
            ("snapshot_admin", "me", "root"),
            ("provenance", "maybe", "args"),
            ("min_free", "5%", "16GiB"),
        ] {
            let said = set(name, Some(value)).unwrap_err().to_string();
            assert!(said.contains(name) && said.contains(value) && said.contains(hint), "{said}");
        }
        assert!(set("settle", None).unwrap_err().to_string().contains("settle=TIME"));
    }

    #[test]
    fn control_characters_are_refused_in_every_option() {
        for row in TABLE {
            let said = set(row.name, Some("/a\x1b[2J\nb")).unwrap_err().0;
            assert!(said.contains(row.name) && said.contains("control"), "{said}");
        }
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
    fn a_policy_is_set_by_its_own_names_and_judged_as_a_whole() {
        let mut options = MountOptions::default();
        options.set("max-to-keep", Some("3"), "-o").unwrap();
        options.set("keep_best", Some("2"), "-o").unwrap();
        assert_eq!((options.policy.max_to_keep, options.policy.keep_best), (3, Some(2)));
        let said = options.check().unwrap_err().0;
        assert!(said.contains("monitor=val_loss") && !said.contains('\n'), "{said}");
        options.set("monitor", Some("loss"), "-o").unwrap();
        options.check().unwrap();
        let said = options.set("keep_within", Some("7"), "-o").unwrap_err().0;
        assert_eq!(said.matches("keep_within").count(), 1, "{said}");
        assert!(Policy::NAMES.iter().all(|(name, ..)| TABLE.iter().any(|row| row.name == *name)));
    }

    #[test]
    fn patterns_of_runs_are_separated_by_colons() {
        let runs = set("run", Some(r"exp/*:multirun/**:a\:b")).unwrap().runs;
        assert_eq!(runs.len(), 3);
        assert!(runs[0].matches(b"exp/a") && runs[1].matches(b"multirun/1/2") && runs[2].matches(b"a:b"));
        assert!(set("run", Some("a:[")).unwrap_err().0.contains("'a:['"));
        assert!(set("run", Some("")).unwrap().runs.is_empty());
    }

    #[test]
    fn every_row_can_be_set_from_its_default_or_a_word_like_it() {
        for row in TABLE {
            let value = match row.value {
                "TIME" => "2s",
                "BYTES" => "1MiB",
                "N" | "HOURS" | "STEPS" | "STEP:STEP..." => "3",
                "WHEN" => "auto",
                "hidden|visible|disabled" => "visible",
                "owner|root" => "root",
                "off|on|args" => "args",
                "min|max" => "max",
                "NAME" => ".history",
                "" => "true",
                _ => "/tmp/x",
            };
            assert!(set(row.name, Some(value)).is_ok(), "{}", row.name);
        }
    }
}
