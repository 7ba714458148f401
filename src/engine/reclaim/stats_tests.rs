//! Figures of a real store: they add up, and what a version would free is what reclaiming frees.

use super::super::inspect::{Rows, Stats};
use super::super::world::{LEN, ME, World, npy, open};
use super::*;
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};
use crate::codec::{Codec, Encoding};
use crate::content::tree::Body;
use crate::seal::stored;
use crate::version::trees::Trees;

/// Room for a file of a few hundred kB that compresses, and its parts.
fn text(stamp: u32) -> Vec<u8> {
    (0..20_000).flat_map(|line| format!("step {line} loss 0.{stamp}\n").into_bytes()).collect()
}

impl World {
    fn stats(&self, run: Option<RunId>) -> Stats {
        let stats = self.engine.stats(run.map_or(Rows::Runs, Rows::Of), &Silent).unwrap();
        assert_eq!(stats.damaged, 0);
        assert_eq!(stats.savings.sum(), i128::from(stats.savings.packs_bytes), "{stats:?}");
        assert_eq!(stats.savings.packs_bytes, self.stored());
        let disk = stats.disk;
        let parts = disk.packs_bytes + disk.index_bytes + disk.journal_bytes + disk.catalog_bytes;
        assert_eq!(disk.total_bytes, parts + disk.hot_bytes + disk.other_bytes);
        stats
    }

    /// The chunks of `model.npy` in a version.
    fn chunks(&self, version: &Version) -> Vec<ChunkId> {
        let trees = Trees::new(&self.engine.packs);
        let top = trees.top(&version.tree).unwrap();
        let entry = trees.walk(top, &[b"model.npy".to_vec()]).unwrap().unwrap();
        let Body::File { content, .. } = entry.body else { panic!("a file") };
        stored::load(&self.engine.packs, &content).unwrap().ids().collect()
    }

    /// Stores the chunks of one version as a tenth of what they were, as if they differed so much from another's.
    fn make_deltas(&self, of: &Version, on: &Version) {
        let mut batch = self.engine.packs.writer().unwrap();
        // The header of the format is the same chunk in both.
        for (id, base) in self.chunks(of).into_iter().zip(self.chunks(on)).filter(|(id, base)| id != base) {
            let raw = self.engine.packs.head(&id).unwrap().raw_len as usize;
            let encoding = Encoding { width: 4, base: Some(base), ..Encoding::plain(Codec::Delta) };
            assert!(batch.put_delta(id, encoding, raw, &vec![7; raw / 10]).unwrap());
        }
        batch.finish().unwrap();
    }

    fn shares(&self, dir: Ino) -> Vec<crate::inspect::Share> {
        let run = self.engine.run_at(dir).unwrap().0;
        self.stats(Some(run)).versions.into_iter().map(|(.., share)| share).collect()
    }
}

#[test]
fn what_saved_the_bytes_is_told_and_adds_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    assert_eq!(world.stats(None).savings, crate::inspect::Savings::default(), "an empty store");
    let run = world.engine.names().mkdir(ROOT, b"run", 0o755, ME).unwrap().ino;
    world.save(run, "frozen.npy", &npy(1000, LEN));
    world.save(run, "zeros.bin", &vec![7; LEN]);
    world.save(run, "log.txt", &text(1));
    // Noise of no format.
    let noise = |stamp| npy(stamp, LEN).split_off(128);
    world.save(run, "noise.bin", &noise(3000));
    let (id, _) = world.checkpoint(run, 1, LEN);
    world.checkpoint(run, 2, LEN);
    // Where no versions are made: two equal files, and one that versions have, too.
    for name in ["alone", "alone2"] {
        world.save(ROOT, name, &noise(2000));
    }
    world.save(ROOT, "copy", &noise(3000));
    world.engine.seal_all(&Silent).unwrap();
    assert_eq!((world.engine.run_at(ROOT), world.versions(run).len()), (None, 2));

    let before = world.stats(None);
    let saved = before.savings;
    let (frozen, log, model) = (npy(1000, LEN).len() as u64, text(1).len() as u64, npy(1, LEN).len() as u64);
    let len = LEN as u64;
    let version = frozen + len + log + len + model;
    assert_eq!(saved.logical_bytes, 2 * version + 2 * len, "{saved:?}");
    // Headers of the format are chunks of their own, and equal, too.
    let most = frozen + len + log + len + len;
    assert!(saved.dedup_bytes >= most && saved.dedup_bytes < most + 1024, "{saved:?}");
    assert!(saved.constant_bytes > len * 9 / 10 && saved.constant_bytes <= len, "{saved:?}");
    assert!(saved.zstd_bytes > log / 2, "{saved:?}");
    assert_eq!((saved.delta_bytes, saved.lost_bytes, saved.bases_bytes), (0, 0, 0));
    assert_eq!((before.runs.len(), before.runs[0].run), (1, id));
    assert_eq!(before.runs[0].share.logical_bytes, 2 * version);

    let versions = world.versions(run);
    world.make_deltas(&versions[1], &versions[0]);
    let after = world.stats(None).savings;
    assert!(after.delta_bytes >= model * 8 / 10, "{after:?}");
    assert!(after.garbage_bytes >= len, "the copies that they replace: {after:?}");
    assert_eq!((after.logical_bytes, after.dedup_bytes), (saved.logical_bytes, saved.dedup_bytes));
    drop(world.workers);
}

#[test]
fn what_a_version_would_free_is_what_comes_back_without_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.engine.set_policy("undelete_ttl", "0s").unwrap();
    world.save(ROOT, "frozen.npy", &npy(1000, LEN));
    let run = world.checkpoint(ROOT, 1, LEN).0;
    for stamp in 2..=4 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    let versions = world.versions(ROOT);
    // The second and the third rely on the first; the fourth is a file now.
    for of in [1, 2] {
        world.make_deltas(&versions[of], &versions[0]);
    }
    world.engine.reclaim(&Silent).unwrap();
    let model = LEN as u64;
    let shares = world.shares(ROOT);
    let part = |bytes: u64, share: f64| (bytes as f64 / model as f64 - share).abs() < 0.02;
    let told = |at: usize| (shares[at].unique_bytes, shares[at].would_free_bytes);
    assert!(part(told(0).0, 1.0) && part(told(0).1, 0.0), "{shares:?}");
    assert!(part(told(1).0, 0.1) && part(told(1).1, 0.1), "{shares:?}");
    assert!(part(told(3).0, 0.0), "{shares:?}");
    assert!(shares.iter().all(|share| part(share.referenced_bytes, 2.0)), "{shares:?}");
    let free = |number: u32, told: u64| {
        world.engine.expire_version(run, number, true, "by hand").unwrap();
        let before = world.stored();
        world.engine.reclaim(&Silent).unwrap();
        let freed = before - world.stored();
        assert!(freed.abs_diff(told) < model / 50, "{number}: {freed} bytes came back, {told} were told");
    };
    free(1, told(0).1);
    let bases = world.stats(None).savings.bases_bytes;
    assert!(part(bases, 1.0), "{bases}");
    free(2, told(1).1);
    // Now the third alone keeps the base.
    let last = world.shares(ROOT)[0];
    assert!(part(last.unique_bytes, 0.1) && part(last.would_free_bytes, 1.1), "{last:?}");
    free(3, last.would_free_bytes);
    assert_eq!(world.stats(None).savings.bases_bytes, 0);
    drop(world.workers);
}

#[test]
fn of_two_runs_each_is_told_what_it_alone_has_and_a_tree_that_cannot_be_read_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let [one, two] =
        ["one", "two"].map(|name| world.engine.names().mkdir(ROOT, name.as_bytes(), 0o755, ME).unwrap().ino);
    for run in [one, two] {
        world.checkpoint(run, 1, LEN);
        world.checkpoint(run, 2 + run as u32, LEN);
    }
    let stats = world.stats(None);
    let model = LEN as u64;
    for share in stats.runs.iter().map(|of| of.share) {
        assert_eq!(share.logical_bytes, 2 * npy(1, LEN).len() as u64);
        // The file that is there now has the newest, and both runs the first: nothing but trees is a run's own.
        assert!(share.stored_bytes > 2 * model && share.unique_bytes < model / 20, "{share:?}");
    }
    world.engine.unlink(one, b"model.npy").unwrap();
    let id = world.engine.run_at(one).unwrap().0;
    let share = |stats: Stats| stats.runs.into_iter().find(|of| of.run == id).unwrap().share;
    assert!(share(world.stats(None)).would_free_bytes > model);
    let versions = world.shares(one);
    assert!(versions[0].unique_bytes < model / 20 && versions[1].unique_bytes > model, "{versions:?}");
    // The tree of a version is damaged: the rest is told all the same.
    let tree = world.versions(one)[0].tree;
    let pack = world.engine.packs.packs().into_iter().find_map(|(number, _)| {
        let entries = world.engine.packs.entries(number).unwrap();
        let entry = entries.into_iter().find(|entry| entry.id == tree)?;
        Some((number, entry))
    });
    let (number, entry) = pack.unwrap();
    let path = dir.path().join("packs").join(crate::pack::writer::pack_name(number));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[(entry.offset + entry.len) as usize - 1] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let stats = world.engine.stats(Rows::Runs, &Silent).unwrap();
    assert_eq!((stats.damaged, stats.savings.sum()), (1, i128::from(stats.savings.packs_bytes)));
    drop(world.workers);
}
