//! A disk that runs full, for real: a small tmpfs.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::super::super::world::{World, npy, open_with, options};
use super::*;
use crate::catalog::keys::ROOT;

const LEN: usize = 3 << 20;

/// A tmpfs that is unmounted at the end.
struct Disk(tempfile::TempDir);

impl Disk {
    /// `None` without the right to mount.
    fn new(mib: u32) -> Option<Disk> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={mib}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Disk(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.path()).status().unwrap().success());
    }
}

fn wait_for(world: &World, what: impl Fn(&Pressure) -> bool) -> Pressure {
    let began = Instant::now();
    loop {
        world.engine.reclaim.wake_pressure.now();
        let pressure = world.engine.pressure();
        if what(&pressure) {
            return pressure;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{pressure:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A file that takes all but `left` bytes of the disk.
fn fill(disk: &Disk, world: &World, left: u64) {
    world.engine.drop_hot_copies().unwrap();
    let free = world.engine.store_space().unwrap().free;
    std::fs::write(disk.path().join("filler"), vec![1; (free - left) as usize]).unwrap();
}

#[test]
fn as_few_versions_as_needed_go_and_never_pins_or_the_newest_two() {
    let Some(disk) = Disk::new(256) else { return };
    let store = disk.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let world = open_with(&store, options(20 << 20));
    world.engine.set_policy("max_to_keep", "0").unwrap();
    for stamp in 1..=12 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    let (run, _) = world.engine.run_at(ROOT).unwrap();
    let pin = |version: &mut Version| {
        version.pinned = true;
        Ok(())
    };
    world.engine.change_version(run, 1, pin).unwrap();
    assert!(!world.engine.pressure().active);
    // 8 MiB are missing: three versions, or fewer where something else gives space back meanwhile.
    fill(&disk, &world, 12 << 20);
    let pressure = wait_for(&world, |pressure| !pressure.active && pressure.versions > 0);
    assert_eq!(pressure.gave_up_because, None);
    let left: Vec<u32> = world.versions(ROOT).iter().map(|one| one.number).collect();
    let gone = 12 - left.len();
    assert!((1..=3).contains(&gone), "{left:?}");
    let expected: Vec<u32> = std::iter::once(1).chain(2 + gone as u32..=12).collect();
    assert_eq!(left, expected, "the oldest that is not pinned goes first");
    assert!(world.engine.store_space().unwrap().free >= 20 << 20);
    for version in world.versions(ROOT) {
        assert_eq!(world.read(&version, "model.npy"), npy(version.number, LEN));
    }
    let report = world.engine.report_status().unwrap();
    assert!(
        report.pressure.what_it_did.is_some_and(|what| what.contains(&format!("expired {gone} version")))
    );
    // More than all of history, also where only one version had to go before: what may go goes, and it says that that is all.
    for number in 8..=10 {
        world.engine.change_version(run, number, pin).unwrap();
    }
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    fill(&disk, &world, 1 << 20);
    let pressure = wait_for(&world, |pressure| pressure.active && pressure.gave_up_because.is_some());
    assert!(pressure.gave_up_because.is_some_and(|why| !why.is_empty()));
    let left: Vec<u32> = world.versions(ROOT).iter().map(|one| one.number).collect();
    assert_eq!(left, [1, 8, 9, 10, 11, 12]);
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    wait_for(&world, |pressure| !pressure.active);
    drop(world.workers);
}

#[test]
fn no_history_goes_where_the_store_is_not_what_fills_the_disk() {
    let Some(disk) = Disk::new(256) else { return };
    let store = disk.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let world = open_with(&store, options(60 << 20));
    world.engine.set_policy("max_to_keep", "0").unwrap();
    for stamp in 1..=6 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    fill(&disk, &world, 20 << 20);
    let pressure = wait_for(&world, |pressure| pressure.gave_up_because.is_some());
    assert!(pressure.active && pressure.gave_up_because.is_some_and(|why| why.contains("something else")));
    assert_eq!((world.versions(ROOT).len(), pressure.versions), (6, 0));
    drop(world.workers);
}

#[test]
fn only_so_many_are_taken_as_seem_to_be_needed() {
    let victims: Vec<Victim> =
        [10, 0, 20, 30].map(|new_bytes| Victim { run: 1, number: 1, new_bytes }).into_iter().collect();
    assert_eq!([1, 10, 11, 30, 31, 1000].map(|missing| few(&victims, missing)), [1, 1, 3, 3, 4, 4]);
    assert_eq!(few(&[], 5), 0);
}
