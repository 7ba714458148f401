//! The daemon's life as its user sees it: busy, twice, dead, told to end.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ckptfs::base::monitor::Silent;
use ckptfs::cli::Daemon;
use ckptfs::control::protocol::{Handler, Leave};
use ckptfs::options::MountOptions;
use ckptfs::serve::Filesystem;

use crate::common::*;

#[test]
fn a_busy_mount_is_left_alone_and_the_message_says_ebusy() {
    let mount = Mount::new("on");
    let held = File::create(mount.path("f")).unwrap();
    let done = mount.unmount();
    let said = said(&done);
    assert!(!done.status.success() && said.contains("EBUSY") && said.lines().count() == 1, "{said}");
    let map = Map::new(&open_rw(&mount.path("f")), 4096, true);
    drop(held);
    let path = mount.root();
    let done = ckptfs(&["unmount", "--wait", text(&path)]);
    drop(map);
    // In passthrough a mapping does not hold the mount, so either answer is right; that it comes is the point.
    if !done.status.success() {
        mount.remount();
    }
}

/// Whoever waits for a mount and then asks its daemon must not be told that somebody else has the store.
#[test]
fn a_mount_answers_nobody_before_its_daemon_can_be_asked() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, at) = (dir.path().join("store"), dir.path().join("mnt"));
    fs::create_dir(&at).unwrap();
    let (answers, answered) = mpsc::channel();
    let name = at.join("no such name");
    let ready = Box::new(|daemon: Arc<dyn Handler>| {
        std::thread::spawn(move || answers.send(fs::metadata(name)).unwrap());
        assert!(answered.recv_timeout(Duration::from_millis(300)).is_err(), "the mount answers already");
        std::thread::spawn(move || {
            let answer = answered.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(answer.unwrap_err().raw_os_error(), Some(libc::ENOENT));
            daemon.request_unmount(Leave::IfIdle).unwrap();
        });
        Ok(())
    });
    Filesystem.serve(&MountOptions::default(), &store, &at, ready, &Silent).unwrap();
}

/// A container that was started meanwhile may have a copy of the mount.
#[test]
fn an_unmount_names_who_keeps_the_mount_in_a_namespace_of_its_own() {
    let mount = Mount::new("on");
    let mut other = Command::new("unshare");
    let mut other = other.args(["--mount", "--propagation", "private", "--", "sleep", "60"]).spawn().unwrap();
    let name = || fs::read_to_string(format!("/proc/{}/comm", other.id())).unwrap();
    eventually("it has its namespace", || name() == "sleep\n");
    let mut unmount = Command::new(env!("CARGO_BIN_EXE_ckptfs"));
    let mut unmount = unmount.arg("unmount").arg(mount.root()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(unmount.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains(&format!("process {} (sleep)", other.id())), "{line}");
    assert!(unmount.try_wait().unwrap().is_none(), "it waits for the daemon");
    let again = said(&ckptfs(&["unmount", text(&mount.store())]));
    assert!(again.contains(&format!("process {} (sleep)", other.id())), "{again}");
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(unmount.wait().unwrap().success());
    mount.mount();
}

#[test]
fn a_second_mount_of_one_store_is_refused_in_one_line() {
    let mount = Mount::new("on");
    let other = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, at) = (mount.store(), other.path().to_str().unwrap().to_owned());
    let done = ckptfs(&["mount", text(&store), &at]);
    let said = said(&done);
    assert!(!done.status.success() && said.lines().count() == 1 && said.contains("mounted"), "{said}");
    fs::write(mount.path("f"), b"still served").unwrap();
}

#[test]
fn a_dead_mountpoint_is_cleaned_by_unmount_and_by_mount() {
    let mount = Mount::new("on");
    fs::write(mount.path("f"), b"kept").unwrap();
    mount.kill();
    assert_eq!(fs::metadata(mount.path("f")).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    mount.mount();
    assert_bytes(&mount.path("f"), b"kept");
    mount.kill();
    let done = mount.unmount();
    assert!(done.status.success(), "{}", said(&done));
    assert!(fs::read_dir(mount.root()).unwrap().next().is_none());
    mount.mount();
    assert_bytes(&mount.path("f"), b"kept");
}

#[test]
fn a_health_check_fails_with_one_line_unless_a_daemon_answers() {
    let mount = Mount::new("on");
    let check = |path: &std::path::Path| {
        let done = ckptfs(&["status", "--check", text(path)]);
        assert!(done.stdout.is_empty());
        (done.status.code().unwrap(), said(&done))
    };
    assert_eq!(check(&mount.root()), (0, String::new()));
    assert_eq!(check(&mount.store()), (0, String::new()));
    mount.kill();
    let (code, text) = check(&mount.root());
    assert!(code == 1 && text.contains("killed") && text.lines().count() == 1, "{code} {text}");
    assert!(mount.unmount().status.success());
    let (code, text) = check(&mount.store());
    assert!(code == 1 && text.contains("not mounted") && text.lines().count() == 1, "{code} {text}");
}

#[test]
fn mkdir_makes_the_mountpoint_and_leaves_a_dead_one_to_be_cleaned() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (store, at) = (path("store"), path("mnt"));
    let call = |args: &[&str]| {
        let done = ckptfs(args);
        assert!(done.status.success(), "{args:?}: {}", said(&done));
        done.stdout
    };
    call(&["mount", "--mkdir", &store, &at]);
    let status: serde_json::Value = serde_json::from_slice(&call(&["status", "--json", &at])).unwrap();
    let pid = i32::try_from(status["pid"].as_i64().unwrap()).unwrap();
    // SAFETY: plain integers; the process is the daemon that this test started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    eventually("the daemon ends", || !is_running(pid));
    assert!(fs::metadata(&at).is_err(), "a dead mount answers");
    call(&["mount", "--mkdir", &store, &at]);
    call(&["unmount", &at]);
    assert!(fs::read_dir(&at).unwrap().next().is_none());
    // What a trainer sees while nothing is mounted is no empty folder.
    assert_eq!(as_nobody(|| fs::read_dir(&at).map(drop)).unwrap_err().raw_os_error(), Some(libc::EACCES));
}

#[test]
fn sigterm_ends_the_daemon_in_time_with_files_open_and_nothing_is_lost() {
    both(|mount| {
        let mut open = File::create(mount.path("open")).unwrap();
        open.write_all(&noise(30 << 20, 1)).unwrap();
        let dir = fs::read_dir(mount.root()).unwrap();
        let took = mount.end(libc::SIGTERM);
        assert!(took < Duration::from_secs(10), "{took:?}");
        drop((open, dir));
        mount.mount();
        assert_bytes(&mount.path("open"), &noise(30 << 20, 1));
    });
}
