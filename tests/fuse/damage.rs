//! A store that is damaged below its mount, as its user meets it: what fails, what the check says, what a repair leaves.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::common::*;

const LEN: usize = 3 << 20;

#[test]
fn a_damaged_version_fails_where_it_is_hit_and_the_check_and_the_repair_name_it() {
    let mount = Mount::with(&["settle=1h", "hot_cache=0", "passthrough=on"]);
    let run = mount.path("exp");
    fs::create_dir(&run).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let saves = [npy(1, LEN), npy(2, LEN)];
    for bytes in &saves {
        fs::write(run.join("model.npy"), bytes).unwrap();
        assert!(ckptfs(&["snapshot", &text(&run)]).status.success());
    }
    eventually("no hot file is left", || mount.number("/hot_files") == 0);
    eventually("it unmounts", || mount.unmount().status.success());
    flip(&mount.store(), &saves[0], 3 << 19);
    mount.mount();

    let of = |version: &str| run.join(".snapshots").join(version).join("model.npy");
    let file = File::open(of("000001")).unwrap();
    let piece = |at: usize| {
        let mut piece = vec![0; 4096];
        file.read_exact_at(&mut piece, at as u64).map(|()| piece)
    };
    assert_eq!(piece(3 << 19).unwrap_err().raw_os_error(), Some(libc::EIO));
    for at in [0, LEN - 4096] {
        same(&piece(at).unwrap(), &saves[0][at..at + 4096]);
    }
    drop(file);
    assert_bytes(&of("latest"), &saves[1]);
    assert_bytes(&run.join("model.npy"), &saves[1]);

    let checked = ckptfs(&["check", "--read-data", &text(&mount.root())]);
    let found = String::from_utf8(checked.stdout).unwrap();
    assert_eq!(checked.status.code(), Some(3), "{found}");
    assert!(found.contains("run exp version 000001: model.npy"), "{found}");
    assert!(!found.contains("version 000002"), "{found}");
    let refused = ckptfs(&["check", "--repair", &text(&mount.root())]);
    assert_eq!(refused.status.code(), Some(1));
    let why = said(&refused);
    assert!(why.contains("unmount it first") && why.trim_end().lines().count() == 1, "{why}");

    eventually("it unmounts", || mount.unmount().status.success());
    let repaired = ckptfs(&["check", "--repair", &text(&mount.store())]);
    let done = String::from_utf8(repaired.stdout).unwrap();
    assert_eq!(repaired.status.code(), Some(3), "what is lost is left: {done}");
    assert!(done.contains("version 000001 is marked"), "{done}");
    mount.mount();
    assert_bytes(&of("latest"), &saves[1]);
    let file = File::open(of("000001")).unwrap();
    let mut begin = vec![0; 4096];
    file.read_exact_at(&mut begin, 0).unwrap();
    same(&begin, &saves[0][..4096]);
    drop(file);
    mount.no_faults();
}

#[test]
fn a_damaged_chunk_of_a_live_file_is_eio_and_the_log_and_status_say_where() {
    both_damaged("on");
    both_damaged("off");
}

fn both_damaged(passthrough: &str) {
    let mount = Mount::new(passthrough);
    let (hit, other) = (npy(3, LEN), npy(4, LEN));
    fs::write(mount.path("hit.npy"), &hit).unwrap();
    fs::write(mount.path("other.npy"), &other).unwrap();
    mount.all_sealed();
    eventually("it unmounts", || mount.unmount().status.success());
    flip(&mount.store(), &hit, 3 << 19);
    mount.mount();
    let file = File::open(mount.path("hit.npy")).unwrap();
    let mut piece = vec![0; 4096];
    let error = file.read_exact_at(&mut piece, 3 << 19).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
    file.read_exact_at(&mut piece, 0).unwrap();
    same(&piece, &hit[..4096]);
    assert_bytes(&mount.path("other.npy"), &other);
    let told = mount.status()["last_errors"].to_string();
    let log = fs::read_to_string(mount.store().join("ckptfs.log")).unwrap();
    for said in [told, log] {
        for part in ["read hit.npy", ".pack", "offset "] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}
