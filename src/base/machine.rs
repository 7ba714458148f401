//! What this machine and this process are allowed: kernel, capabilities, names.
//!
//! Facts only. Whoever needs one decides; nothing is cached, nothing is changed.

use std::path::Path;

/// The bit of CAP_SYS_ADMIN in a capability mask.
const CAP_SYS_ADMIN: u32 = 21;

/// What bears on mounting, gathered once so that a test can say otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Kernel version, major and minor.
    pub kernel: (u32, u32),
    /// The effective user is root.
    pub root: bool,
    /// The process has CAP_SYS_ADMIN.
    pub sys_admin: bool,
}

impl Machine {
    /// This machine, this process.
    pub fn here() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Machine {
            kernel: kernel_version(&release),
            root: rustix::process::geteuid().is_root(),
            sys_admin: has_sys_admin(&status),
        }
    }

    /// Why files cannot be handed to the kernel here, with the cure; `None` when nothing is known against it.
    pub fn passthrough_blocker(&self) -> Option<String> {
        let (major, minor) = self.kernel;
        if self.kernel < (6, 9) {
            return Some(format!("Linux {major}.{minor} has no FUSE passthrough; it came with 6.9"));
        }
        (!self.sys_admin).then(|| {
            "FUSE passthrough needs CAP_SYS_ADMIN; mount as root, or give a container --cap-add SYS_ADMIN"
                .to_owned()
        })
    }
}

/// The name of this host.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Bytes that this process can still write to the disk of `path`: root may use what is reserved on it. 0 if unknown.
pub fn room_bytes(path: &Path) -> u64 {
    let is_root = rustix::process::geteuid().is_root();
    rustix::fs::statvfs(path).map_or(0, |disk| {
        let blocks = if is_root { disk.f_bfree } else { disk.f_bavail };
        blocks.saturating_mul(disk.f_frsize)
    })
}

/// Free bytes for ordinary users on the disk below `path`; 0 when it cannot be asked.
pub fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes of memory that programs can still get, the page cache given up included; 0 when it cannot be told.
pub fn free_memory() -> u64 {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let limit = cgroup_room(&read("/sys/fs/cgroup/memory.max"), &read("/sys/fs/cgroup/memory.current"));
    mem_available(&read("/proc/meminfo")).min(limit)
}

fn mem_available(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// What a container's limit leaves; all there is where it has none.
fn cgroup_room(most: &str, current: &str) -> u64 {
    let number = |text: &str| text.trim().parse::<u64>().ok();
    number(most).map_or(u64::MAX, |most| most.saturating_sub(number(current).unwrap_or(0)))
}

fn kernel_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn has_sys_admin(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> CAP_SYS_ADMIN & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_and_capabilities_are_read_as_the_kernel_writes_them() {
        assert_eq!(kernel_version("6.18.5-fly+"), (6, 18));
        assert_eq!(kernel_version("5.4-rc1"), (5, 4));
        assert_eq!(kernel_version("odd"), (0, 0));
        assert!(has_sys_admin("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!has_sys_admin("CapEff:\t00000000a80425fb\n"));
        assert!(!has_sys_admin("CapEff:\tnonsense\n"));
    }

    #[test]
    fn a_container_has_no_more_memory_than_its_limit_leaves() {
        assert_eq!(mem_available("MemTotal: 9 kB\nMemAvailable:    2048 kB\n"), 2 << 20);
        assert_eq!((mem_available("odd"), cgroup_room("max\n", "7\n")), (0, u64::MAX));
        assert_eq!(
            (cgroup_room("100\n", "7\n"), cgroup_room("5", "7"), cgroup_room("", "")),
            (93, 0, u64::MAX)
        );
        assert!(free_memory() > 0);
    }

    #[test]
    fn what_stands_against_passthrough_comes_with_its_cure() {
        let old = Machine { kernel: (6, 8), root: true, sys_admin: true };
        assert!(old.passthrough_blocker().unwrap().contains("6.9"));
        let bare = Machine { kernel: (6, 9), root: false, sys_admin: false };
        assert!(bare.passthrough_blocker().unwrap().contains("CAP_SYS_ADMIN"));
        assert_eq!(Machine { sys_admin: true, ..bare }.passthrough_blocker(), None);
    }
}
