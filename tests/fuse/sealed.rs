//! Sealed content is read, copied and updated as if it were a plain file.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, ioctl_ficlone, seek, sendfile};

use crate::common::*;

#[test]
fn an_update_of_a_sealed_file_keeps_every_other_byte() {
    both(|mount| {
        let path = mount.path("f");
        let mut bytes = noise(5 << 20, 1);
        fs::write(&path, &bytes).unwrap();
        for at in [3 << 20, 0, (5 << 20) - 3] {
            mount.all_sealed();
            let file = open_rw(&path);
            file.write_all_at(b"abcdef", at).unwrap();
            let end = (at as usize + 6).max(bytes.len());
            bytes.resize(end, 0);
            bytes[at as usize..at as usize + 6].copy_from_slice(b"abcdef");
            assert_seen(&file, &bytes);
            drop(file);
            assert_bytes(&path, &bytes);
        }
        mount.all_sealed();
        mount.remount();
        assert_bytes(&path, &bytes);
        truncate(&path, 100_001);
        assert_bytes(&path, &bytes[..100_001]);
        mount.all_sealed();
        assert_bytes(&path, &bytes[..100_001]);
    });
}

#[test]
fn ranges_are_copied_from_hot_and_from_sealed_files() {
    both(|mount| {
        let bytes = noise(3 << 20, 2);
        fs::write(mount.path("from"), &bytes).unwrap();
        for round in 0..2 {
            let from = File::open(mount.path("from")).unwrap();
            let to = File::create(mount.path("to")).unwrap();
            let (mut at, mut target) = (1000, 5);
            while at < bytes.len() as u64 {
                let copied = copy_file_range(&from, Some(&mut at), &to, Some(&mut target), 3 << 20).unwrap();
                assert!(copied > 0);
            }
            let wanted = [&[0; 5], &bytes[1000..]].concat();
            drop(to);
            assert_bytes(&mount.path("to"), &wanted);

            let outside = tempfile::tempfile().unwrap();
            let mut at = 0;
            while sendfile(&outside, &from, Some(&mut at), 3 << 20).unwrap() > 0 {}
            assert_seen(&outside, &bytes);
            let back = File::create(mount.path("back")).unwrap();
            let mut at = 0;
            while sendfile(&back, &outside, Some(&mut at), 3 << 20).unwrap() > 0 {}
            drop(back);
            assert_bytes(&mount.path("back"), &bytes);
            fs::copy(mount.path("from"), mount.path("copy")).unwrap();
            assert_bytes(&mount.path("copy"), &bytes);
            drop(from);
            if round == 0 {
                mount.all_sealed();
            }
        }
    });
}

#[test]
fn holes_stay_holes_and_are_found() {
    both(|mount| {
        let path = mount.path("sparse");
        let mib = 1 << 20;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all_at(&noise(mib, 3), 4 * mib as u64).unwrap();
        file.set_len(16 * mib as u64).unwrap();
        drop(file);
        let mut wanted = vec![0; 16 * mib];
        wanted[4 * mib..5 * mib].copy_from_slice(&noise(mib, 3));
        for sealed in [false, true] {
            let file = File::open(&path).unwrap();
            let at = |from| seek(&file, from).map_err(|error| error.raw_os_error());
            let mib = mib as u64;
            assert_eq!(at(SeekFrom::Data(0)), Ok(4 * mib), "sealed: {sealed}");
            assert_eq!(at(SeekFrom::Hole(4 * mib)), Ok(5 * mib));
            assert_eq!(at(SeekFrom::Hole(0)), Ok(0));
            assert_eq!(at(SeekFrom::Data(5 * mib)), Err(libc::ENXIO));
            assert_eq!(at(SeekFrom::Hole(10 * mib)), Ok(10 * mib));
            assert_eq!(at(SeekFrom::Data(16 * mib)), Err(libc::ENXIO));
            assert!(rustix::fs::fstat(&file).unwrap().st_blocks < 3 * 2048, "sealed: {sealed}");
            drop(file);
            if !sealed {
                mount.all_sealed();
            }
        }
        assert_bytes(&path, &wanted);
        let file = open_rw(&path);
        assert!(rustix::fs::fstat(&file).unwrap().st_blocks < 3 * 2048, "hydrated with its holes");
        assert_seen(&file, &wanted);
    });
}

#[test]
fn space_is_allocated_and_punched_hot_and_hydrated() {
    both(|mount| {
        let path = mount.path("f");
        let mut bytes = noise(1 << 20, 4);
        fs::write(&path, &bytes).unwrap();
        for round in 0..2 {
            let file = open_rw(&path);
            let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let at = (1 + round) << 16;
            fallocate(&file, punch, at, 65_536).unwrap();
            bytes[at as usize..at as usize + 65_536].fill(0);
            fallocate(&file, FallocateFlags::KEEP_SIZE, 0, 2 << 20).unwrap();
            assert_seen(&file, &bytes);
            fallocate(&file, FallocateFlags::empty(), 0, bytes.len() as u64 + 1000).unwrap();
            bytes.resize(bytes.len() + 1000, 0);
            assert_seen(&file, &bytes);
            drop(file);
            mount.all_sealed();
            assert_bytes(&path, &bytes);
        }
    });
}

#[test]
fn an_ioctl_for_a_terminal_is_answered_enotty() {
    both(|mount| {
        fs::write(mount.path("f"), noise(100_000, 5)).unwrap();
        for _ in 0..2 {
            let file = File::open(mount.path("f")).unwrap();
            // SAFETY: zeroed plain data, written by the call only.
            let mut term: libc::termios = unsafe { std::mem::zeroed() };
            // SAFETY: an open descriptor and a buffer that lives through the call.
            let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::TCGETS, &raw mut term) };
            let error = std::io::Error::last_os_error();
            assert_eq!((answer, error.raw_os_error()), (-1, Some(libc::ENOTTY)));
            drop(file);
            mount.all_sealed();
        }
    });
}

/// What stat(2) says of a file and is not to change unless its user does something.
fn attributes(path: &Path) -> impl PartialEq + std::fmt::Debug + use<> {
    let meta = fs::metadata(path).unwrap();
    let owner = (meta.mode(), meta.uid(), meta.gid(), meta.nlink());
    (meta.ino(), owner, meta.len(), (meta.mtime(), meta.mtime_nsec()))
}

#[test]
fn sealing_eviction_a_rename_and_a_new_mount_change_no_attribute() {
    both(|mount| {
        let (old, new) = (mount.path("f"), mount.path("d/g"));
        let bytes = noise(200_000, 6);
        fs::create_dir(mount.path("d")).unwrap();
        fs::write(&old, &bytes).unwrap();
        fs::hard_link(&old, mount.path("d/link")).unwrap();
        chown(&old, Some(12), Some(34)).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o2751)).unwrap();
        let wanted = attributes(&old);
        let check = |path: &Path, when: &str| {
            assert_eq!(attributes(path), wanted, "{when}");
            assert_eq!(attributes(&mount.path("d/link")), wanted, "{when}, by its other name");
            assert_bytes(path, &bytes);
        };
        mount.all_sealed();
        check(&old, "sealed and evicted");
        fs::rename(&old, &new).unwrap();
        check(&new, "renamed");
        mount.remount();
        check(&new, "mounted again");
        mount.kill();
        mount.mount();
        check(&new, "after a kill");
    });
}

#[test]
fn the_size_of_a_file_that_is_being_written_is_exact_for_everybody() {
    both(|mount| {
        let path = mount.path("f");
        let (bytes, mut len) = (noise(1 << 20, 7), 0);
        let file = File::create(&path).unwrap();
        for piece in bytes.chunks(99_991) {
            file.write_all_at(piece, len).unwrap();
            len += piece.len() as u64;
            let said = Command::new("stat").args(["-c", "%s"]).arg(&path).output().unwrap().stdout;
            let said = String::from_utf8(said).unwrap();
            let sizes = [file.metadata().unwrap().len(), fs::metadata(&path).unwrap().len()];
            assert_eq!((sizes, said.trim()), ([len; 2], len.to_string().as_str()));
        }
        file.set_len(5).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 5);
    });
}

#[test]
fn a_reflink_is_refused_and_what_cp_copies_is_stored_once() {
    both(|mount| {
        let (from, to) = (mount.path("from"), mount.path("to"));
        let bytes = noise(1 << 20, 8);
        fs::write(&from, &bytes).unwrap();
        mount.all_sealed();
        let stored = mount.number("/stored_bytes");
        let cp =
            |how: &str| Command::new("cp").arg(how).args([&from, &to]).output().unwrap().status.success();
        assert!(!cp("--reflink=always"));
        let clone = ioctl_ficlone(File::create(&to).unwrap(), File::open(&from).unwrap());
        assert!(clone.is_err(), "a reflink was made");
        assert!(cp("--reflink=auto"));
        assert_bytes(&to, &bytes);
        mount.all_sealed();
        assert_bytes(&to, &bytes);
        assert_eq!(mount.number("/stored_bytes"), stored);
    });
}
