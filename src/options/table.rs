//! The rows of the table: those of the mount itself, and one for each setting of a policy.
//!
//! The names, defaults and help of a policy's settings are retention's own; the table is joined by the compiler.

use super::{MountOptions, values};
use crate::retention::Policy;

type Setter = fn(&mut MountOptions, &str) -> Result<(), String>;

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name everywhere; `-` may be written for `_`.
    pub name: &'static str,
    /// What its value looks like; empty for a switch.
    pub value: &'static str,
    /// The default, in words.
    pub default: &'static str,
    /// What it does, one sentence.
    pub help: &'static str,
    /// `None` = a setting of the policy, which knows how to set it.
    set: Option<Setter>,
}

impl Row {
    /// Whether it is given without a value.
    pub fn is_switch(&self) -> bool {
        self.value.is_empty()
    }

    /// Whether it is a setting of the policy.
    pub fn is_policy(&self) -> bool {
        self.set.is_none()
    }

    /// Sets it to `value`; the error completes "'VALUE' ...".
    pub(super) fn apply(&self, options: &mut MountOptions, value: &str) -> Result<(), String> {
        match self.set {
            Some(set) => set(options, value),
            None => options.policy.set(self.name, value).map_err(|why| {
                // The policy names setting and value itself; so does who calls this.
                let own = format!("{}: '{}' ", self.name, value.trim());
                why.strip_prefix(&own).map_or(why.clone(), str::to_owned)
            }),
        }
    }
}

/// Every mount option, in the order of the help text.
pub static TABLE: &[Row] = &joined();

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, and bounded by the arrays' own lengths"
)]
const fn joined() -> [Row; MOUNT.len() + Policy::NAMES.len()] {
    let mut all = [row("", "", "", "", |_, _| Ok(())); MOUNT.len() + Policy::NAMES.len()];
    let mut at = 0;
    while at < MOUNT.len() {
        all[at] = MOUNT[at];
        at += 1;
    }
    while at < MOUNT.len() + Policy::NAMES.len() {
        let (name, value, default, help) = Policy::NAMES[at - MOUNT.len()];
        all[at] = Row { name, value, default, help, set: None };
        at += 1;
    }
    all
}

/// The options that are no settings of a policy.
const MOUNT: &[Row] = &[
    row(
        "settle",
        "TIME",
        "2s",
        "How long it must be quiet: a run, before a version is made that no marker has announced; a closed file, before it is sealed.",
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
        "scrub_rate",
        "BYTES",
        "16MiB",
        "Read all packs once a week and look for damage, at this many bytes a second; 0 = never.",
        |o, v| {
            o.scrub_rate = values::bytes(v)?;
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
        "run",
        "GLOB",
        "none",
        "Directories that are runs, by their path below the mount, for example 'exp/*'; several patterns are separated by ':', or the flag is given several times.",
        |o, v| {
            o.runs = values::globs(v)?;
            Ok(())
        },
    ),
    row(
        "snapdir",
        "hidden|visible|disabled",
        "hidden",
        "Whether the directory of versions is there: hidden (found by its name, not listed), visible (listed in every directory), disabled.",
        |o, v| {
            o.snapdir = values::snapdir(v)?;
            Ok(())
        },
    ),
    row("snapdir_name", "NAME", ".snapshots", "The name of the directory of versions.", |o, v| {
        o.snapdir_name = values::file_name(v)?;
        Ok(())
    }),
    row(
        "snapshot_admin",
        "owner|root",
        "owner",
        "Who may make, tag and expire versions through that directory: its owner and root, or root alone.",
        |o, v| {
            o.snapshot_admin = values::snapshot_admin(v)?;
            Ok(())
        },
    ),
    row(
        "provenance",
        "off|on|args",
        "on",
        "Record who wrote a version: host, user, program, script and git commit; args adds the program's arguments, which can hold secrets.",
        |o, v| {
            o.provenance = values::provenance(v)?;
            Ok(())
        },
    ),
    row(
        "min_free",
        "BYTES",
        "5 % of the disk, 10GiB at most",
        "When the store's disk has less free space than this, hot copies and then old versions give way.",
        |o, v| {
            o.min_free = Some(values::bytes(v)?);
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
    Row { name, value, default, help, set: Some(set) }
}
