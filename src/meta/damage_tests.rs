//! Torn tails, lost and damaged parts, power cuts: what is answered afterwards is what was committed, or an error.

use std::fs;
use std::path::Path;

use super::tests::*;
use super::*;
use crate::catalog::SledStore;
use crate::journal::{export, segment};

#[test]
fn a_tail_torn_at_any_byte_costs_the_last_commit_whole_and_only_that() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    put(&meta, "a", "old");
    let segment = last_segment(dir.path());
    put(&meta, "a", "new");
    let (whole, len) = (killed(dir.path()), 25 + 4 + 1 + 4 + 1 + 4 + 3);
    let name = segment.file_name().unwrap();
    let bytes = fs::read(whole.path().join("journal").join(name)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    for cut in end - len..end {
        let copy = killed(dir.path());
        fs::write(copy.path().join("journal").join(name), &bytes[..cut]).unwrap();
        let meta = meta_in(copy.path(), small(BOOT));
        assert_eq!(get(&meta, "a").as_deref(), Some("old"), "cut {} bytes before the end", end - cut);
        put(&meta, "a", "again");
        drop(meta);
        assert_eq!(get(&meta_in(copy.path(), small(BOOT)), "a").as_deref(), Some("again"));
    }
}

#[test]
fn a_lost_or_damaged_catalog_is_rebuilt_to_the_same_contents() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), exporting(BOOT));
    fill(&meta, 600);
    let before = all(&meta);
    meta.close().unwrap();
    drop(meta);
    let whole = killed(dir.path());
    assert!(
        segment::list(&whole.path().join("journal"), "log").unwrap()[0].first_seq > 1,
        "segments were deleted"
    );

    fs::remove_dir_all(dir.path().join("catalog")).unwrap();
    assert_eq!(all(&meta_in(dir.path(), small(BOOT))), before);
    let used = fs::read(whole.path().join("catalog/db")).unwrap();
    for at in (0..used.len()).step_by(used.len() / 25) {
        let copy = killed(whole.path());
        let mut bad = used.clone();
        bad[at] ^= 1;
        fs::write(copy.path().join("catalog/db"), bad).unwrap();
        let meta = meta_in(copy.path(), small(BOOT));
        match meta.scan(b"", None, usize::MAX) {
            Ok(found) => assert_eq!(found.into_iter().collect::<Model>(), before, "byte {at}"),
            Err(Error::Damaged { .. }) => {
                drop(meta);
                assert_eq!(all(&meta_in(copy.path(), small(BOOT))), before, "byte {at}, after the rebuild");
            }
            Err(error) => panic!("{error}"),
        }
        let left = fs::read_dir(copy.path()).unwrap().count();
        assert_eq!(left, 2, "what was set aside is gone");
    }
}

#[test]
fn either_export_can_be_lost_but_not_both_and_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), exporting(BOOT));
    fill(&meta, 600);
    let before = all(&meta);
    meta.close().unwrap();
    drop(meta);
    let exports = export::list(&dir.path().join("journal")).unwrap();
    assert_eq!(exports.len(), 2);
    for lost in [0, 1] {
        for damage in [None, Some(40)] {
            let copy = killed(dir.path());
            fs::remove_dir_all(copy.path().join("catalog")).unwrap();
            let path = copy.path().join("journal").join(exports[lost].path.file_name().unwrap());
            match damage {
                None => fs::remove_file(&path).unwrap(),
                Some(at) => {
                    let mut bytes = fs::read(&path).unwrap();
                    bytes[at] ^= 1;
                    fs::write(&path, bytes).unwrap();
                }
            }
            assert_eq!(all(&meta_in(copy.path(), small(BOOT))), before);
        }
    }
    for export in &exports {
        fs::remove_file(&export.path).unwrap();
    }
    // The catalog still has it all, and an export is made of it at the next occasion.
    let copy = killed(dir.path());
    assert_eq!(all(&meta_in(copy.path(), small(BOOT))), before);
    fs::remove_dir_all(dir.path().join("catalog")).unwrap();
    assert!(matches!(open_in(dir.path(), small(BOOT)), Err(Error::Damaged { .. })));
}

#[test]
fn a_lost_journal_is_damage_and_not_an_empty_store() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    put(&meta, "a", "1");
    meta.close().unwrap();
    drop(meta);
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    assert!(matches!(open_in(dir.path(), small(BOOT)), Err(Error::Damaged { .. })));
}

#[test]
fn after_a_power_cut_a_tentative_without_barrier_is_pending_until_its_undo_is_covered() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    let rename = |meta: &Meta, value: &str, note: &str| {
        let ops = vec![(b"name".to_vec(), Some(value.into()))];
        meta.commit(Batch { ops, note: Some(note.into()) }).unwrap()
    };
    let covered = rename(&meta, "1", "to nothing");
    meta.barrier(covered).unwrap();
    let open = rename(&meta, "2", "to 1");
    assert_eq!(meta.unsynced_notes(), vec![(open, b"to 1".to_vec())]);
    meta.sync().unwrap();
    let copy = killed(dir.path());
    drop(meta);

    // A kill undoes nothing, but the data is still to be made durable.
    let opened = open_in(dir.path(), small(BOOT)).unwrap();
    assert!(!opened.rebooted && opened.unclean && opened.pending.is_empty());
    assert_eq!(opened.meta.unsynced_notes(), vec![(open, b"to 1".to_vec())]);

    // A power cut, and another kill before the undo is committed.
    let first = open_in(copy.path(), small(NEXT_BOOT)).unwrap();
    assert!(first.rebooted && first.unclean);
    assert_eq!(first.pending, vec![(open, b"to 1".to_vec())]);
    drop(first);
    let second = open_in(copy.path(), small(NEXT_BOOT)).unwrap();
    assert!(second.rebooted);
    assert_eq!(second.pending, vec![(open, b"to 1".to_vec())]);
    put(&second.meta, "name", "1");
    second.meta.barrier(open).unwrap();
    drop(second);
    let third = open_in(copy.path(), small([3; 16])).unwrap();
    assert!(third.pending.is_empty());
    assert_eq!(get(&third.meta, "name").as_deref(), Some("1"));
}

#[test]
fn after_a_power_cut_the_catalog_is_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    fill(&meta, 100);
    let (before, copy) = (all(&meta), killed(dir.path()));
    let lie = SledStore::open(&copy.path().join("catalog")).unwrap();
    lie.apply(&[(b"lie", Some(b"1"))], None).unwrap();
    drop(lie);
    assert_eq!(all(&meta_in(copy.path(), small(NEXT_BOOT))), before);
}

/// A closed store whose journal has lost its last segment, with `a` put before it as 1 and in it as 2.
fn without_end() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for value in ["1", "2"] {
        let meta = meta_in(dir.path(), small(BOOT));
        put(&meta, "a", value);
        meta.close().unwrap();
    }
    let logs = segment::list(&dir.path().join("journal"), "log").unwrap();
    fs::remove_file(&logs.last().unwrap().path).unwrap();
    dir
}

#[test]
fn a_catalog_that_is_ahead_holds_what_the_journal_has_lost_at_its_end() {
    let dir = without_end();
    let (journal, catalog) = (dir.path().join("journal"), dir.path().join("catalog"));
    let found = super::examine::examine(&journal, &catalog).unwrap();
    assert!(found.len() == 1 && found[0].what.contains("only the catalog holds them"), "{found:?}");
    assert_eq!(get(&meta_in(dir.path(), small(BOOT)), "a").as_deref(), Some("2"));
    // It is exported at once: the catalog is an index again.
    fs::remove_dir_all(catalog).unwrap();
    assert_eq!(get(&meta_in(dir.path(), small(BOOT)), "a").as_deref(), Some("2"));
}

#[test]
fn damage_met_while_running_is_remembered_for_the_next_open() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    put(&meta, "a", "1");
    let met = meta.shared.checked::<()>(Err(Error::damaged(Path::new("catalog"), "a value")));
    assert!(met.is_err() && meta.status().unwrap().needs_rebuild);
    meta.close().unwrap();
    drop(meta);
    let lie = SledStore::open(&dir.path().join("catalog")).unwrap();
    lie.apply(&[(b"a", Some(b"2"))], None).unwrap();
    drop(lie);
    let meta = meta_in(dir.path(), small(BOOT));
    assert_eq!(get(&meta, "a").as_deref(), Some("1"));
    assert!(!meta.status().unwrap().needs_rebuild);
}
