//! Names: long, odd, many, and coming and going while they are listed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
use rustix::io::Errno;

use crate::common::*;

#[test]
fn names_are_bytes_up_to_255() {
    let mount = Mount::new("on");
    let long = "x".repeat(255);
    let names: [&[u8]; 5] = [long.as_bytes(), b"\xff\xfe\x01", b"a\nb", b" ", "schöne Namen 検".as_bytes()];
    for name in names {
        let path = mount.root().join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        fs::create_dir(mount.root().join("d")).ok();
        fs::hard_link(&path, mount.root().join("d").join(OsStr::from_bytes(name))).unwrap();
    }
    let too_long = mount.path(&"x".repeat(256));
    for error in [File::create(&too_long).unwrap_err(), fs::metadata(&too_long).unwrap_err()] {
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
    }
    mount.kill();
    mount.mount();
    let mut listed: Vec<_> =
        fs::read_dir(mount.path("d")).unwrap().map(|e| e.unwrap().file_name().into_vec()).collect();
    listed.sort();
    let mut wanted: Vec<_> = names.iter().map(|name| name.to_vec()).collect();
    wanted.sort();
    assert_eq!(listed, wanted);
    for name in names {
        assert_bytes(&mount.root().join(OsStr::from_bytes(name)), name);
    }
    mount.no_faults();
}

#[test]
fn a_hundred_thousand_entries_are_each_listed_once_while_others_come_and_go() {
    let mount = Mount::new("on");
    let dir = mount.path("many");
    fs::create_dir(&dir).unwrap();
    // Hard links of few files: an entry is what costs here.
    const EACH: usize = 50_000;
    for file in 0..2 {
        fs::write(dir.join(format!("stay-{file}")), b"x").unwrap();
        for n in 0..EACH {
            fs::hard_link(dir.join(format!("stay-{file}")), dir.join(format!("stay-{file}-{n:06}"))).unwrap();
        }
    }
    let mut seen: HashMap<Vec<u8>, u32> = HashMap::new();
    for (n, entry) in fs::read_dir(&dir).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_vec();
        *seen.entry(name).or_default() += 1;
        if n % 100 == 0 {
            fs::write(dir.join(format!("come-{n}")), b"").unwrap();
            if n >= 1000 {
                fs::remove_file(dir.join(format!("come-{}", n - 1000))).unwrap();
            }
        }
    }
    assert!(seen.values().all(|times| *times == 1), "an entry was listed twice");
    assert_eq!(seen.keys().filter(|name| name.starts_with(b"stay-")).count(), 2 * EACH + 2);
    mount.no_faults();
}

#[test]
fn statfs_tells_the_space_of_the_disk_below() {
    let mount = Mount::new("on");
    let here = rustix::fs::statvfs(mount.root()).unwrap();
    let below = rustix::fs::statvfs(mount.store()).unwrap();
    assert_eq!((here.f_blocks, here.f_frsize, here.f_namemax), (below.f_blocks, below.f_frsize, 255));
    assert!(here.f_bavail > 0);
}

#[test]
fn extended_attributes_are_kept_listed_and_replaced_as_asked() {
    let mount = Mount::new("on");
    let path = mount.path("f");
    fs::write(&path, noise(100_000, 1)).unwrap();
    let set = |name: &str, value: &[u8], flags| setxattr(&path, name, value, flags);
    assert_eq!(set("user.a", b"1", XattrFlags::REPLACE), Err(Errno::NODATA));
    set("user.a", b"1", XattrFlags::CREATE).unwrap();
    assert_eq!(set("user.a", b"2", XattrFlags::CREATE), Err(Errno::EXIST));
    set("user.a", &[7; 60_000], XattrFlags::REPLACE).unwrap();
    set("user.empty", b"", XattrFlags::empty()).unwrap();
    set("trusted.t", b"t", XattrFlags::empty()).unwrap();
    set("user.gone", b"t", XattrFlags::empty()).unwrap();
    removexattr(&path, "user.gone").unwrap();
    assert_eq!(removexattr(&path, "user.gone"), Err(Errno::NODATA));
    mount.all_sealed();
    mount.kill();
    mount.mount();
    let mut list = [0; 1000];
    let len = listxattr(&path, &mut list[..]).unwrap();
    let mut names: Vec<_> = list[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort();
    assert_eq!(names, [&b"trusted.t"[..], b"user.a", b"user.empty"]);
    let mut value = vec![0; 65_536];
    assert_eq!(getxattr(&path, "user.a", &mut value[..]), Ok(60_000));
    assert!(value[..60_000].iter().all(|byte| *byte == 7));
    assert_eq!(getxattr(&path, "user.empty", &mut value[..]), Ok(0));
    assert_eq!(getxattr(&path, "user.a", &mut [0; 10][..]), Err(Errno::RANGE));
    // An attribute set on a removed directory does not bring it back.
    fs::create_dir(mount.path("d")).unwrap();
    let dir = File::open(mount.path("d")).unwrap();
    fs::remove_dir(mount.path("d")).unwrap();
    rustix::fs::fsetxattr(&dir, "user.late", b"x", XattrFlags::empty()).unwrap_err();
    mount.no_faults();
}

#[test]
fn who_reads_a_name_that_is_replaced_sees_the_old_file_or_the_new_one_whole() {
    both(|mount| {
        let (path, tmp) = (mount.path("ckpt"), mount.path("ckpt.tmp"));
        let saves: Vec<Vec<u8>> = (0..60).map(|n| noise(100_000 + 7000 * (n as usize % 3), n)).collect();
        fs::write(&path, &saves[0]).unwrap();
        let held = File::options().read(true).write(true).open(&path).unwrap();
        let (done, seen) = (AtomicBool::new(false), AtomicUsize::new(0));
        let replace = || {
            for save in &saves[1..] {
                fs::write(&tmp, save)?;
                fs::rename(&tmp, &path)?;
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok::<_, std::io::Error>(())
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let read = fs::read(&path).unwrap();
                        assert!(saves.contains(&read), "{} bytes that nobody has saved", read.len());
                        seen.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let replaced = replace();
            // Before anything may fail: the others read until then.
            done.store(true, Ordering::Relaxed);
            replaced.unwrap();
        });
        assert!(seen.load(Ordering::Relaxed) > 10);
        // What was replaced is its holder's until the close.
        assert_seen(&held, &saves[0]);
        held.write_all_at(b"mine", 0).unwrap();
        assert_seen(&held, &[&b"mine"[..], &saves[0][4..]].concat());
        assert_bytes(&path, &saves[59]);
    });
}

#[test]
fn a_folder_is_renamed_with_its_content_while_files_in_it_are_open() {
    both(|mount| {
        let (old, new) = (mount.path("old"), mount.path("new"));
        fs::create_dir_all(old.join("deep")).unwrap();
        fs::create_dir(&new).unwrap();
        let bytes = noise(200_000, 1);
        fs::write(old.join("deep/sealed"), &bytes).unwrap();
        mount.all_sealed();
        let (reader, writer) =
            (File::open(old.join("deep/sealed")).unwrap(), File::create(old.join("hot")).unwrap());
        writer.write_all_at(b"before ", 0).unwrap();
        fs::rename(&old, &new).unwrap();
        writer.write_all_at(b"after", 7).unwrap();
        assert_seen(&reader, &bytes);
        assert!(!old.exists());
        assert_bytes(&new.join("hot"), b"before after");
        assert_bytes(&new.join("deep/sealed"), &bytes);
        // Onto a folder with content: refused, and nothing is changed.
        fs::create_dir(&old).unwrap();
        assert_eq!(fs::rename(&old, &new).unwrap_err().raw_os_error(), Some(libc::ENOTEMPTY));
        assert_bytes(&new.join("hot"), b"before after");
    });
}
