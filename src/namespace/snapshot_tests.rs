//! What a snapshot shows while the namespace changes, and what it keeps.

use super::*;
use crate::base::clock::Time;
use crate::base::monitor::Silent;
use crate::catalog::records::Sealed;
use crate::meta::{Meta, Options};
use crate::namespace::Caller;
use crate::namespace::readdir::Entry;
use crate::namespace::rename::{Over, Place};
use std::path::Path;
use std::sync::Arc;

const ME: Caller = Caller { uid: 1, gid: 1 };

fn open(dir: &Path) -> Namespace {
    let opened = Meta::open(&dir.join("j"), &dir.join("c"), Options::default(), &Silent).unwrap();
    Namespace::open(Arc::new(opened.meta), ME).unwrap()
}

/// Every path that a view shows below `dir`, with the inode's content.
fn tree(view: View<'_>, dir: Ino, at: &str, out: &mut Vec<String>) {
    for entry in view.entries(dir).unwrap() {
        let inode = view.inode(entry.ino).unwrap().unwrap();
        let path = format!("{at}/{}", String::from_utf8(entry.name).unwrap());
        out.push(format!("{path} {:o} {:?}", inode.mode & 0o777, inode.content().and_then(Content::hot)));
        if inode.is_dir() {
            tree(view, inode.ino, &path, out);
        }
    }
}

fn seen(ns: &Namespace, id: SnapshotId, dir: Ino) -> Vec<String> {
    let mut out = Vec::new();
    tree(ns.view(id), dir, "", &mut out);
    out.sort();
    out
}

#[test]
fn a_snapshot_shows_the_moment_whatever_changes_after_it_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    let run = ns.mkdir(keys::ROOT, b"run", 0o755, ME).unwrap().ino;
    let sub = ns.mkdir(run, b"step_1", 0o755, ME).unwrap().ino;
    for (parent, name, hot) in [(run, "a", 11), (sub, "b", 12), (sub, "c", 13)] {
        ns.create(parent, name.as_bytes(), 0o644, ME, hot, false).unwrap();
    }
    let snapshot = ns.begin_snapshot(run, b"why".to_vec()).unwrap();
    let before = seen(&ns, snapshot.id, run);
    assert_eq!(before.len(), 4);

    let a = ns.lookup(run, b"a").unwrap().ino;
    ns.setattr(a, &crate::namespace::setattr::SetAttr { mode: Some(0o600), ..Default::default() }).unwrap();
    ns.unlink(sub, b"b", |_| false).unwrap();
    ns.rename(Place { parent: sub, name: b"c" }, Place { parent: run, name: b"a" }, Over::Replace).unwrap();
    ns.rmdir(run, b"step_1").unwrap();
    let late = ns.create(run, b"late", 0o644, ME, 14, false).unwrap();
    ns.unlink(run, b"late", |_| false).unwrap();
    assert!(late.ino >= snapshot.ino_limit);
    assert_eq!(seen(&ns, snapshot.id, run), before);
    assert!(ns.is_captured(12).unwrap(), "the hot file of an unlinked file is kept");
    assert!(!ns.is_captured(14).unwrap(), "one made after the moment is not");

    drop(ns);
    let ns = open(dir.path());
    assert_eq!(ns.snapshots(), std::slice::from_ref(&snapshot));
    assert_eq!(seen(&ns, snapshot.id, run), before, "as before after a kill");
    let (gone, _) = ns.end_snapshot(snapshot.id, Vec::new()).unwrap();
    assert_eq!(gone, [12]);
    assert!(!ns.is_captured(12).unwrap());
    assert!(ns.meta().scan(b"s", None, 9).unwrap().is_empty(), "nothing that was saved is left");
}

#[test]
fn a_captured_hot_file_stays_for_the_snapshot_that_still_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap();
    let first = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    let second = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    ns.unlink(keys::ROOT, b"a", |_| false).unwrap();
    let third = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    assert!(ns.end_snapshot(first.id, Vec::new()).unwrap().0.is_empty());
    assert_eq!(ns.end_snapshot(second.id, Vec::new()).unwrap().0, [11], "the third is younger than the loss");
    ns.end_snapshot(third.id, Vec::new()).unwrap();
}

#[test]
fn a_copy_takes_the_place_of_bytes_that_are_about_to_change() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    let a = ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap();
    assert!(!ns.is_in_snapshot(&a).unwrap());
    let snapshot = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    assert!(ns.is_in_snapshot(&a).unwrap());
    assert!(ns.redirect_snapshots(a.ino, 11, Content::Hot(12)).unwrap());
    assert!(!ns.is_in_snapshot(&a).unwrap(), "its bytes are elsewhere now");
    assert!(!ns.redirect_snapshots(a.ino, 11, Content::Hot(13)).unwrap(), "nothing needs this one");
    let content = |inode: Option<Inode>| inode.unwrap().content().copied();
    assert_eq!(content(ns.view(snapshot.id).inode(a.ino).unwrap()), Some(Content::Hot(12)));
    assert_eq!(content(ns.find(a.ino).unwrap()), Some(Content::Hot(11)));
    assert_eq!(ns.end_snapshot(snapshot.id, Vec::new()).unwrap().0, [12]);
}

#[test]
fn chunks_that_take_the_place_of_a_hot_file_bring_its_time_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    let a = ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap();
    let snapshot = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    let (id, written) = (crate::base::id::ChunkId([7; 32]), Time { secs: 5, nanos: 6 });
    let sealed = Sealed { id, size: 1, blocks: 8 };
    // As sealing does it: until now the hot file had the time of the last write.
    ns.set_content(a.ino, HotState::Cache, |inode| {
        inode.mtime = written;
        inode.body = Body::File(Content::Both(11, sealed));
        Ok(())
    })
    .unwrap();
    assert!(ns.redirect_snapshots(a.ino, 11, Content::Sealed(sealed)).unwrap());
    let seen = ns.view(snapshot.id).inode(a.ino).unwrap().unwrap();
    assert_eq!((seen.content(), seen.mtime), (Some(&Content::Sealed(sealed)), written));
    ns.end_snapshot(snapshot.id, Vec::new()).unwrap();
}

#[test]
fn every_snapshot_of_many_sees_its_own_moment_in_whatever_order_they_end() {
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let dir = tempfile::tempdir().unwrap();
        let ns = open(dir.path());
        let a = ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap().ino;
        let mode = |mode| crate::namespace::setattr::SetAttr { mode: Some(mode), ..Default::default() };
        let mut moments = Vec::new();
        for n in 0..4_u32 {
            moments.push((ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap().id, seen_now(&ns)));
            ns.create(keys::ROOT, format!("f{n}").as_bytes(), 0o644, ME, 20 + u64::from(n), false).unwrap();
            if n != 1 {
                ns.setattr(a, &mode(0o600 + n)).unwrap();
            }
            if n == 2 {
                ns.unlink(keys::ROOT, b"f0", |_| false).unwrap();
            }
        }
        for at in order {
            for (id, then) in &moments {
                if ns.snapshots().iter().any(|snapshot| snapshot.id == *id) {
                    assert_eq!(seen(&ns, *id, keys::ROOT), *then, "moment {id}, ending in order {order:?}");
                }
            }
            ns.end_snapshot(moments[at].0, Vec::new()).unwrap();
        }
        assert!(ns.meta().scan(b"s", None, 9).unwrap().is_empty());
    }
}

/// What a view of this moment has to show.
fn seen_now(ns: &Namespace) -> Vec<String> {
    let entries = ns.readdir(keys::ROOT, crate::namespace::readdir::After::Cookie(0), 100).unwrap();
    let describe = |entry: Entry| {
        let inode = ns.inode(entry.ino).unwrap();
        let name = String::from_utf8(entry.name).unwrap();
        format!("/{name} {:o} {:?}", inode.mode & 0o777, inode.content().and_then(Content::hot))
    };
    let mut all: Vec<String> = entries.into_iter().map(describe).collect();
    all.sort();
    all
}

#[test]
fn what_a_failed_change_was_to_save_is_saved_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    let a = ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap();
    let snapshot = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    let mut change = Change::new(&ns);
    change.put(a.clone());
    change.op(b"z".to_vec(), Some(vec![0; crate::journal::record::MAX_PAYLOAD_LEN]));
    change.commit(&mut ns.naming()).unwrap_err();
    let mode = crate::namespace::setattr::SetAttr { mode: Some(0o600), ..Default::default() };
    ns.setattr(a.ino, &mode).unwrap();
    assert_eq!(ns.view(snapshot.id).inode(a.ino).unwrap().unwrap().mode, a.mode);
}

#[test]
fn a_hot_file_that_a_failed_change_was_to_take_away_stays_when_the_moment_ends() {
    let dir = tempfile::tempdir().unwrap();
    let ns = open(dir.path());
    let a = ns.create(keys::ROOT, b"a", 0o644, ME, 11, false).unwrap();
    let snapshot = ns.begin_snapshot(keys::ROOT, Vec::new()).unwrap();
    let mut change = Change::new(&ns);
    change.erase(&a).unwrap();
    change.op(b"z".to_vec(), Some(vec![0; crate::journal::record::MAX_PAYLOAD_LEN]));
    change.commit(&mut ns.naming()).unwrap_err();
    assert!(ns.end_snapshot(snapshot.id, Vec::new()).unwrap().0.is_empty());
    assert_eq!(ns.find(a.ino).unwrap().unwrap().content(), Some(&Content::Hot(11)));
}
