//! Small files that a checkpoint cannot be loaded without, found empty beside it.
//!
//! Such a file is opened with O_TRUNC and written at once, so it is only seen empty where its writer was killed in between:
//! what was saved cannot be loaded from there, however whole the weights are. Other empty files say nothing.

use std::collections::BTreeSet;

use super::super::Engine;
use super::judge::ThenSiblings;
use super::walk::Walk;
use crate::base::Result;
use crate::catalog::keys::Ino;
use crate::formats::Siblings;

/// In the folder of the weights: what transformers, PEFT, Accelerate and Keras' BackupAndRestore read with them. An ending
/// such as `.bin` alone would say too little.
const BESIDE: &[&[u8]] = &[
    b"config.json",
    b"adapter_config.json",
    b"model.safetensors.index.json",
    b"pytorch_model.bin.index.json",
    b"training_metadata.json",
    b"pytorch_model.bin",
    b"adapter_model.bin",
    b"optimizer.bin",
    b"scheduler.bin",
    b"random_states_0.pkl",
];
/// In that folder or the one above it: which checkpoint is the newest, for DeepSpeed, Megatron, TensorFlow, and for
/// detectron2 and mmengine.
const POINTERS: &[&[u8]] =
    &[b"latest", b"latest_checkpointed_iteration.txt", b"checkpoint", b"last_checkpoint"];
/// What NeMo adds to the name of a checkpoint for that of a file that is there as long as it is being written.
const UNFINISHED: &[u8] = b"-unfinished";
/// What that file's name lacks of the checkpoint's.
const ENDINGS: &[&[u8]] = &[b".ckpt", b".nemo", b"-EMA"];

impl Walk<'_> {
    /// The files that are empty and may not be, beside what is new in the version or above it.
    pub(super) fn blank_files(&self) -> Result<Vec<String>> {
        let dirs: BTreeSet<(Ino, bool)> =
            self.new.iter().map(|file| (file.dir, file.path.len() > 1)).collect();
        let mut found = BTreeSet::new();
        for (dir, in_run) in dirs {
            self.look_for_empty(dir, &[BESIDE, POINTERS], &mut found)?;
            let above = self.view.inode(dir)?.and_then(|inode| inode.home).filter(|_| in_run);
            if let Some(home) = above {
                self.look_for_empty(home.parent, &[POINTERS], &mut found)?;
            }
        }
        Ok(found.into_iter().map(|name| format!("{}: is empty", String::from_utf8_lossy(name))).collect())
    }

    /// Files that say of something new in the version, or of a folder that it lies in, that it is not finished.
    pub(super) fn unfinished(&self) -> Result<Vec<String>> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        for file in &self.new {
            let mut dir = Some(file.dir);
            for name in file.path.iter().rev() {
                let Some(at) = dir else { break };
                let mark = unfinished_mark(name);
                if seen.insert((at, mark.clone())) && self.view.entry(at, &mark)?.is_some() {
                    found.push(format!("{} says that it is not finished", String::from_utf8_lossy(&mark)));
                }
                dir = self.view.inode(at)?.and_then(|inode| inode.home).map(|home| home.parent);
            }
        }
        Ok(found)
    }

    fn look_for_empty<'n>(
        &self,
        dir: Ino,
        tables: &[&[&'n [u8]]],
        found: &mut BTreeSet<&'n [u8]>,
    ) -> Result<()> {
        let there = ThenSiblings { engine: self.engine, view: self.view, dir };
        for name in tables.iter().flat_map(|table| table.iter()) {
            if there.len_of(name)? == Some(0) {
                found.insert(name);
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Whether a file beside directory `dir`, or beside one above it, says that it is not finished.
    pub(super) fn is_marked_unfinished(&self, dir: Ino) -> Result<bool> {
        for pair in self.chain(dir)?.windows(2) {
            let [(_, name), (above, _)] = pair else { continue };
            if self.ns.entry(*above, &unfinished_mark(name))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The name of the file that says that checkpoint `name` is not finished.
fn unfinished_mark(name: &[u8]) -> Vec<u8> {
    let stem = ENDINGS.iter().fold(name, |name, ending| name.strip_suffix(*ending).unwrap_or(name));
    [stem, UNFINISHED].concat()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::catalog::keys::ROOT;
    use crate::engine::world::npy;

    const SETTLE: Duration = Duration::from_secs(3600);

    #[test]
    fn weights_beside_an_empty_config_are_no_checkpoint_to_resume_from() {
        let dir = tempfile::tempdir().unwrap();
        let world = crate::engine::history::tests::open(dir.path(), SETTLE);
        let run = world.mkdir(ROOT, "run");
        world.save(run, "config.json", b"{}");
        world.save(run, "model.npy", &npy(1, 100));
        assert!(world.versions(run).last().is_some_and(|version| version.complete));
        world.save(run, "model.npy", &npy(2, 100));
        world.save(run, "config.json", b"");
        world.save(run, "optimizer.bin", b"");
        world.save(run, "events.log", b"");
        let version = world.versions(run).pop().unwrap();
        assert_eq!(
            (version.complete, version.why),
            (false, vec!["config.json: is empty".to_owned(), "optimizer.bin: is empty".to_owned()])
        );
    }

    #[test]
    fn what_a_mark_beside_it_calls_unfinished_is_not_complete_and_makes_no_version_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let world = crate::engine::history::tests::open(dir.path(), SETTLE);
        let run = world.mkdir(ROOT, "run");
        world.save(run, "gpt-step=5-unfinished", b"");
        world.save(run, "gpt-step=5-EMA.ckpt", &npy(1, 100));
        let version = world.versions(run).pop().unwrap();
        assert!(!version.complete && version.why[0].contains("gpt-step=5-unfinished"), "{:?}", version.why);
        world.save(run, "step=6-unfinished", b"");
        let step = world.mkdir(run, "step=6");
        world.save(step, "weights.npy", &npy(2, 100));
        assert!(
            world.engine.is_marked_unfinished(step).unwrap()
                && !world.engine.is_marked_unfinished(run).unwrap()
        );
    }

    #[test]
    fn a_pointer_above_the_checkpoint_may_not_be_empty_either() {
        let dir = tempfile::tempdir().unwrap();
        let world = crate::engine::history::tests::open(dir.path(), SETTLE);
        let run = world.mkdir(ROOT, "run");
        let step = world.mkdir(run, "global_step1");
        world.save(step, "rank_00.npy", &npy(1, 100));
        world.save(run, "latest", b"");
        let version = world.versions(run).pop().unwrap();
        assert_eq!((version.complete, version.why), (false, vec!["latest: is empty".to_owned()]));
    }
}
