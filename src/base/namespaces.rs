//! Mount namespaces of other processes.
//!
//! A container that was started while something was mounted may have a copy of that mount. An unmount elsewhere does not
//! reach the copy, and a filesystem lives until its last mount is gone.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::mounts::{self, Mount};

/// A process in a mount namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, of those in that namespace the lowest.
    pub pid: u32,
    /// The name of its program, as `ps` shows it.
    pub name: String,
}

/// The first process of each mount namespace that has a mount of which `is_it` holds. What may not be read of a process,
/// and what ends meanwhile, is left out.
pub fn holders(is_it: impl Fn(&Mount) -> bool) -> Vec<Holder> {
    let pids = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        entry.ok().and_then(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
    });
    let mut pids: Vec<u32> = pids.collect();
    pids.sort_unstable();
    let mut seen = HashSet::new();
    pids.retain(|pid| namespace(*pid).is_some_and(|namespace| seen.insert(namespace)));
    pids.retain(|pid| {
        let table = mounts::table_of(*pid).unwrap_or_default();
        table.iter().any(&is_it)
    });
    let name =
        |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
    pids.into_iter().map(|pid| Holder { pid, name: name(pid) }).collect()
}

/// Names `holders` of a mount that is gone from here, and says what they mean for its daemon.
pub fn explain(holders: &[Holder]) -> String {
    let names: Vec<_> = holders.iter().map(|holder| format!("{} ({})", holder.pid, holder.name)).collect();
    format!(
        "it stays mounted in the mount namespace of process {}, a container perhaps, and the daemon ends when that has ended \
         or has unmounted it too",
        names.join(", ")
    )
}

fn namespace(pid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_this_machine_is_held_by_a_process_and_nothing_by_nobody() {
        let table = mounts::table().unwrap();
        let root = mounts::covering(&table, "/".as_ref()).unwrap();
        let found = holders(|mount| mount.device == root.device);
        assert!(found.iter().all(|holder| !holder.name.is_empty()) && !found.is_empty(), "{found:?}");
        assert!(holders(|mount| mount.device == "0:0").is_empty());
    }
}
