//! Another version of the program: against a daemon that goes on since before an upgrade, and against a store of
//! another format.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::SystemTime;

use crate::common::*;

/// Puts itself between the program and the daemon, which from then on seems to be version 9.9.9 with another protocol; one from
/// before there was a protocol when `hears_hello` is false.
fn make_another_version(store: &Path, hears_hello: bool) {
    fs::rename(store.join("control.sock"), store.join("real.sock")).unwrap();
    let listener = UnixListener::bind(short(store).join("control.sock")).unwrap();
    let real = short(store).join("real.sock");
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, daemon) = (client.unwrap(), UnixStream::connect(&real).unwrap());
            thread::spawn(move || relay(&client, &daemon, hears_hello));
        }
    });
}

/// A socket's name holds 107 bytes; this names the same folder for as long as the test runs.
fn short(store: &Path) -> PathBuf {
    use std::os::fd::IntoRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", fs::File::open(store).unwrap().into_raw_fd()))
}

fn relay(mut client: &UnixStream, mut daemon: &UnixStream, hears_hello: bool) {
    let (answers, to) = (daemon.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || answer(&answers, &to));
    for line in BufReader::new(client).lines() {
        let Ok(line) = line else { break };
        if !hears_hello && line.contains("\"hello\"") {
            let refusal =
                "{\"error\":{\"message\":\"not a request: unknown variant `hello`\",\"errno\":22}}\n";
            client.write_all(refusal.as_bytes()).unwrap();
            break;
        }
        daemon.write_all((line + "\n").as_bytes()).unwrap();
    }
    let _ended = daemon.shutdown(Shutdown::Both).is_err();
}

/// Hands on what the daemon says, as another version would; the program learns from the end that the daemon has ended.
fn answer(daemon: &UnixStream, mut client: &UnixStream) {
    let own = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
    for line in BufReader::new(daemon).lines() {
        let Ok(line) = line else { break };
        let line = line.replace("{\"hello\":{\"protocol\":1}}", "{\"hello\":{\"protocol\":99,\"more\":[]}}");
        let line = line.replace(&own, "\"version\":\"9.9.9\",\"news\":7") + "\n";
        if client.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    let _ended = client.shutdown(Shutdown::Both).is_err();
}

#[track_caller]
fn refused_by_name(words: &[&str], at: &str) {
    let done = ckptfs(words);
    let line = said(&done);
    assert_eq!((done.status.code(), line.lines().count()), (Some(1), 1), "{words:?}: {line}");
    for part in
        ["ckptfs 9.9.9", concat!("ckptfs ", env!("CARGO_PKG_VERSION")), &format!("ckptfs unmount {at}")]
    {
        assert!(line.contains(part), "{words:?}: {part:?} in {line:?}");
    }
}

#[test]
fn a_daemon_of_another_version_is_seen_and_unmounted_and_else_refused_by_name() {
    for hears_hello in [true, false] {
        let mount = Mount::new("on");
        fs::create_dir(mount.path("exp")).unwrap();
        fs::write(mount.path("exp/f"), noise(100_000, 1)).unwrap();
        assert!(ckptfs(&["snapshot", text(&mount.path("exp"))]).status.success());
        make_another_version(&mount.store(), hears_hello);
        let (root, store) = (mount.root(), mount.store());
        let (at, store) = (text(&root), text(&store));
        let out = mount.path("out");
        let commands: [&[&str]; 7] = [
            &["log", at],
            &["snapshot", at],
            &["stats", store],
            &["gc", at],
            &["check", at],
            &["policy", "set", "--default", at, "max_to_keep=3"],
            &["export", "latest", text(&out), at],
        ];
        commands.iter().for_each(|words| refused_by_name(words, at));
        let status = mount.status();
        assert_eq!((&status["version"], &status["state"]), (&"9.9.9".into(), &"mounted".into()));
        let advice = status["advice"].to_string();
        assert!(advice.contains("9.9.9") && advice.contains(env!("CARGO_PKG_VERSION")), "{advice}");
        assert_bytes(&mount.path("exp/f"), &noise(100_000, 1));
        // The safe procedure.
        let done = mount.unmount();
        assert!(done.status.success(), "{}", said(&done));
        fs::remove_file(mount.store().join("real.sock")).unwrap();
        mount.mount();
        assert_bytes(&mount.path("exp/f"), &noise(100_000, 1));
        assert!(!mount.status()["advice"].to_string().contains("9.9.9"));
        let done = ckptfs(&["log", text(&mount.path("exp"))]);
        assert!(done.status.success(), "{}", said(&done));
    }
}

/// Every file of a folder: its bytes and when they were written.
fn all_of(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            found.append(&mut all_of(&path));
        } else if meta.is_file() {
            found.insert(path.clone(), (fs::read(&path).unwrap(), meta.modified().unwrap()));
        }
    }
    found
}

#[test]
fn a_store_of_an_older_or_newer_format_is_refused_by_every_command_and_stays_as_it_is() {
    let mount = Mount::new("on");
    fs::create_dir(mount.path("exp")).unwrap();
    fs::write(mount.path("exp/f"), noise(100_000, 1)).unwrap();
    assert!(ckptfs(&["snapshot", text(&mount.path("exp"))]).status.success());
    assert!(mount.unmount().status.success());
    let format = mount.store().join("format");
    let ours = fs::read_to_string(&format).unwrap();
    let number: u32 = ours.split(' ').nth(1).unwrap().parse().unwrap();
    let (root, store) = (mount.root(), mount.store());
    let (at, store) = (text(&root), text(&store));
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("out");
    let commands: [&[&str]; 16] = [
        &["mount", store, at],
        &["mount", "--foreground", store, at],
        &["status", store],
        &["check", store],
        &["check", "--read-data", store],
        &["check", "--repair", store],
        &["gc", store],
        &["log", store],
        &["show", "latest", store],
        &["stats", store],
        &["snapshot", store],
        &["prune", "--all", store],
        &["policy", "set", "--default", store, "max_to_keep=3"],
        &["run", "list", store],
        &["export", "latest", text(&to), store],
        &["report", store],
    ];
    for other in [number - 1, number + 1] {
        fs::write(&format, ours.replacen(&format!(" {number} "), &format!(" {other} "), 1)).unwrap();
        let before = all_of(&mount.store());
        for words in commands {
            let done = ckptfs(words);
            let line = said(&done);
            assert_eq!((done.status.code(), line.lines().count()), (Some(1), 1), "{words:?}: {line}");
            let (has, reads) = (format!("has format {other}"), format!("reads format {number}"));
            assert!(line.contains(&has) && line.contains(&reads), "{words:?}: {line}");
            assert!(all_of(&mount.store()) == before, "{words:?} has touched the store");
        }
    }
    fs::write(&format, ours).unwrap();
    mount.mount();
    assert_bytes(&mount.path("exp/f"), &noise(100_000, 1));
}
