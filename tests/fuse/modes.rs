//! One inode has one mode and one backing file while it is open, whoever opens it how.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use rustix::fs::{OFlags, fcntl_setfl};

use crate::common::*;

#[test]
fn opens_of_one_inode_in_every_way_at_once_never_fail() {
    both(|mount| {
        let path = mount.path("model.pt");
        for sealed in [false, true] {
            fs::write(&path, noise(300_000, 1)).unwrap();
            if sealed {
                mount.all_sealed();
            }
            std::thread::scope(|scope| {
                for n in 0..4 {
                    let path = &path;
                    scope.spawn(move || {
                        for round in 0..60 {
                            let mut options = File::options();
                            match (n + round) % 4 {
                                0 => options.read(true),
                                1 => options.read(true).write(true),
                                2 => options.write(true),
                                _ => options.write(true).truncate(true),
                            };
                            let file = options.open(path).unwrap();
                            if (n + round) % 4 > 0 {
                                file.write_all_at(b"some bytes", round * 1000).unwrap();
                            } else {
                                file.read_at(&mut [0; 4096], 0).unwrap();
                            }
                        }
                    });
                }
            });
        }
    });
}

#[test]
fn readers_of_sealed_content_see_what_a_later_writer_writes() {
    both(|mount| {
        let path = mount.path("f");
        let mut bytes = noise(3 << 20, 2);
        fs::write(&path, &bytes).unwrap();
        mount.all_sealed();
        let reader = File::open(&path).unwrap();
        assert_seen(&reader, &bytes);
        for write_only in [false, true] {
            let writer = File::options().read(!write_only).write(true).open(&path).unwrap();
            for at in [0, 1 << 20, (3 << 20) - 10] {
                writer.write_all_at(b"0123456789", at).unwrap();
                bytes[at as usize..at as usize + 10].copy_from_slice(b"0123456789");
            }
            assert_seen(&reader, &bytes);
            drop(writer);
            bytes[5] ^= 1;
            open_rw(&path).write_all_at(&bytes[5..6], 5).unwrap();
            assert_seen(&reader, &bytes);
        }
    });
}

#[test]
fn truncating_an_open_inode_truncates_what_earlier_descriptors_see() {
    both(|mount| {
        for sealed in [false, true] {
            let path = mount.path("f");
            fs::write(&path, noise(200_000, 3)).unwrap();
            if sealed {
                mount.all_sealed();
            }
            let early = File::open(&path).unwrap();
            early.read_at(&mut [0; 100], 0).unwrap();
            let late = File::create(&path).unwrap();
            assert_eq!(early.metadata().unwrap().len(), 0);
            assert_eq!(early.read_at(&mut [0; 100], 0).unwrap(), 0);
            late.write_all_at(b"new", 0).unwrap();
            assert_seen(&early, b"new");
        }
    });
}

#[test]
fn an_unlinked_open_file_is_read_and_written_until_it_is_closed() {
    both(|mount| {
        for sealed in [false, true] {
            let path = mount.path("f");
            let bytes = noise(200_000, 4);
            fs::write(&path, &bytes).unwrap();
            if sealed {
                mount.all_sealed();
            }
            let (reader, writer) = (File::open(&path).unwrap(), open_rw(&path));
            fs::remove_file(&path).unwrap();
            assert_seen(&reader, &bytes);
            writer.write_all_at(b"more", 200_000).unwrap();
            assert_seen(&reader, &[&bytes[..], b"more"].concat());
            let meta = writer.metadata().unwrap();
            assert_eq!((meta.nlink(), meta.len()), (0, 200_004));
            writer.set_len(5).unwrap();
            assert_seen(&reader, &bytes[..5]);
            drop((reader, writer));
            eventually("its hot file goes", || mount.number("/hot_files") == 0);
        }
    });
}

#[test]
fn appending_goes_to_the_end_after_others_truncated_or_appended() {
    both(|mount| {
        let path = mount.path("log");
        let mut log = File::options().append(true).create(true).open(&path).unwrap();
        let mut other = File::options().append(true).open(&path).unwrap();
        log.write_all(b"one two").unwrap();
        open_rw(&path).set_len(3).unwrap();
        log.write_all(b" three").unwrap();
        other.write_all(b" four").unwrap();
        log.write_all(b" five").unwrap();
        assert_bytes(&path, b"one three four five");
        drop(File::create(&path).unwrap());
        log.write_all(b"x").unwrap();
        assert_bytes(&path, b"x");
    });
}

#[test]
fn direct_and_synchronous_io_work_on_hot_and_sealed_files() {
    both(|mount| {
        let path = mount.path("f");
        let bytes = noise(1 << 20, 5);
        for flags in [libc::O_SYNC, libc::O_DSYNC, libc::O_DIRECT] {
            let layout = std::alloc::Layout::from_size_align(1 << 20, 4096).unwrap();
            // SAFETY: a layout of non-zero size; freed below with the same layout.
            let buffer = unsafe { std::slice::from_raw_parts_mut(std::alloc::alloc_zeroed(layout), 1 << 20) };
            buffer.copy_from_slice(&bytes);
            let open = |write: bool| {
                File::options().read(true).write(write).create(write).custom_flags(flags).open(&path)
            };
            let file = open(true).unwrap();
            file.write_all_at(buffer, 0).unwrap();
            file.sync_all().unwrap();
            drop(file);
            for _ in 0..2 {
                buffer.fill(0);
                open(false).unwrap().read_exact_at(buffer, 0).unwrap();
                same(buffer, &bytes);
                mount.all_sealed();
            }
            // SAFETY: allocated above with this layout.
            unsafe { std::alloc::dealloc(buffer.as_mut_ptr(), layout) };
            fs::remove_file(&path).unwrap();
        }
    });
}

#[test]
fn direct_io_can_be_taken_back_from_an_open_file() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, b"0123456789").unwrap();
        // As dd does for the last block.
        let mut direct = File::options().write(true).custom_flags(libc::O_DIRECT).open(&path).unwrap();
        fcntl_setfl(&direct, OFlags::empty()).unwrap();
        direct.write_all(b"abc").unwrap();
        // Others write by the other way meanwhile.
        open_rw(&path).write_all_at(b"de", 3).unwrap();
        direct.write_all(b"f").unwrap();
        assert_bytes(&path, b"abcfe56789");
    });
}

#[test]
fn sqlite_takes_the_daemon_path_and_works() {
    let mount = Mount::new("on");
    // A daemon-served reader beside a writer can be told from a passthrough one: the kernel counts no backing file.
    for name in ["a.db-wal", "b.db-shm", "c.db-journal", "d.db"] {
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(mount.path(name))
            .unwrap();
        file.write_all(b"SQLite format 3\0 and more").unwrap();
        let fds = format!("/proc/{}/fd", mount.pid());
        // Only a daemon-served writer makes the daemon hold its hot file open for writing.
        let written = fs::read_dir(&fds).unwrap().filter_map(|fd| {
            let fd = fd.ok()?;
            let info = fd.path().to_str()?.replace("/fd/", "/fdinfo/");
            let flags = fs::read_to_string(info).ok()?;
            let writes = flags.lines().find(|line| line.starts_with("flags:"))?.ends_with('2');
            fs::read_link(fd.path()).ok().filter(|to| writes && to.starts_with(mount.store().join("hot")))
        });
        assert_eq!(written.count(), 1, "{name} is served by the daemon");
        file.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("more"));
    }
}
