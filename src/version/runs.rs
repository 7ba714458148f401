//! Which directory is the run of a written file, by the names above it and what markers have committed.
//!
//! Order: a run said by hand, innermost first; else the directory that holds the outermost of the checkpoints that the
//! file lies in; else a directory that a marker commits in place; else a model of several folders, or what holds a store
//! that is a folder; else where the file is. A pure function over
//! [`Ancestry`], linear in the depth. The root can be a run; nothing above it can.

pub use super::glob::Glob;
use super::names::{is_bare_step, is_checkpoint_text, is_temporary};
use super::temporary::{orbax_stem, stem};

/// The directories from the one that holds a file (depth 0) up to the mount's root.
pub trait Ancestry {
    /// The directory's name; the root's is empty; `None` above the root.
    fn name(&self, depth: usize) -> Option<&[u8]>;
    /// Whether it was said to be a run: by hand or by `--run`.
    fn is_named_run(&self, depth: usize) -> bool;
    /// Whether a marker commits that directory, or once did.
    fn is_committed(&self, depth: usize) -> bool;
    /// Whether a file in that directory says that it is a model whose parts lie in folders of it.
    fn holds_parts(&self, depth: usize) -> bool;
}

/// The depth of the run of a file called `file_name` in `ancestry`.
pub fn run_depth(file_name: &[u8], ancestry: &dyn Ancestry) -> usize {
    let levels = || (0..).map_while(|depth| ancestry.name(depth).map(|name| (depth, name)));
    let find = |is_it: &dyn Fn(usize, &[u8]) -> bool| {
        levels().find(|(depth, name)| is_it(*depth, name)).map(|(depth, _)| depth)
    };
    if let Some(named) = find(&|depth, _| ancestry.is_named_run(depth)) {
        return named;
    }
    let is_checkpoint = |depth: usize, name: &[u8]| {
        is_one_checkpoint(name) || (is_bare_step(name) && ancestry.is_committed(depth))
    };
    if let Some(innermost) = find(&is_checkpoint) {
        let above = levels().skip(innermost + 1);
        let outer = above.take_while(|(depth, name)| is_checkpoint(*depth, name)).count();
        let parent = innermost + outer + 1;
        return if ancestry.name(parent).is_some() { parent } else { parent - 1 };
    }
    // Orbax writes `model.orbax-checkpoint-tmp/state.orbax-checkpoint-tmp/...`: the outer one becomes the run `model`.
    let unfinished = levels().filter(|(_, name)| orbax_stem(name).is_some()).last();
    find(&|depth, _| ancestry.is_committed(depth))
        .or(unfinished.map(|(depth, _)| depth))
        .or_else(|| find(&|depth, _| ancestry.holds_parts(depth)))
        .or_else(|| beside_store(ancestry))
        .unwrap_or_else(|| home(file_name, ancestry))
}

/// The directory that holds the outermost zarr store that the file lies in: such a store is a folder, but is used as a file.
fn beside_store(ancestry: &dyn Ancestry) -> Option<usize> {
    let levels = (0..).map_while(|depth| ancestry.name(depth).map(|name| (depth, name)));
    let store = levels.filter(|(_, name)| name.ends_with(b".zarr") && !is_temporary(name)).last();
    store.map(|(depth, _)| depth + 1).filter(|depth| ancestry.name(*depth).is_some())
}

/// Whether the name, or the one that a temporary directory will get, is that of one checkpoint.
///
/// A save must count for the same run while it is being written as when it is done.
fn is_one_checkpoint(name: &[u8]) -> bool {
    if !is_temporary(name) {
        return is_checkpoint_text(name);
    }
    let is_step = |name: &[u8]| orbax_stem(name).is_some_and(is_bare_step);
    stem(name).is_some_and(is_checkpoint_text) || is_step(name)
}

/// The directory of the file, or the SavedModel that it is a part of: its `variables` and `assets` are no runs.
fn home(file_name: &[u8], ancestry: &dyn Ancestry) -> usize {
    let name = |depth| ancestry.name(depth).unwrap_or_default();
    // TensorFlow writes shards into `variables/variables_temp/part-00000-of-00001...` first.
    let (depth, is_part) = match name(0) {
        b"variables_temp" if name(1) == b"variables" => (1, true),
        _ => (0, file_name.starts_with(b"variables.")),
    };
    let inside = (name(depth) == b"variables" && is_part) || name(depth) == b"assets";
    if inside && ancestry.name(depth + 1).is_some() { depth + 1 } else { depth }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A path whose directories may be marked: `!` after a name for committed, `*` for a named run.
    struct Path(Vec<(Vec<u8>, bool, bool)>);

    impl Ancestry for Path {
        fn name(&self, depth: usize) -> Option<&[u8]> {
            self.0.get(depth).map(|(name, ..)| name.as_slice())
        }
        fn is_named_run(&self, depth: usize) -> bool {
            self.0[depth].1
        }
        fn is_committed(&self, depth: usize) -> bool {
            self.0[depth].2
        }
        fn holds_parts(&self, depth: usize) -> bool {
            self.0[depth].0.starts_with(b"pipeline")
        }
    }

    /// The run's path of the file at `path`.
    fn run(path: &str) -> String {
        let mut names: Vec<&str> = path.split('/').collect();
        let file = names.pop().unwrap();
        let plain: Vec<String> =
            names.iter().map(|name| name.trim_end_matches(['!', '*']).to_owned()).collect();
        let level = |name: &&str| {
            let bare = name.trim_end_matches(['!', '*']).as_bytes().to_vec();
            (bare, name.contains('*'), name.contains('!'))
        };
        let mut levels: Vec<_> = names.iter().rev().map(level).collect();
        levels.push((Vec::new(), false, false));
        let depth = run_depth(file.as_bytes(), &Path(levels));
        plain[..plain.len() - depth].join("/")
    }

    #[test]
    fn every_experiment_of_a_sweep_is_a_run() {
        for number in 0..4 {
            let home = format!("multirun/2026-01-31/12-00-05/{number}");
            assert_eq!(run(&format!("{home}/ckpt.pt")), home);
            assert_eq!(run(&format!("{home}/checkpoint-500/model.safetensors")), home);
        }
    }

    #[test]
    fn a_checkpoint_belongs_to_the_directory_that_holds_it() {
        assert_eq!(run("run/epoch_3/step_500/model/weights.bin"), "run");
        assert_eq!(run("out/checkpoint-500/model.safetensors"), "out");
        assert_eq!(run("dcp/step_5!/.metadata"), "dcp");
        assert_eq!(run("ds/global_step100/mp_rank_00_model_states.pt"), "ds");
        assert_eq!(run("megatron/iter_0001000/mp_rank_00/model_optim_rng.pt"), "megatron");
        assert_eq!(run("out/checkpoint-500/pytorch_model_fsdp_0!/.metadata"), "out");
        let lightning = "lightning_logs/version_0/checkpoints";
        assert_eq!(run(&format!("{lightning}/epoch=3-step=100.ckpt")), lightning);
        assert_eq!(run(&format!("{lightning}/epoch=3-step=100.ckpt/checkpoint/mp_rank_00.pt")), lightning);
    }

    #[test]
    fn a_store_that_is_a_folder_and_a_model_of_several_folders_are_one_thing() {
        assert_eq!(run("exp/state.zarr/w/c/0/0"), "exp");
        assert_eq!(run("exp/state.zarr/inner.zarr/0.0"), "exp");
        assert_eq!(run("exp/step_5/state.zarr/w/c/0/0"), "exp");
        assert_eq!(run("state.zarr/0.0"), "");
        assert_eq!(run("exp/pipeline/unet/model.safetensors"), "exp/pipeline");
        assert_eq!(run("exp/checkpoint-5/pipeline/unet/model.safetensors"), "exp");
    }

    #[test]
    fn bare_digits_are_steps_only_where_a_marker_commits_them() {
        let file = "default/d/0123456789abcdef0123456789abcdef";
        assert_eq!(run(&format!("ck/3!/{file}")), "ck");
        assert_eq!(run(&format!("ck/3/{file}")), "ck/3/default/d");
        assert_eq!(run("run/3!/checkpoint-5/x.pt"), "run");
        assert_eq!(run("run/3/checkpoint-5/x.pt"), "run/3");
    }

    #[test]
    fn a_directory_that_is_overwritten_in_place_is_its_own_run() {
        assert_eq!(run("exp/ckpt!/__0_0.distcp"), "exp/ckpt");
        assert_eq!(run("exp/tf!/ckpt-5.index"), "exp/tf");
        assert_eq!(run("exp/my_model!/state/d/0f"), "exp/my_model");
    }

    #[test]
    fn a_save_under_way_counts_for_the_run_that_it_will_belong_to() {
        assert_eq!(run("ck/3.orbax-checkpoint-tmp-17/state.orbax-checkpoint-tmp/d/0f"), "ck");
        assert_eq!(run("ck/step_3.orbax-checkpoint-tmp/_METADATA"), "ck");
        let model = "exp/my_model.orbax-checkpoint-tmp";
        assert_eq!(run(&format!("{model}/state.orbax-checkpoint-tmp/d/0f")), model);
        assert_eq!(run("tf/ckpt-1_temp/part-00000-of-00001.index"), "tf");
        assert_eq!(run("out/tmp-checkpoint-500/model.safetensors"), "out");
    }

    #[test]
    fn a_saved_model_is_one_thing() {
        assert_eq!(run("exp/saved/variables/variables.index"), "exp/saved");
        assert_eq!(run("exp/saved/variables/variables_temp/part-00000-of-00001.index"), "exp/saved");
        assert_eq!(run("exp/saved/assets/vocab.npy"), "exp/saved");
        assert_eq!(run("exp/variables/weights.pt"), "exp/variables");
        assert_eq!(run("run/step_5/variables/variables.index"), "run");
    }

    #[test]
    fn what_was_said_by_hand_wins_innermost_first() {
        assert_eq!(run("a*/b*/checkpoint-5/x.pt"), "a/b");
        assert_eq!(run("a/checkpoint-5*/x.pt"), "a/checkpoint-5");
        assert_eq!(run("a*/b/c/x.pt"), "a");
    }

    #[test]
    fn the_root_can_be_a_run_and_nothing_is_above_it() {
        assert_eq!(run("checkpoint-500/model.safetensors"), "");
        assert_eq!(run("epoch_3/step_5/x.pt"), "");
        assert_eq!(run("x.pt"), "");
        assert_eq!(run("variables/variables.index"), "");
        let root = Path(vec![(Vec::new(), false, true)]);
        assert_eq!(run_depth(b"ckpt-1.index", &root), 0);
        let odd_root = Path(vec![(b"step_5".to_vec(), false, false)]);
        assert_eq!(run_depth(b"x.pt", &odd_root), 0);
        assert_eq!(run_depth(b"x.pt", &Path(vec![])), 0);
    }

    proptest! {
        #[test]
        fn a_run_is_one_of_the_ancestors(
            names in proptest::collection::vec(
                ("(step_5|3|run|epoch_1|variables|assets|ckpt-1_temp|3\\.orbax-checkpoint-tmp)", any::<bool>(), prop::bool::weighted(0.1)),
                0..8,
            ),
            file in "(variables\\.index|x\\.pt)",
        ) {
            let mut levels: Vec<_> =
                names.into_iter().map(|(name, committed, named)| (name.into_bytes(), named, committed)).collect();
            levels.push((Vec::new(), false, false));
            let path = Path(levels);
            let depth = run_depth(file.as_bytes(), &path);
            prop_assert!(depth < path.0.len());
            // Files beside each other share their run, whatever lies above.
            if !path.0.iter().any(|(name, ..)| name == b"variables") {
                prop_assert_eq!(depth, run_depth(b"other.bin", &path));
            }
        }
    }
}
