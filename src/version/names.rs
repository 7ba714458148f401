//! What the names of checkpoint files and directories say: step, epoch, measured values, one checkpoint or not.
//!
//! Any bytes in, a value out; bounded by the length of the name, and nothing is looked up. A number is a step only with
//! a known word beside it: the numbers of folds, seeds, ranks, versions and days are none.

use std::collections::BTreeMap;

use super::scan::{number, scan};
pub use super::temporary::{is_temporary, is_thrown_away};

/// A bare step has at most as many digits as `u64::MAX`.
const STEP_DIGITS_MAX: usize = 20;
/// Hexadecimal digits at the end of a name are a hash from so many on.
const HASH_DIGITS_MIN: usize = 32;

/// What a name tells of the checkpoint that it belongs to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NameFacts {
    /// The training step; the number of a `ckpt-12` or `checkpoint-500` counts as one.
    pub step: Option<u64>,
    /// The epoch.
    pub epoch: Option<u64>,
    /// Measured values by the name they bear (`val_loss`), finite ones only.
    pub metrics: BTreeMap<String, f64>,
}

/// The facts of one name: `epoch=3-step=100-val_loss=0.12.ckpt`, `iter_0001000`, `ckpt-12.index`.
///
/// A hash tells nothing, whatever its digits happen to look like: Orbax names its data files by 32 random ones, and
/// TensorFlow the file that becomes `checkpoint` by `checkpoint.tmp` and as many.
pub fn facts_of(name: &[u8]) -> NameFacts {
    let found = scan(without_hash(name));
    NameFacts { step: found.step.or(found.numbered), epoch: found.epoch, metrics: found.metrics }
}

/// The name without the hash that it ends in: digits alone, however many, are a number.
fn without_hash(name: &[u8]) -> &[u8] {
    let text = name.iter().rposition(|byte| !byte.is_ascii_hexdigit()).map_or(0, |at| at + 1);
    let (own, digits) = name.split_at(text);
    let is_hash =
        digits.len() >= HASH_DIGITS_MIN && (own.is_empty() || !digits.iter().all(u8::is_ascii_digit));
    if is_hash { own } else { name }
}

/// The facts of a path below its run, the component next to the run first: the innermost component that tells wins,
/// outer ones fill in what is missing.
///
/// Where no word tells the step and several components are given, a first one of bare digits is the step: below a run
/// such a directory is there only because a marker committed it (Orbax), or because the run was said by hand.
pub fn facts_of_path(components: &[&[u8]]) -> NameFacts {
    let mut all = NameFacts::default();
    for found in components.iter().rev().map(|name| facts_of(name)) {
        all.step = all.step.or(found.step);
        all.epoch = all.epoch.or(found.epoch);
        for (name, value) in found.metrics {
            all.metrics.entry(name).or_insert(value);
        }
    }
    if let [first, _, ..] = components {
        all.step = all.step.or_else(|| number(first).filter(|_| is_bare_step(first)));
    }
    all
}

/// Whether a directory of this name is one checkpoint: `checkpoint-500`, `epoch=3-step=100`, `global_step100`.
///
/// Every part of the name must be one that checkpoints bear, so that two experiments beside each other
/// (`small_step5`, `large_step5`) never count as two steps of one. Bare digits and temporary names never do.
pub fn looks_like_checkpoint(dir_name: &[u8]) -> bool {
    !is_temporary(dir_name) && is_checkpoint_text(dir_name)
}

/// [`looks_like_checkpoint`] for the final name of a temporary directory.
pub(super) fn is_checkpoint_text(name: &[u8]) -> bool {
    // NeMo names directories `MODEL--val_loss=2.35-step=100-last`: any text, but only before values written with `=`.
    let own = name.windows(2).position(|pair| pair == b"--").and_then(|at| name.get(at + 2..));
    let found = scan(own.filter(|own| own.contains(&b'=')).unwrap_or(name));
    !found.foreign && (found.step.or(found.numbered).or(found.epoch)).is_some()
}

/// Whether the name is only 1 to 20 ASCII digits: a step where a marker commits the directory, else nothing.
pub fn is_bare_step(dir_name: &[u8]) -> bool {
    (1..=STEP_DIGITS_MAX).contains(&dir_name.len()) && dir_name.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_tells_no_step() {
        let path: [&[u8]; 4] = [b"2", b"default", b"d", b"0a3b7ba278a821575a009663582b8fd5"];
        assert_eq!(facts_of_path(&path).step, Some(2));
        assert_eq!(facts_of(b"step_00000000000000000000000000000007").step, Some(7));
        // "ba" is a word for steps, and 603 would be one.
        assert_eq!(facts_of(b"checkpoint.tmpc610e85212d0697cb161d4ba431ba603"), NameFacts::default());
        assert_eq!(facts_of(b"ckpt-5_temp_c610e85212d0697cb161d4ba431ba603").step, Some(5));
    }

    fn told(name: &str) -> (Option<u64>, Option<u64>, Vec<(String, f64)>) {
        let facts = facts_of(name.as_bytes());
        (facts.step, facts.epoch, facts.metrics.into_iter().collect())
    }

    #[test]
    fn steps_and_epochs_of_all_writers_are_read() {
        for (name, step, epoch) in [
            ("ckpt-12", Some(12), None),
            ("ckpt-12.index", Some(12), None),
            ("ckpt-12.data-00000-of-00001", Some(12), None),
            ("model.ckpt-1000.meta", Some(1000), None),
            ("checkpoint-500", Some(500), None),
            ("checkpoint_000005", Some(5), None),
            ("global_step100", Some(100), None),
            ("iter_0001000", Some(1000), None),
            ("iter-000500-ckpt.pth", Some(500), None),
            ("step_500", Some(500), None),
            ("STEP-500.PT", Some(500), None),
            ("model_step500.pt", Some(500), None),
            ("step1000-unsharded", Some(1000), None),
            ("rl_model_10000_steps.zip", Some(10000), None),
            ("epoch_0007.pt", None, Some(7)),
            ("10epoch.pth", None, Some(10)),
            ("checkpoint-epoch-3", None, Some(3)),
            ("epoch=3-step=100.ckpt", Some(100), Some(3)),
            ("epoch=3-step=100-v1.ckpt", Some(100), Some(3)),
            ("step500epoch3", Some(500), Some(3)),
            ("checkpoint_2_1000.pt", Some(1000), None),
            ("checkpoint_500_2.pt", Some(500), None),
            ("checkpoint_5_20240131.pt", Some(5), None),
            ("checkpoint_5_0.25.pt", Some(5), None),
            ("ep3-ba500-rank0.pt", Some(500), Some(3)),
            // A word for steps says more than one for checkpoints, wherever it stands.
            ("ckpt-7_step_900", Some(900), None),
        ] {
            assert_eq!(told(name), (step, epoch, vec![]), "{name}");
        }
    }

    #[test]
    fn numbers_without_their_word_are_no_steps() {
        for name in [
            "model.0003.keras",
            "model-00001-of-00005.safetensors",
            "checkpoint-00001-of-00005.pt",
            "mp_rank_00_model_states.pt",
            "zero_pp_rank_0_mp_rank_00_optim_states.pt",
            "__0_0.distcp",
            "random_states_0.pkl",
            "llama-7b",
            "checkpoint-7b",
            "ckpt.7z",
            "checkpoint-3fa9c",
            "checkpoint-20240131",
            "checkpoint_2024-01-31",
            "max_steps_500",
            "max_epochs=10",
            "steps_per_epoch=100",
            "epochs_100",
            "timestep_5",
            "step_0.5",
            "step_99999999999999999999999",
            "3",
            "",
        ] {
            let (step, epoch, _) = told(name);
            assert_eq!((step, epoch), (None, None), "{name}");
        }
    }

    #[test]
    fn measured_values_keep_their_names_and_settings_are_none() {
        let one = |name: &str, value: f64| vec![(name.to_owned(), value)];
        assert_eq!(told("epoch=3-step=100-val_loss=0.12"), (Some(100), Some(3), one("val_loss", 0.12)));
        assert_eq!(told("epoch=03-val_loss=0.1234.ckpt"), (None, Some(3), one("val_loss", 0.1234)));
        assert_eq!(told("epoch_3_val_loss=0.5.pt"), (None, Some(3), one("val_loss", 0.5)));
        assert_eq!(told("epoch_3_val_loss_0.5.pt"), (None, Some(3), one("val_loss", 0.5)));
        assert_eq!(told("epoch=3-train_loss_epoch=2"), (None, Some(3), one("train_loss_epoch", 2.0)));
        assert_eq!(told("gpt--reward=-1.5e-05-step=7"), (Some(7), None, one("reward", -1.5e-5)));
        assert_eq!(told("epoch=1-val_Acc@5=1"), (None, Some(1), one("val_Acc@5", 1.0)));
        assert_eq!(told("best_model_10_val_acc=0.5.pt"), (None, None, one("val_acc", 0.5)));
        assert_eq!(told("epoch=1-top_5_acc=0.5.pt"), (None, Some(1), one("top_5_acc", 0.5)));
        assert_eq!(told("epoch=1-val_loss=nan"), (None, Some(1), vec![]));
        assert_eq!(told("epoch=1-min_val_loss=0.5"), (None, Some(1), one("min_val_loss", 0.5)));
        assert_eq!(told("lr=0.1,seed=3"), (None, None, vec![]));
        assert_eq!(told("optimizer.lr=0.1"), (None, None, vec![]));
    }

    #[test]
    fn the_innermost_component_wins_and_outer_ones_fill_in() {
        let facts =
            facts_of_path(&[b"epoch=3-val_loss=0.2", b"step_500", b"model", b"step_501-loss=0.1.bin"]);
        assert_eq!((facts.step, facts.epoch), (Some(501), Some(3)));
        assert_eq!(
            facts.metrics.into_iter().collect::<Vec<_>>(),
            [("loss".to_owned(), 0.1), ("val_loss".to_owned(), 0.2)]
        );
        assert_eq!(facts_of_path(&[b"3", b"default", b"d", b"0f"]).step, Some(3));
        assert_eq!(facts_of_path(&[b"3"]).step, None);
        assert_eq!(facts_of_path(&[b"a", b"3", b"x"]).step, None);
        assert_eq!(facts_of_path(&[]), NameFacts::default());
    }

    #[test]
    fn directories_of_one_checkpoint_are_known() {
        for name in [
            "checkpoint-500",
            "checkpoint_0",
            "step_500",
            "step-5",
            "epoch=3-step=100",
            "epoch=3-step=100.ckpt",
            "epoch=03-val_loss=0.1234",
            "epoch_3",
            "global_step100",
            "iter_0001000",
            "ckpt-7",
            "ep3-ba500",
            "checkpoint-500-best",
            "step1000-unsharded",
            "megatron_gpt--val_loss=2.35-step=100-consumed_samples=1000.0-last",
        ] {
            assert!(looks_like_checkpoint(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn directories_of_runs_are_not_checkpoints() {
        for name in [
            "version_0",
            "run_3",
            "fold2",
            "0",
            "500",
            "2024-01-31",
            "12-00-05",
            "20240131",
            "checkpoint-20240131",
            "seed_1",
            "trial_7",
            "rank_0",
            "mp_rank_00",
            "lr=0.1,seed=3",
            "step=5,lr=0.1",
            "small_step5",
            "small--step5",
            "small--step=5,lr=0.1",
            "step_1_pretrain",
            "checkpoints",
            "checkpoint",
            "ckpt",
            "model",
            "val_loss=0.1",
            "max_steps=500",
            "ckpt-1_temp",
            "step_5.orbax-checkpoint-tmp-1",
            "\u{e9}poch_3",
            "step_5\u{e9}",
            "",
        ] {
            assert!(!looks_like_checkpoint(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn bare_steps_are_digits_only() {
        assert!(is_bare_step(b"0") && is_bare_step(b"0001000") && is_bare_step(&[b'9'; 20]));
        for name in [&b""[..], b"-1", b"1.0", b"1a", b" 1", "\u{0663}".as_bytes(), &[b'1'; 21]] {
            assert!(!is_bare_step(name));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(name in proptest::collection::vec(any::<u8>(), 0..1500)) {
            let facts = facts_of(&name);
            prop_assert!(facts.metrics.values().all(|value| value.is_finite()));
            let like = looks_like_checkpoint(&name);
            prop_assert!(!like || facts.step.or(facts.epoch).is_some());
            prop_assert!(!(like && (is_temporary(&name) || is_bare_step(&name))));
        }

        #[test]
        fn names_made_of_known_parts_are_read_back(step in any::<u64>(), epoch in any::<u64>(), loss in 0.0..1e6f64) {
            let facts = facts_of(format!("epoch={epoch}-step={step}-val_loss={loss}.ckpt").as_bytes());
            prop_assert_eq!((facts.step, facts.epoch), (Some(step), Some(epoch)));
            prop_assert_eq!(facts.metrics.get("val_loss"), Some(&loss));
        }

        #[test]
        fn words_and_numbers_in_any_order_are_survived(name in "((step|epoch|ckpt|loss|val|max|=|_|-|\\.|[0-9]{1,22}|e|k){0,12})") {
            facts_of(name.as_bytes());
            looks_like_checkpoint(name.as_bytes());
        }
    }
}
