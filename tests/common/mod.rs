//! A mounted store for tests: the built program, a fresh folder, and what a user does with them.
//!
//! Each test has a store and a mountpoint of its own, so tests run in parallel. Dropping a [`Mount`] takes the mount
//! away and ends its daemon, also after a failed test.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nobody's user and group id.
pub(crate) const NOBODY: u32 = 65534;

/// A store that is mounted, or was.
pub(crate) struct Mount {
    dir: TempDir,
    options: Vec<String>,
}

impl Mount {
    /// A new store, mounted with passthrough `on` or `off`, that seals at once and keeps no hot copies.
    pub(crate) fn new(passthrough: &str) -> Mount {
        Mount::with(&["settle=0s", "hot_cache=0", &format!("passthrough={passthrough}")])
    }

    /// A new store mounted with `options`.
    pub(crate) fn with(options: &[&str]) -> Mount {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Mount::at(dir, options, &ckptfs)
    }

    /// A store in `dir`, where something may be already; `start` runs the program.
    pub(crate) fn at(dir: TempDir, options: &[&str], start: &dyn Fn(&[&str]) -> Output) -> Mount {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let common = ["allow_other", "suid", "dev"];
        let options = common.iter().chain(options).map(|o| (*o).to_owned()).collect();
        let mount = Mount { dir, options };
        fs::create_dir(mount.root()).unwrap();
        mount.started(&start(&mount.words().each_ref().map(String::as_str)));
        fs::set_permissions(mount.root(), fs::Permissions::from_mode(0o777)).unwrap();
        mount
    }

    /// Mounts the store (again).
    pub(crate) fn mount(&self) {
        self.started(&self.try_mount());
    }

    #[track_caller]
    fn started(&self, done: &Output) {
        assert!(
            done.status.success(),
            "these tests need root, /dev/fuse and Linux 6.9 with FUSE passthrough; mount said: {}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    pub(crate) fn try_mount(&self) -> Output {
        ckptfs(&self.words().each_ref().map(String::as_str))
    }

    /// The command that mounts it.
    fn words(&self) -> [String; 5] {
        let options = self.options.join(",");
        ["mount", text(&self.store()), text(&self.root()), "-o", &options].map(str::to_owned)
    }

    /// Mounts the store; `fault` happens to the daemon, which is of a debug build (docs/crash-points.md).
    pub(crate) fn mount_to_fail(&self, fault: &str) -> Output {
        let options = self.options.join(",");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ckptfs"));
        command.args(["mount", text(&self.store()), text(&self.root()), "-o", &options]);
        command.env("CKPTFS_FAULT", fault).output().unwrap()
    }

    /// Mounts with other options from now on.
    pub(crate) fn set_option(&mut self, option: &str) {
        let name = option.split('=').next().unwrap();
        self.options.retain(|old| old.split('=').next() != Some(name));
        self.options.push(option.to_owned());
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// The mountpoint.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// What `ckptfs status --json` says.
    pub(crate) fn status(&self) -> Value {
        let done = ckptfs(&["status", "--json", text(&self.store())]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let report: Value = serde_json::from_slice(&done.stdout).unwrap();
        match report {
            Value::Array(mut all) => all.remove(0),
            one => one,
        }
    }

    pub(crate) fn number(&self, pointer: &str) -> u64 {
        let status = self.status();
        let value = status.pointer(pointer).and_then(Value::as_u64);
        value.unwrap_or_else(|| panic!("{pointer} in {status}"))
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.number("/pid")).unwrap()
    }

    /// Waits until nothing waits to be sealed.
    pub(crate) fn settle(&self) {
        let mut calm = 0;
        let begun = Instant::now();
        while calm < 3 {
            assert!(begun.elapsed() < Duration::from_secs(60), "sealing never ends: {}", self.status());
            std::thread::sleep(Duration::from_millis(30));
            let status = self.status();
            let zero = |pointer: &str| status.pointer(pointer).unwrap() == &Value::from(0);
            let idle = zero("/sealing/queued_files") && zero("/sealing/in_progress");
            calm = if idle { calm + 1 } else { 0 };
        }
    }

    /// Waits until everything is sealed and no hot copy is left.
    #[track_caller]
    pub(crate) fn all_sealed(&self) {
        self.settle();
        eventually("no hot file is left", || self.number("/hot_files") == 0);
    }

    /// No fault was seen by the daemon.
    #[track_caller]
    pub(crate) fn no_faults(&self) {
        let status = self.status();
        assert_eq!(status["last_errors"], Value::Array(Vec::new()), "{status}");
        assert_eq!(status["health"], "ok");
    }

    /// No pack can be written or read from here on: their folder is a file.
    pub(crate) fn hide_packs(&self) {
        let packs = self.store().join("packs");
        fs::rename(&packs, self.store().join("aside")).unwrap();
        fs::write(&packs, b"no folder").unwrap();
    }

    /// Ends [`hide_packs`](Self::hide_packs).
    pub(crate) fn show_packs(&self) {
        let packs = self.store().join("packs");
        fs::remove_file(&packs).unwrap();
        fs::rename(self.store().join("aside"), &packs).unwrap();
    }

    /// Ends the daemon as a crash does; the mount stays, dead.
    pub(crate) fn kill(&self) {
        self.end(libc::SIGKILL);
    }

    /// Sends a signal and waits for the daemon's end; how long that took.
    pub(crate) fn end(&self, signal: i32) -> Duration {
        let (pid, begun) = (self.pid(), Instant::now());
        // SAFETY: plain integers; the process is the daemon that this test started.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
        while is_running(pid) {
            assert!(begun.elapsed() < Duration::from_secs(20), "the daemon does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        begun.elapsed()
    }

    pub(crate) fn unmount(&self) -> Output {
        ckptfs(&["unmount", text(&self.root())])
    }

    /// Unmounts in order and mounts again.
    pub(crate) fn remount(&self) {
        // A RELEASE may still be under way: then the mount is busy for a moment.
        eventually("it unmounts", || self.unmount().status.success());
        self.mount();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let holder = fs::read_to_string(self.store().join("lock")).unwrap_or_default();
        let at = std::ffi::CString::new(text(&self.root())).unwrap();
        // SAFETY: a path that lives through the call; the mount is this test's own.
        while unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) } == 0 {}
        let pid = holder.split(|c: char| !c.is_ascii_digit()).find_map(|word| word.parse().ok());
        let is_ours = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(text(self.dir.path()))
        };
        let begun = Instant::now();
        while let Some(pid) = pid.filter(|pid| is_ours(*pid)) {
            if begun.elapsed() > Duration::from_secs(5) {
                // SAFETY: plain integers; the process is the daemon that this test started.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A dead process whose parent has not looked yet counts as gone, but only when its last thread is.
pub(crate) fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    let dead = stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('Z'));
    !stat.is_empty() && (threads > 1 || !dead)
}

/// Runs the program.
pub(crate) fn ckptfs(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ckptfs")).args(args).output().unwrap()
}

/// What a command said on stderr.
pub(crate) fn said(done: &Output) -> String {
    String::from_utf8_lossy(&done.stderr).into_owned()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A valid numpy file whose bytes nothing compresses.
pub(crate) fn npy(seed: u64, len: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({len},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], &header, &noise(len, seed)].concat()
}

/// Flips a bit of the stored form of `bytes` at `at`, in whichever pack has them.
pub(crate) fn flip(store: &Path, bytes: &[u8], at: usize) {
    let packs = fs::read_dir(store.join("packs")).unwrap().map(|entry| entry.unwrap().path());
    let find =
        |path: &PathBuf| fs::read(path).unwrap().windows(64).position(|window| window == &bytes[at..at + 64]);
    let (path, offset) = packs.filter_map(|path| find(&path).map(|at| (path, at))).next().unwrap();
    let pack = open_rw(&path);
    let mut byte = [0];
    pack.read_exact_at(&mut byte, offset as u64).unwrap();
    pack.write_all_at(&[byte[0] ^ 1], offset as u64).unwrap();
}

/// Runs a test with passthrough on and with passthrough off.
#[track_caller]
pub(crate) fn both(test: impl Fn(&Mount)) {
    for mode in ["on", "off"] {
        let mount = Mount::new(mode);
        eprintln!("-- passthrough={mode}");
        test(&mount);
        mount.no_faults();
    }
}

/// Waits for a condition, up to 20 s.
#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that do not compress and differ by `seed`.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Opens for reading and writing.
pub(crate) fn open_rw(path: &Path) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

/// truncate(2): without a descriptor of ours.
#[track_caller]
pub(crate) fn truncate(path: &Path, len: i64) {
    let path = std::ffi::CString::new(text(path)).unwrap();
    // SAFETY: a path that lives through the call.
    let done = unsafe { libc::truncate(path.as_ptr(), len) };
    assert_eq!(done, 0, "truncate: {}", std::io::Error::last_os_error());
}

/// Asserts the bytes of a file without printing megabytes.
#[track_caller]
pub(crate) fn assert_bytes(path: &Path, wanted: &[u8]) {
    same(&fs::read(path).unwrap(), wanted);
}

/// Asserts the bytes seen through an open file.
#[track_caller]
pub(crate) fn assert_seen(file: &File, wanted: &[u8]) {
    let mut seen = vec![0; wanted.len() + 1];
    let mut len = 0;
    while let read @ 1.. = file.read_at(&mut seen[len..], len as u64).unwrap() {
        len += read;
    }
    same(&seen[..len], wanted);
}

#[track_caller]
pub(crate) fn same(seen: &[u8], wanted: &[u8]) {
    let differs = seen.iter().zip(wanted).position(|(a, b)| a != b);
    assert!(
        seen.len() == wanted.len() && differs.is_none(),
        "{} bytes where {} were wanted; first difference at {differs:?}",
        seen.len(),
        wanted.len()
    );
}

/// A mapping of a whole file, shared and writable.
pub(crate) struct Map {
    at: *mut u8,
    len: usize,
}

impl Map {
    pub(crate) fn new(file: &File, len: usize, writable: bool) -> Map {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        // SAFETY: a fresh shared mapping of an open file; unmapped in Drop with the same length.
        let at = unsafe {
            use std::os::fd::AsRawFd;
            let protection = libc::PROT_READ | write;
            libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
        Map { at: at.cast(), len }
    }

    pub(crate) fn put(&self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len);
        // SAFETY: inside the mapping, which nobody else in this process refers to.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at.add(at), bytes.len()) };
    }

    /// msync(2): what was stored is written back.
    pub(crate) fn sync(&self) {
        // SAFETY: the mapping made in `new`, of this length.
        let done = unsafe { libc::msync(self.at.cast(), self.len, libc::MS_SYNC) };
        assert_eq!(done, 0, "msync: {}", std::io::Error::last_os_error());
    }

    pub(crate) fn get(&self, at: usize, len: usize) -> Vec<u8> {
        assert!(at + len <= self.len);
        let mut out = vec![0; len];
        // SAFETY: inside the mapping; copied out at once.
        unsafe { std::ptr::copy_nonoverlapping(self.at.add(at), out.as_mut_ptr(), len) };
        out
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, not used again.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// Runs `what` in a thread that has become nobody, for good.
pub(crate) fn as_nobody<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            // SAFETY: the raw calls change the credentials of this thread only, which ends with `what`.
            unsafe {
                let none = std::ptr::null::<libc::gid_t>();
                assert_eq!(libc::syscall(libc::SYS_setgroups, 0, none), 0);
                assert_eq!(libc::syscall(libc::SYS_setresgid, NOBODY, NOBODY, NOBODY), 0);
                assert_eq!(libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY), 0);
            }
            what()
        });
        run.join().unwrap()
    })
}
