//! What a hostile neighbour tries: to read a store, to plant links in it, to speak to its daemon, to write to the terminal
//! of whoever looks.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::*;

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The program, started by somebody who has no umask.
fn careless(args: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ckptfs")])
        .args(args)
        .output()
        .unwrap()
}

/// Everything below `folder`, itself included, that others may read, write or enter.
fn open_to_others(folder: &Path) -> Vec<PathBuf> {
    let meta = fs::symlink_metadata(folder).unwrap();
    let mut found: Vec<PathBuf> = (meta.mode() & 0o077 != 0).then(|| folder.to_owned()).into_iter().collect();
    if meta.is_dir() {
        found.extend(fs::read_dir(folder).unwrap().flat_map(|entry| open_to_others(&entry.unwrap().path())));
    }
    found
}

#[test]
fn nothing_in_a_store_is_anybody_elses() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (store, hot) = (dir.path().join("store"), dir.path().join("fast"));
    for folder in [&store, &hot] {
        fs::create_dir(folder).unwrap();
    }
    chmod(&store, 0o777);
    chmod(&hot, 0o755);
    let mount = Mount::at(dir, &["settle=0s", "hot_cache=0", &format!("hot={}", text(&hot))], &careless);
    let run = mount.path("run");
    fs::create_dir(&run).unwrap();
    for n in 0..3 {
        fs::write(run.join(format!("{n}.bin")), noise(1 << 20, n)).unwrap();
        fs::create_dir(run.join(format!(".snapshots/v{n}"))).unwrap();
    }
    mount.all_sealed();
    fs::write(run.join("small"), b"stays hot").unwrap();
    let _open = File::create(run.join("open")).unwrap();
    for words in [
        &["policy", "set", text(&run), "max_to_keep=2"][..],
        &["policy", "set", text(&mount.store()), "keep_last=3"],
        &["gc", text(&run)],
    ] {
        careless(words);
    }
    assert_eq!(open_to_others(&mount.store()), [] as [PathBuf; 0]);
    drop(_open);
    mount.kill();
    let done = mount.try_mount();
    assert!(done.status.success(), "{}", said(&done));
    assert_bytes(&run.join("0.bin"), &noise(1 << 20, 0));
    let within: Vec<PathBuf> =
        fs::read_dir(&hot).unwrap().flat_map(|entry| open_to_others(&entry.unwrap().path())).collect();
    assert_eq!((open_to_others(&mount.store()), within), (Vec::new(), Vec::new()));
    as_nobody(|| {
        for inside in ["", "format", "packs", "journal", "ckptfs.log", "control.sock"] {
            let error = fs::read_dir(mount.store().join(inside)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EACCES), "{inside}");
        }
    });
}

#[test]
fn a_link_planted_in_a_store_overwrites_nothing_elsewhere() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    fs::create_dir(dir.path().join("mnt")).unwrap();
    for (name, refused) in [
        ("ckptfs.log", true),
        ("lock", true),
        ("packs", true),
        ("hot", true),
        ("catalog", true),
        ("format.tmp", false),
        ("config.tmp", false),
    ] {
        let store = dir.path().join(format!("store-{name}"));
        fs::create_dir(&store).unwrap();
        let target = if ["packs", "hot", "catalog"].contains(&name) {
            dir.path().join("elsewhere")
        } else {
            victim.clone()
        };
        symlink(&target, store.join(name)).unwrap();
        let done = ckptfs(&["mount", text(&store), text(&dir.path().join("mnt"))]);
        let line = said(&done);
        assert_eq!(done.status.success(), !refused, "{name}: {line}");
        if refused {
            assert!(
                line.contains(name) && line.contains("symbolic link") && line.lines().count() == 1,
                "{line}"
            );
        } else {
            fs::write(dir.path().join("mnt/f"), b"works").unwrap();
            assert!(ckptfs(&["unmount", text(&dir.path().join("mnt"))]).status.success());
        }
        assert_eq!(fs::read(&victim).unwrap(), b"precious", "{name}");
        assert_eq!(fs::read_dir(dir.path().join("elsewhere")).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn a_folder_of_hot_files_that_others_can_change_is_refused() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in ["hot", "mnt"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    let (store, hot, mnt) = (dir.path().join("store"), dir.path().join("hot"), dir.path().join("mnt"));
    chmod(&hot, 0o777);
    let option = format!("hot={}", text(&hot));
    let done = ckptfs(&["mount", text(&store), text(&mnt), "-o", &option]);
    let line = said(&done);
    assert!(!done.status.success() && line.contains("other users") && line.contains("hot="), "{line}");
}

/// What the daemon says to `bytes`, and whether it took them all.
fn ask(socket: &Path, bytes: &[u8]) -> (String, bool) {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let taken = stream.write_all(bytes).is_ok();
    let mut said = Vec::new();
    let mut byte = [0];
    while said.last() != Some(&b'\n') && stream.read(&mut byte).is_ok_and(|len| len == 1) {
        said.push(byte[0]);
    }
    (String::from_utf8(said).unwrap(), taken)
}

const STATUS: &[u8] = b"{\"request\":\"status\"}\n";

#[test]
fn another_user_is_not_answered_even_where_the_modes_let_him_in() {
    let mount = Mount::new("on");
    let socket = mount.store().join("control.sock");
    as_nobody(|| {
        let error = UnixStream::connect(&socket).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    });
    chmod(&mount.store(), 0o755);
    chmod(&socket, 0o666);
    as_nobody(|| {
        let idle: Vec<UnixStream> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
        for request in [STATUS, b"{\"request\":\"unmount\"}\n", b"{\"request\":\"gc\"}\n"] {
            let (said, _) = ask(&socket, request);
            assert!(said.is_empty() || said.contains("\"errno\":13"), "{said}");
        }
        drop(idle);
    });
    // Nor do those take the places of others.
    let (said, _) = ask(&socket, STATUS);
    assert!(said.starts_with("{\"status\""), "{said}");
    mount.no_faults();
}

#[test]
fn a_daemon_outlives_every_line_that_a_client_can_send() {
    let mount = Mount::new("on");
    fs::write(mount.path("f"), b"served").unwrap();
    let socket = mount.store().join("control.sock");
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap().to_owned();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let before = memory();
    // A line of a gibibyte is cut off long before its end.
    let mut endless = UnixStream::connect(&socket).unwrap();
    let piece = vec![b'x'; 1 << 20];
    let taken = (0..1024).take_while(|_| endless.write_all(&piece).is_ok()).count();
    assert!(taken < 16, "{taken} MiB of one line were taken");
    let deep = [vec![b'['; 100_000], vec![b'\n']].concat();
    let objects = [b"{\"a\":".repeat(20_000), b"\n".to_vec()].concat();
    for bad in [&deep[..], &objects, b"\n", b"\xff\xfe\n", b"{\"request\":\"rm\"}\n"] {
        let (said, _) = ask(&socket, bad);
        assert!(said.starts_with("{\"error\"") && said.contains("\"errno\":22"), "{said}");
    }
    for path in ["../../../etc", "/etc/passwd", "a/../../..", ".snapshots/../..", "\\x00", "\\u0000"] {
        let line = format!(
            "{{\"request\":\"command\",\"command\":{{\"do\":\"log\",\"at\":{{\"path\":\"{}\"}},\"limit\":1,\"removed\":true}}}}\n",
            path.replace("\\x", "\\\\x")
        );
        let (said, _) = ask(&socket, line.as_bytes());
        assert!(said.starts_with("{\"error\""), "{path}: {said}");
    }
    // Half a line each from many, who stay; the others are answered as long as there are places.
    let mut slow: Vec<UnixStream> = (0..30).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(b"{\"request\":").unwrap());
    assert!(ask(&socket, STATUS).0.starts_with("{\"status\""));
    let answers: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..64).map(|_| scope.spawn(|| ask(&socket, STATUS).0)).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let odd = |said: &&String| {
        !said.is_empty() && !said.starts_with("{\"status\"") && !said.contains("too many clients")
    };
    assert!(answers.iter().filter(odd).count() == 0, "{answers:?}");
    drop(slow);
    eventually("the places are free again", || ask(&socket, STATUS).0.starts_with("{\"status\""));
    assert!(memory() < before + (64 << 10), "{} KiB after {before}", memory());
    assert_bytes(&mount.path("f"), b"served");
    mount.no_faults();
}

#[test]
fn a_path_that_a_link_leads_out_of_the_mount_is_not_taken_for_one_inside() {
    let mount = Mount::new("on");
    symlink("/etc", mount.path("out")).unwrap();
    symlink("../../..", mount.path("up")).unwrap();
    for path in ["out", "out/passwd", "up"] {
        for words in [["log"], ["snapshot"], ["purge"], ["status"]] {
            let done = ckptfs(&[&words[..], &[text(&mount.path(path))]].concat());
            let line = said(&done);
            assert!(
                !done.status.success() && line.contains("neither in a ckptfs mount nor a store"),
                "{words:?} {path}: {line}"
            );
        }
    }
    let store = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let done =
        ckptfs(&["mount", text(&store.path().join("s")), text(store.path()), "-o", "fsname=a\x1b[2J\nb"]);
    assert!(said(&done).contains("control characters"), "{}", said(&done));
}

/// No byte of `bytes` steers a terminal.
#[track_caller]
fn tame(bytes: &[u8], what: &str) {
    let shown = String::from_utf8_lossy(bytes);
    let wild = shown.chars().find(|letter| letter.is_control() && *letter != '\n' || *letter == '\u{202e}');
    assert_eq!(wild, None, "{what}: {shown:?}");
}

#[test]
fn what_others_named_cannot_steer_the_terminal_of_who_looks() {
    const EVIL: &str = "e\x1b]0;owned\x07\x1b[2J\u{9b}31m\u{202e}\r\nforged";
    let mount = Mount::with(&["settle=1h", "hot_cache=0", "provenance=args"]);
    let at = mount.root();
    let root = text(&at);
    let run = mount.path(EVIL);
    fs::create_dir(&run).unwrap();
    let script = format!("printf x > \"$1/model-{EVIL}.bin\"; mkdir \"$1/.snapshots/tagged\"");
    let done =
        Command::new("sh").args(["-c", &script, EVIL, text(&run), EVIL]).env("USER", EVIL).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    let tagged = ckptfs(&["snapshot", text(&run), "--tag", EVIL]);
    let nowhere = run.join(EVIL);
    let all: [&[&str]; 13] = [
        &["log", text(&run)],
        &["log", text(&run), "--json"],
        &["log", text(&nowhere)],
        &["run", "list", root],
        &["run", "list", root, "--json"],
        &["stats", root],
        &["status", root],
        &["status", text(&nowhere), "--json"],
        &["policy", "get", text(&run)],
        &["policy", "set", text(&run), &format!("monitor={EVIL}")],
        &["prune", text(&run), "--dry-run"],
        &["tag", text(&run), "1", EVIL],
        &[EVIL],
    ];
    tame(&tagged.stderr, "tag");
    for words in all {
        let done = ckptfs(words);
        tame(&done.stdout, &format!("{words:?}"));
        tame(&done.stderr, &format!("{words:?}"));
        assert!(done.stderr.iter().filter(|byte| **byte == b'\n').count() <= 1, "{}", said(&done));
        if words.contains(&"--json") && done.status.success() {
            let _read: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        }
    }
    let listed = ckptfs(&["run", "list", root]).stdout;
    assert_eq!(listed.iter().filter(|byte| **byte == b'\n').count(), 2, "a head and one run");
    tame(&fs::read(mount.store().join("ckptfs.log")).unwrap(), "the log");
}

#[test]
fn the_text_of_a_lock_is_not_obeyed_either() {
    let mount = Mount::new("on");
    eventually("it unmounts", || mount.unmount().status.success());
    let lock = open_rw(&mount.store().join("lock"));
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let holder = "{\"host\":\"\\u001b[2Jnode\\u0007\",\"pid\":1,\"mountpoint\":\"/m\\u001b[1A\",\"since\":\"\\u009b31m\"}";
    fs::write(mount.store().join("lock"), holder).unwrap();
    let begun = Instant::now();
    for words in [
        vec!["status", text(&mount.store())],
        vec!["mount", text(&mount.store()), text(&mount.root())],
        vec!["log", text(&mount.store())],
    ] {
        let done = ckptfs(&words);
        tame(&done.stdout, "status");
        tame(&done.stderr, "mount");
    }
    assert!(begun.elapsed() < Duration::from_secs(15));
}
