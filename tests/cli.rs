//! What a user sees of the program without a mount: usage errors, refusals, exit codes, and the reference page.

// A test stops where it fails, in its helpers too.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use assert_cmd::Command;

/// Runs the program; gives exit code, stdout and stderr.
fn ckptfs(args: &[&str]) -> (i32, String, String) {
    let done = Command::cargo_bin("ckptfs").unwrap().args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (done.status.code().unwrap(), text(&done.stdout), text(&done.stderr))
}

/// One line, of this exit code, with these parts.
#[track_caller]
fn refused(args: &[&str], code: i32, parts: &[&str]) {
    let (got, out, said) = ckptfs(args);
    assert_eq!((got, out.as_str()), (code, ""), "{said}");
    assert!(said.starts_with("ckptfs: ") && said.trim_end().lines().count() == 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said:?}");
    }
}

#[test]
fn wrong_usage_is_one_line_with_exit_code_2() {
    refused(&["mount", "/s", "/m", "--setle", "1s"], 2, &["'--setle'", "'--settle'"]);
    refused(&["mount", "/s", "/m", "--xyzzy"], 2, &["'--xyzzy'", "nearest"]);
    refused(&["mount", "/s", "/m", "-o", "hot_cach=1"], 2, &["'hot_cach'", "'hot_cache'"]);
    refused(&["mount", "/s", "/m", "--cache", "lots"], 2, &["cache", "'lots'", "16GiB"]);
    refused(&["mount", "/s", "/m", "-o", "settle"], 2, &["settle=TIME"]);
    refused(&["mount", "/s", "/m", "--keep_best", "3"], 2, &["keep_best", "monitor=val_loss"]);
    refused(&["mount", "/s", "/m", "-o", "max_to_keep=few"], 2, &["max_to_keep", "'few'", "3"]);
    refused(&["mount", "/s"], 2, &["MOUNTPOINT"]);
    refused(&["mont", "a", "b"], 2, &["'mont'", "'mount'"]);
    refused(&[], 2, &["--help"]);
    refused(&["snapshot"], 2, &["PATH"]);
    refused(&["tag", "42"], 2, &["TAG"]);
    refused(&["run", "ad", "/x"], 2, &["'ad'", "'add'"]);
    refused(&["log", "-n", "many"], 2, &["'many'"]);
    refused(&["policy", "set", "/x", "max_keep=3"], 2, &["'max_keep'", "'max_to_keep'"]);
    refused(&["policy", "set", "/x", "max_to_keep"], 2, &["NAME=VALUE"]);
    refused(&["expire", "exp/.snapshots/000042"], 1, &["ckptfs status"]);
}

#[test]
fn the_config_of_the_store_is_checked_like_flags() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("s");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("config.toml"), "thread = 2\n").unwrap();
    let (store, at) = (store.to_str().unwrap(), dir.path().join("m"));
    refused(&["mount", store, at.to_str().unwrap()], 2, &["'thread'", "'threads'", "config.toml"]);
}

#[test]
fn a_mountpoint_that_will_not_do_is_refused_and_no_store_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::create_dir(path("full")).unwrap();
    fs::write(path("full/model.pt"), b"x").unwrap();
    // As mount(8) has it called, exit codes are those of mount(8).
    for (as_called, code) in [(&["mount"][..], 1), (&[], 32)] {
        let call = |at: &str| {
            [as_called, &[&path("store"), at][..]].concat().iter().map(|s| s.to_string()).collect::<Vec<_>>()
        };
        let refused = |at: &str, part| {
            let words = call(at);
            refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), code, &[part]);
        };
        refused(&path("full"), "nonempty");
        refused(&path("full/model.pt"), "not a directory");
        refused(&path("none"), "mkdir -p");
    }
    assert!(!Path::new(&path("store")).exists());
}

#[test]
fn paths_that_are_no_store_and_no_mount_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    refused(&["status", path], 1, &[path, "ckptfs status"]);
    refused(&["unmount", path], 1, &[path]);
    for words in
        [&["log", path][..], &["tag", "1", "x", path], &["run", "list", path], &["prune", path, "--dry-run"]]
    {
        refused(words, 1, &[path, "ckptfs status"]);
    }
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    let (code, out, _) = ckptfs(&["mount", "--help"]);
    assert!(code == 0 && out.contains("/etc/fstab") && out.contains("--hot_cache"), "{out}");
    assert!(ckptfs(&["--version"]).1.starts_with("ckptfs "));
}

#[test]
fn the_reference_page_is_what_the_help_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let wanted = ckptfs::cli::reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&page, &wanted).unwrap();
    }
    let held = fs::read_to_string(&page).unwrap_or_default();
    assert!(held == wanted, "docs/cli.md is old; renew it: UPDATE=1 cargo test --test cli");
}

#[test]
fn gc_of_an_unmounted_store_opens_and_closes_it_and_one_that_is_held_is_refused() {
    use ckptfs::engine::layout::Store;
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().canonicalize().unwrap().join("s");
    let at = store.to_str().unwrap();
    refused(&["gc", at], 1, &["neither"]);
    let held = Store::open(&store, Path::new("/m")).unwrap();
    refused(&["gc", at], 1, &["/m"]);
    drop(held);
    for flags in [&["gc", at, "--json", "--dry-run"][..], &["gc", at, "--json"]] {
        let (code, out, said) = ckptfs(flags);
        assert_eq!(code, 0, "{said}");
        let json: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(json["dry_run"], flags.len() == 4);
        assert_eq!((json["versions"].as_u64(), json["bytes_freed"].as_u64()), (Some(0), Some(0)));
    }
    let (code, out, _) = ckptfs(&["gc", at]);
    assert!(code == 0 && out.starts_with("gave back 0 B: 0 versions"), "{out}");
    drop(Store::open(&store, Path::new("/m")).unwrap());
}
