//! Mount namespaces of other processes.
//!
//! A container that was started while something was mounted may have a copy of that mount. An unmount elsewhere does not
//! reach the copy, and a filesystem lives until its last mount is gone.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::mounts;

/// A process in a mount namespace of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, of those in that namespace the lowest.
    pub pid: u32,
    /// The name of its program, as `ps` shows it.
    pub name: String,
}

/// The first process of each mount namespace in which the filesystem `device` (`major:minor`) is still mounted. What may
/// not be read of a process, and what ends meanwhile, is left out.
pub fn holders(device: &str) -> Vec<Holder> {
    let pids = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        entry.ok().and_then(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
    });
    let mut pids: Vec<u32> = pids.collect();
    pids.sort_unstable();
    let mut seen = HashSet::new();
    pids.retain(|pid| namespace(*pid).is_some_and(|namespace| seen.insert(namespace)));
    pids.retain(|pid| {
        let table = mounts::table_of(*pid).unwrap_or_default();
        table.iter().any(|mount| mount.device == device)
    });
    let name =
        |pid| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned();
    pids.into_iter().map(|pid| Holder { pid, name: name(pid) }).collect()
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
        let found = holders(&root.device);
        assert!(found.iter().all(|holder| !holder.name.is_empty()) && !found.is_empty(), "{found:?}");
        assert!(holders("0:0").is_empty());
    }
}
