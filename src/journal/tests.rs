//! What must be true of a journal on the disk: after kills, power cuts and damage.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::segment::{self, SEGMENT_HEADER_LEN};
use super::*;
use crate::base::{Error, Result};

const BOOT: BootId = [1; 16];
const NEXT_BOOT: BootId = [2; 16];

fn body(number: u64) -> Body {
    Body::Batch { ops: vec![(number.to_be_bytes().to_vec(), Some(vec![3; 100]))] }
}

fn records(dir: &Path, boot: BootId, covered: u64) -> Result<(Scan, Vec<Record>)> {
    let mut seen = Vec::new();
    let found = scan(dir, &boot, &mut || Ok(covered), &mut |record| {
        seen.push(record);
        Ok(())
    })?;
    Ok((found, seen))
}

/// A journal with `count` records in segments of 4 KiB (about 27 records each).
fn filled(dir: &Path, count: u64) -> Journal {
    let journal = Journal::open(dir, &Scan::default(), 1, BOOT, 4096).unwrap();
    for number in 1..=count {
        assert_eq!(journal.append(body(number).encode().unwrap()).unwrap(), number);
    }
    journal
}

#[test]
fn records_survive_a_kill_across_segments_and_the_next_open_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 100));
    let (found, seen) = records(dir.path(), BOOT, 0).unwrap();
    assert_eq!((found.last_seq, found.contiguous_from, found.boot), (100, 1, Some(BOOT)));
    assert!(found.segments > 3 && seen.len() == 100 && seen[41].body == body(42));

    let journal = Journal::open(dir.path(), &found, 101, NEXT_BOOT, 4096).unwrap();
    journal.append(Body::Closed.encode().unwrap()).unwrap();
    drop(journal);
    let (found, _) = records(dir.path(), NEXT_BOOT, 0).unwrap();
    assert_eq!((found.last_seq, found.closed, found.boot), (101, true, Some(NEXT_BOOT)));
}

#[test]
fn a_tail_torn_at_any_byte_of_the_last_record_costs_that_record_only() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 5));
    let path = segment::path_of(dir.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (found, seen) = records(dir.path(), BOOT, 0).unwrap();
    let end = found.tail.unwrap().1 as usize;
    for at in end - seen[4].len..end {
        let mut torn = whole.clone();
        torn[at..].fill(0);
        fs::write(&path, &torn).unwrap();
        let (found, _) = records(dir.path(), BOOT, 0).unwrap();
        // Zeroing only zero bytes of the record tears nothing.
        let last = if torn == whole { 5 } else { 4 };
        assert_eq!(found.last_seq, last, "torn at {at}");
        fs::write(&path, &whole[..at]).unwrap();
        assert_eq!(records(dir.path(), BOOT, 0).unwrap().0.last_seq, 4, "cut at {at}");
    }
}

#[test]
fn stale_bytes_behind_a_torn_record_are_never_read_again() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 5));
    let path = segment::path_of(dir.path(), 1);
    let (_, seen) = records(dir.path(), BOOT, 0).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[SEGMENT_HEADER_LEN + 2 * seen[0].len + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Rebooted, and nothing said that records 3 to 5 were durable: they end the journal.
    let (found, _) = records(dir.path(), NEXT_BOOT, 0).unwrap();
    assert_eq!(found.last_seq, 2);
    drop(Journal::open(dir.path(), &found, 3, NEXT_BOOT, 4096).unwrap());
    assert_eq!(records(dir.path(), NEXT_BOOT, 0).unwrap().0.last_seq, 2);
    // In the boot that wrote them it is damage.
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(records(dir.path(), BOOT, 0), Err(Error::Damaged { .. })));
}

#[test]
fn the_loss_of_a_durable_record_is_damage_unless_an_export_covers_it() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path(), 5);
    assert_eq!(journal.sync().unwrap(), 5);
    journal.append(body(6).encode().unwrap()).unwrap();
    drop(journal);
    let path = segment::path_of(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes[SEGMENT_HEADER_LEN + 30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let refused = records(dir.path(), NEXT_BOOT, 0);
    assert!(
        matches!(&refused, Err(Error::Damaged { what, .. }) if what.contains("offset 48")),
        "{refused:?}"
    );
    let (found, _) = records(dir.path(), NEXT_BOOT, 1).unwrap();
    assert_eq!((found.last_seq, found.contiguous_from), (6, 2));
}

#[test]
fn damage_in_an_earlier_segment_is_damage_in_any_boot() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 100));
    let second = segment::list(dir.path(), "log").unwrap()[1].clone();
    let whole = fs::read(&second.path).unwrap();
    for at in [0, 20, 60, 200, whole.len() - 1] {
        let mut bad = whole.clone();
        bad[at] ^= 4;
        fs::write(&second.path, &bad).unwrap();
        let refused = records(dir.path(), NEXT_BOOT, 0);
        assert!(matches!(refused, Err(Error::Damaged { .. })), "byte {at}: {refused:?}");
        assert_eq!(records(dir.path(), NEXT_BOOT, 99).unwrap().0.last_seq, 100, "byte {at}");
    }
    fs::remove_file(&second.path).unwrap();
    assert!(matches!(records(dir.path(), NEXT_BOOT, 0), Err(Error::Damaged { .. })));
}

#[test]
fn callers_of_sync_at_the_same_time_share_fdatasyncs() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path(), &Scan::default(), 1, BOOT, 16 << 20).unwrap();
    std::thread::scope(|scope| {
        // While this is held no fdatasync begins, so that all callers wait.
        let held = journal.hold_syncs();
        for number in 0..8 {
            journal.append(body(number).encode().unwrap()).unwrap();
        }
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(journal.sync().unwrap(), 8));
        }
        drop(held);
    });
    assert_eq!(journal.syncs(), 1);
    journal.sync().unwrap();
    assert_eq!(journal.syncs(), 1, "nothing new, nothing to make durable");
}

#[test]
fn a_failed_fdatasync_ends_all_writing_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path(), 3);
    journal.break_disk();
    assert!(matches!(journal.sync(), Err(Error::Io { .. })));
    assert!(matches!(journal.append(body(4).encode().unwrap()), Err(Error::Poisoned(_))));
    assert!(matches!(journal.sync(), Err(Error::Poisoned(_))));
    assert_eq!(journal.durable_seq(), 0);
}

#[test]
fn only_whole_segments_before_the_position_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let journal = filled(dir.path(), 100);
    let before = segment::list(dir.path(), "log").unwrap();
    journal.delete_upto(before[2].first_seq).unwrap();
    assert_eq!(segment::list(dir.path(), "log").unwrap(), before[2..]);
    journal.delete_upto(u64::MAX).unwrap();
    assert_eq!(segment::list(dir.path(), "log").unwrap(), before[before.len() - 1..]);
    assert_eq!(records(dir.path(), BOOT, 0).unwrap().0.last_seq, 100);
}

#[test]
fn the_boot_stays_the_same_while_the_machine_is_up() {
    let boot = current_boot().unwrap();
    assert_ne!(boot, [0; 16]);
    assert_eq!(boot, current_boot().unwrap());
}

#[test]
fn a_spare_is_ready_and_leaves_no_file_behind() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 100));
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.iter().all(|path| path.extension().is_some_and(|found| found == "log")), "{left:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_bytes_anywhere_never_change_or_silently_cost_a_record(
        at in 0.0f64..1.0, len in 1usize..600, with in any::<u8>(), segment in 0usize..4)
    {
        let dir = tempfile::tempdir().unwrap();
        drop(filled(dir.path(), 100));
        let (_, good) = records(dir.path(), BOOT, 0).unwrap();
        let path = segment::list(dir.path(), "log").unwrap()[segment].path.clone();
        let mut bytes = fs::read(&path).unwrap();
        let from = (at * bytes.len() as f64) as usize;
        let to = (from + len).min(bytes.len());
        bytes[from..to].iter_mut().for_each(|byte| *byte ^= with);
        fs::write(&path, &bytes).unwrap();
        match records(dir.path(), BOOT, 0) {
            // Only the end of the last segment can be taken for a torn write.
            Ok((found, seen)) => {
                let in_last = segment == 3;
                prop_assert!(seen.len() == 100 || in_last, "{} of 100", seen.len());
                prop_assert_eq!(&seen[..], &good[..seen.len()]);
                prop_assert_eq!(found.last_seq, seen.len() as u64);
            }
            Err(error) => prop_assert!(matches!(error, Error::Damaged { .. } | Error::Refused(_)), "{error}"),
        }
    }
}
