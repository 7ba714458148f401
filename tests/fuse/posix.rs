//! Locks and fsync.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::common::*;

fn lock(file: &File, command: i32) -> i32 {
    // SAFETY: zeroed plain data is a valid lock of the whole file.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = libc::F_WRLCK as i16;
    // SAFETY: an open descriptor and a lock that lives through the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut range) } {
        0 => 0,
        _ => std::io::Error::last_os_error().raw_os_error().unwrap(),
    }
}

#[test]
fn locks_of_every_kind_exclude_each_other() {
    both(|mount| {
        let path = mount.path("lock");
        fs::write(&path, b"x").unwrap();
        let (one, two) = (open_rw(&path), open_rw(&path));
        flock(&one, FlockOperation::LockExclusive).unwrap();
        assert_eq!(flock(&two, FlockOperation::NonBlockingLockExclusive), Err(Errno::WOULDBLOCK));
        flock(&one, FlockOperation::Unlock).unwrap();
        flock(&two, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert_eq!(lock(&one, libc::F_OFD_SETLK), 0);
        assert_eq!(lock(&two, libc::F_OFD_SETLK), libc::EAGAIN);
        assert_eq!(lock(&two, libc::F_SETLK), libc::EAGAIN);
        drop(one);
        assert_eq!(lock(&two, libc::F_SETLK), 0);
    });
}

#[test]
fn fsync_of_files_and_directories_makes_names_durable() {
    both(|mount| {
        fs::create_dir(mount.path("d")).unwrap();
        let file = File::create(mount.path("d/f")).unwrap();
        file.sync_all().unwrap();
        file.sync_data().unwrap();
        File::open(mount.path("d")).unwrap().sync_all().unwrap();
        File::open(mount.root()).unwrap().sync_all().unwrap();
        drop(file);
        fs::write(mount.path("d/f"), noise(200_000, 1)).unwrap();
        mount.all_sealed();
        File::open(mount.path("d/f")).unwrap().sync_all().unwrap();
        let held = open_rw(&mount.path("d/f"));
        fs::remove_file(mount.path("d/f")).unwrap();
        held.sync_all().unwrap();
    });
}

/// Takes a lock of this kind in another process, which ends at once; the errno, or 0.
fn in_another_process(path: &Path, command: Option<i32>) -> i32 {
    let path = path.to_owned();
    let mut other = Command::new("true");
    let take = move || {
        let file = open_rw(&path);
        let errno = match command {
            Some(command) => lock(&file, command),
            None => flock(&file, FlockOperation::NonBlockingLockExclusive)
                .map_or_else(Errno::raw_os_error, |()| 0),
        };
        if errno == 0 { Ok(()) } else { Err(std::io::Error::from_raw_os_error(errno)) }
    };
    // SAFETY: between fork and exec it only makes system calls; a short path and an errno need no memory of the heap.
    unsafe { other.pre_exec(take) };
    other.status().map_or_else(|error| error.raw_os_error().unwrap(), |_| 0)
}

#[test]
fn locks_of_every_kind_hold_between_processes() {
    both(|mount| {
        let path = mount.path("lock");
        fs::write(&path, b"x").unwrap();
        for command in [None, Some(libc::F_SETLK), Some(libc::F_OFD_SETLK)] {
            let held = open_rw(&path);
            // A child that another test forks has a copy of every descriptor until its exec, and so of the lock before.
            eventually("nobody has it", || in_another_process(&path, command) == 0);
            match command {
                Some(command) => assert_eq!(lock(&held, command), 0),
                None => flock(&held, FlockOperation::LockExclusive).unwrap(),
            }
            assert_eq!(in_another_process(&path, command), libc::EAGAIN, "{command:?}");
            drop(held);
            eventually("it is free again", || in_another_process(&path, command) == 0);
        }
    });
}
