//! What a user of [`Meta`] relies on, over kills (a copy of the folder) and reopens.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::base::monitor::Silent;
use crate::journal::{BootId, segment};

pub(super) const BOOT: BootId = [1; 16];
pub(super) const NEXT_BOOT: BootId = [2; 16];

pub(super) type Model = BTreeMap<Vec<u8>, Vec<u8>>;

/// Small bounds, so that a short test rolls segments; checkpoints only when `overlay_entries` are reached.
pub(super) fn small(boot: BootId) -> Options {
    Options {
        segment_bytes: 4096,
        overlay_entries: 40,
        overlay_bytes: 1 << 20,
        checkpoint_after: Duration::from_secs(3600),
        export_after_bytes: u64::MAX,
        boot: Some(boot),
    }
}

pub(super) fn exporting(boot: BootId) -> Options {
    Options { export_after_bytes: 2000, ..small(boot) }
}

pub(super) fn open_in(dir: &Path, options: Options) -> Result<Opened> {
    Meta::open(&dir.join("journal"), &dir.join("catalog"), options, &Silent)
}

pub(super) fn meta_in(dir: &Path, options: Options) -> Meta {
    open_in(dir, options).unwrap().meta
}

pub(super) fn put(meta: &Meta, key: &str, value: &str) -> u64 {
    meta.commit(Batch { ops: vec![(key.into(), Some(value.into()))], note: None }).unwrap()
}

pub(super) fn get(meta: &Meta, key: &str) -> Option<String> {
    meta.get(key.as_bytes()).unwrap().map(|value| String::from_utf8(value).unwrap())
}

pub(super) fn all(meta: &Meta) -> Model {
    meta.scan(b"", None, usize::MAX).unwrap().into_iter().collect()
}

/// What a kill at this moment leaves.
pub(super) fn killed(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for folder in ["catalog", "catalog/blobs", "journal"] {
        fs::create_dir_all(copy.path().join(folder)).unwrap();
        let Ok(entries) = fs::read_dir(dir.join(folder)) else { continue };
        for entry in entries.map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_file())
        {
            if entry.path().extension().is_none_or(|extension| extension != "tmp") {
                fs::copy(entry.path(), copy.path().join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    copy
}

/// Commits `count` numbered keys, some overwritten, some deleted, checkpoint by checkpoint.
pub(super) fn fill(meta: &Meta, count: u64) {
    for number in 0..count {
        put(meta, &format!("key {:03}", number % 300), &format!("value {number}"));
        if number % 7 == 0 {
            let key = format!("key {:03}", (number / 2) % 300).into_bytes();
            meta.commit(Batch { ops: vec![(key, None)], note: None }).unwrap();
        }
        if number % 41 == 40 {
            meta.wait_for_checkpoint_if_full();
        }
    }
}

pub(super) fn last_segment(dir: &Path) -> PathBuf {
    segment::list(&dir.join("journal"), "log").unwrap().pop().unwrap().path
}

#[test]
fn what_was_committed_is_seen_at_once_and_after_a_clean_close() {
    let dir = tempfile::tempdir().unwrap();
    let opened = open_in(dir.path(), small(BOOT)).unwrap();
    assert!(!opened.rebooted && !opened.unclean && opened.pending.is_empty());
    let meta = opened.meta;
    put(&meta, "a", "1");
    put(&meta, "b", "2");
    meta.commit(Batch { ops: vec![(b"a".to_vec(), None), (b"c".to_vec(), Some(vec![]))], note: None })
        .unwrap();
    assert_eq!(
        (get(&meta, "a"), get(&meta, "b"), get(&meta, "c")),
        (None, Some("2".into()), Some(String::new()))
    );
    let before = all(&meta);
    meta.close().unwrap();
    drop(meta);

    let opened = open_in(dir.path(), small(NEXT_BOOT)).unwrap();
    assert!(!opened.rebooted && !opened.unclean);
    assert_eq!(all(&opened.meta), before);
    assert_eq!(opened.meta.status().unwrap().overlay_entries, 0);
}

#[test]
fn a_scan_merges_all_layers_and_passes_over_many_deletions() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    fill(&meta, 200);
    for number in 0..150 {
        let key = format!("key {number:03}").into_bytes();
        meta.commit(Batch { ops: vec![(key, None)], note: None }).unwrap();
    }
    put(&meta, "key 005x", "new");
    let found = meta.scan(b"key ", Some(b"key 004"), 2).unwrap();
    assert_eq!(found[0], (b"key 005x".to_vec(), b"new".to_vec()));
    assert_eq!(found[1].0, b"key 150".to_vec());
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    let mut model = Model::new();
    for number in 0..240u32 {
        let key = format!("key {}", number * 7 % 50);
        let value = if number % 5 == 4 { None } else { Some(number.to_be_bytes().to_vec()) };
        match &value {
            Some(value) => model.insert(key.clone().into(), value.clone()),
            None => model.remove(key.as_bytes()),
        };
        meta.commit(Batch { ops: vec![(key.into(), value)], note: None }).unwrap();
        if number % 12 == 0 {
            let copy = killed(dir.path());
            let opened = open_in(copy.path(), small(BOOT)).unwrap();
            assert!(opened.unclean && !opened.rebooted);
            assert_eq!(all(&opened.meta), model, "after {number}");
        }
    }
}

#[test]
fn after_a_failed_fdatasync_reads_go_on_and_commits_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    put(&meta, "a", "1");
    meta.shared.journal.break_disk();
    assert!(meta.sync().is_err());
    let refused = meta.commit(Batch::default()).unwrap_err();
    assert_eq!(refused.errno(), libc::EROFS);
    assert_eq!(get(&meta, "a").as_deref(), Some("1"));
    assert!(meta.status().unwrap().poisoned.is_some());
    assert!(meta.close().is_err());
}

#[test]
fn memory_stays_in_its_bound_while_commits_outrun_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), Options { segment_bytes: 1 << 20, ..small(BOOT) });
    let mut most = 0;
    for number in 0..3000 {
        put(&meta, &format!("{number}"), "x");
        most = most.max(meta.shared.overlay.load().entries);
    }
    assert!(most <= 4 * 40 + 1, "{most}");
    assert_eq!(all(&meta).len(), 3000);
}

#[test]
fn what_is_made_and_deleted_between_checkpoints_never_reaches_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), small(BOOT));
    put(&meta, "shard.tmp", "1");
    meta.commit(Batch { ops: vec![(b"shard.tmp".to_vec(), None)], note: None }).unwrap();
    let frozen = meta.shared.overlay.freeze().unwrap();
    meta.shared.write_down(&frozen).unwrap();
    assert_eq!(meta.shared.store.get(b"shard.tmp").unwrap(), None);
    assert_eq!(meta.status().unwrap().catalog_position, meta.last_seq());
}

#[test]
fn readers_and_writers_at_the_same_time_see_whole_commits_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), exporting(BOOT));
    let value = |number: u32| Some(number.to_be_bytes().to_vec());
    meta.commit(Batch { ops: vec![(b"still".to_vec(), value(7))], note: None }).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 0..1500u32 {
                let other = format!("other {}", number % 90).into_bytes();
                meta.commit(Batch {
                    ops: vec![(b"n".to_vec(), value(number)), (other, value(number))],
                    note: None,
                })
                .unwrap();
            }
        });
        let mut last = None;
        while !writer.is_finished() {
            let now = meta.get(b"n").unwrap();
            assert!(now >= last, "a commit was seen and then not");
            last = now;
            assert_eq!(meta.scan(b"still", None, 9).unwrap().len(), 1);
            meta.sync().unwrap();
        }
    });
    assert_eq!(all(&meta).len(), 92);
}

#[test]
fn a_commit_does_not_wait_longer_than_its_time_for_the_catalog() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta_in(dir.path(), Options { checkpoint_after: Duration::from_millis(20), ..small(BOOT) });
    put(&meta, "a", "1");
    while meta.status().unwrap().overlay_entries > 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(meta.status().unwrap().catalog_position, meta.last_seq());
    assert_eq!(get(&meta, "a").as_deref(), Some("1"));
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<(Vec<u8>, Option<Vec<u8>>)>),
    Sync,
    Checkpoint,
    Close,
    Kill,
    LoseCatalog,
}

fn step() -> impl Strategy<Value = Step> {
    let key = proptest::collection::vec(0u8..3, 0..4);
    let value = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
    prop_oneof![
        20 => proptest::collection::vec((key, value), 0..6).prop_map(Step::Commit),
        2 => Just(Step::Sync),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => Just(Step::LoseCatalog),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn it_behaves_as_a_map_over_reopens(steps in proptest::collection::vec(step(), 1..60),
        prefix in proptest::collection::vec(0u8..3, 0..2), after in proptest::collection::vec(0u8..3, 0..3),
        limit in 0usize..30)
    {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        let options = || Options { overlay_entries: 8, export_after_bytes: 500, ..small(BOOT) };
        let mut meta = meta_in(dir.path(), options());
        for step in steps {
            match step {
                Step::Commit(ops) => {
                    for (key, value) in &ops {
                        match value {
                            Some(value) => model.insert(key.clone(), value.clone()),
                            None => model.remove(key),
                        };
                    }
                    let seq = meta.commit(Batch { ops, note: None }).unwrap();
                    prop_assert_eq!(seq, meta.last_seq());
                }
                Step::Sync => prop_assert_eq!(meta.sync().unwrap(), meta.last_seq()),
                Step::Checkpoint => meta.wait_for_checkpoint_if_full(),
                Step::Close => {
                    meta.close().unwrap();
                    drop(meta);
                    meta = meta_in(dir.path(), options());
                }
                Step::Kill => {
                    drop(meta);
                    meta = meta_in(dir.path(), options());
                }
                Step::LoseCatalog => {
                    drop(meta);
                    fs::remove_dir_all(dir.path().join("catalog")).unwrap();
                    meta = meta_in(dir.path(), options());
                }
            }
            let expected: Vec<Pair> = model
                .iter()
                .filter(|(key, _)| key.starts_with(&prefix) && **key > after)
                .take(limit)
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            prop_assert_eq!(meta.scan(&prefix, Some(&after), limit).unwrap(), expected);
            prop_assert_eq!(meta.get(&after).unwrap(), model.get(&after).cloned());
        }
        prop_assert_eq!(all(&meta), model);
    }
}
