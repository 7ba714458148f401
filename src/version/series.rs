//! Contents that follow one another as saves of one file, and which of them are to be stored as what they differ from
//! another in.
//!
//! Invariants of a plan: the newest of a series is self-contained, and so is whatever another is planned to rely on (depth 1).
//! A content that others rely on (a keyframe) is older than they are and at most so many saves away; one that no version
//! has any more is given up, and those that rely on it are planned against the next keyframe after them.

use std::cmp::Ordering;

/// Words before a number that tells a part of one save, not the save.
const PARTS: &[&[u8]] =
    &[b"rank", b"shard", b"part", b"process", b"worker", b"layer", b"fold", b"seed", b"stage", b"host"];

/// What of a path stays the same from save to save: its numbers are masked, but for those that tell parts of one save
/// (`00001-of-00003`, `rank_3`, `__0_1.distcp`).
pub fn key(path: &[u8]) -> Vec<u8> {
    let keeps_all = path.ends_with(b".distcp");
    let (mut key, mut rest) = (Vec::with_capacity(path.len()), path);
    let mut at_end_of_dir = 0;
    while let Some(from) = rest.iter().position(u8::is_ascii_digit) {
        let (before, digits) = rest.split_at(from);
        key.extend_from_slice(before);
        at_end_of_dir = key.iter().rposition(|byte| *byte == b'/').map_or(at_end_of_dir, |slash| slash + 1);
        let len = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
        let (number, after) = digits.split_at(len);
        let in_name = !after.contains(&b'/');
        if (keeps_all && in_name) || is_part(key.get(at_end_of_dir..).unwrap_or_default(), after) {
            key.extend_from_slice(number);
        } else {
            key.push(b'#');
        }
        rest = after;
    }
    key.extend_from_slice(rest);
    key
}

/// Whether the number between `before` and `after` tells a part of one save.
fn is_part(before: &[u8], after: &[u8]) -> bool {
    let word = before.strip_suffix(b"_").or_else(|| before.strip_suffix(b"-")).unwrap_or(before);
    before.ends_with(b"-of-") || after.starts_with(b"-of-") || PARTS.iter().any(|part| word.ends_with(part))
}

/// The order of paths in which numbers count by value: `ckpt-9` comes before `ckpt-10`.
pub fn by_number(one: &[u8], other: &[u8]) -> Ordering {
    tokens(one).cmp(tokens(other))
}

/// A path as bytes and numbers; a number is longer than another when it has more digits behind its leading zeros.
fn tokens(mut rest: &[u8]) -> impl Iterator<Item = (u8, usize, &[u8])> {
    std::iter::from_fn(move || {
        let first = *rest.first()?;
        let len = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        if len == 0 {
            rest = rest.get(1..)?;
            return Some((first, 0, &[][..]));
        }
        let (number, after) = rest.split_at(len);
        rest = after;
        let zeros = number.iter().take_while(|byte| **byte == b'0').count();
        let value = number.get(zeros..).unwrap_or_default();
        Some((b'0', value.len(), value))
    })
}

/// How one content of a series is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// By itself.
    Whole,
    /// Some of its chunks as what they differ from chunks of kept contents in.
    Delta,
    /// The same, but a chunk that it relies on is kept for that alone.
    Orphan,
}

/// What is to be done with one content of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it stays as it is, and others may rely on it if it is [`Stored::Whole`].
    Keep,
    /// Chunks that gain by it are encoded against the content with this index.
    Against(usize),
    /// The same, against a content of another series that is cut alike, a base model, if that gains much.
    Foreign,
    /// As [`Step::Against`]; chunks that rely on another content and do not gain are made self-contained.
    Anew(usize),
    /// Made self-contained.
    Whole,
}

/// The steps for the contents of a series, oldest first. Among `every` saves one is a keyframe; each of the others goes
/// against the one before it or, once there is one, against the one after it, whichever is nearer.
///
/// `hopeless` says of (content, base) that it was tried and nothing is left to gain, `foreign` of a content that there is
/// a base model for it that was not tried.
pub fn plan(
    series: &[Stored],
    every: usize,
    hopeless: &dyn Fn(usize, usize) -> bool,
    foreign: &dyn Fn(usize) -> bool,
) -> Vec<Step> {
    let Some(newest) = series.len().checked_sub(1) else { return Vec::new() };
    let mut keyframe: Option<usize> = None;
    let mut steps = Vec::with_capacity(series.len());
    for (at, stored) in series.iter().enumerate() {
        let near = keyframe.filter(|key| at - key < every && !hopeless(at, *key));
        let step = match (stored, near) {
            (Stored::Whole, _) if at == newest => Step::Keep,
            (Stored::Delta | Stored::Orphan, _) if at == newest => Step::Whole,
            (Stored::Whole | Stored::Delta, Some(key)) => Step::Against(key),
            (Stored::Whole | Stored::Delta, None) if keyframe.is_none() && foreign(at) => Step::Foreign,
            (Stored::Whole | Stored::Delta, None) => Step::Keep,
            (Stored::Orphan, _) => {
                let later = series.iter().skip(at + 1).position(|other| *other == Stored::Whole);
                // The newest is made self-contained by this very plan if it is not.
                Step::Anew(later.map_or(newest, |steps| at + 1 + steps))
            }
        };
        if *stored == Stored::Whole && step == Step::Keep {
            keyframe = Some(at);
        }
        steps.push(step);
    }
    go_nearer(series, &mut steps, hopeless);
    // What another was planned against must stay as it is: the later one of the two waits for the next plan.
    let relied: Vec<usize> =
        steps.iter().filter_map(|step| if let Step::Anew(on) = step { Some(*on) } else { None }).collect();
    for on in relied {
        if let Some(step @ (Step::Against(_) | Step::Foreign)) = steps.get_mut(on) {
            *step = Step::Keep;
        }
    }
    steps
}

/// Lets what goes against the keyframe before it go against the one after it where that is nearer.
fn go_nearer(series: &[Stored], steps: &mut [Step], hopeless: &dyn Fn(usize, usize) -> bool) {
    let is_keyframe = |at: usize, step: &Step| {
        series.get(at) == Some(&Stored::Whole) && *step == Step::Keep && at + 1 < series.len()
    };
    let keyframes: Vec<usize> =
        steps.iter().enumerate().filter(|(at, step)| is_keyframe(*at, step)).map(|(at, _)| at).collect();
    for pair in keyframes.windows(2) {
        let [before, after] = *pair else { continue };
        for at in before + 1..after {
            let nearer = after - at < at - before && !hopeless(at, after);
            match (series.get(at), steps.get_mut(at)) {
                (Some(Stored::Whole | Stored::Delta), Some(step @ (Step::Against(_) | Step::Keep)))
                    if nearer =>
                {
                    *step = Step::Against(after);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key_of(path: &str) -> String {
        String::from_utf8(key(path.as_bytes())).unwrap()
    }

    #[test]
    fn steps_are_masked_and_parts_of_a_save_are_not() {
        for (path, masked) in [
            ("model.pt", "model.pt"),
            ("checkpoint-500/model.safetensors", "checkpoint-#/model.safetensors"),
            ("ckpt-12.data-00000-of-00002", "ckpt-#.data-00000-of-00002"),
            (
                "checkpoint-20/model-00001-of-00003.safetensors",
                "checkpoint-#/model-00001-of-00003.safetensors",
            ),
            ("step_100/__0_1.distcp", "step_#/__0_1.distcp"),
            (
                "global_step7/zero_pp_rank_0_mp_rank_01_optim_states.pt",
                "global_step#/zero_pp_rank_0_mp_rank_01_optim_states.pt",
            ),
            ("epoch=3-step=100-val_loss=0.12.ckpt", "epoch=#-step=#-val_loss=#.#.ckpt"),
            ("100/shard-3/x7", "#/shard-3/x#"),
        ] {
            assert_eq!(key_of(path), masked);
        }
    }

    #[test]
    fn numbers_count_by_value() {
        let mut paths = ["ckpt-10", "ckpt-9", "ckpt-010x", "ckpt-1", "a"].map(str::as_bytes);
        paths.sort_by(|one, other| by_number(one, other));
        assert_eq!(
            paths.map(|path| std::str::from_utf8(path).unwrap()),
            ["a", "ckpt-1", "ckpt-9", "ckpt-10", "ckpt-010x"]
        );
    }

    const W: Stored = Stored::Whole;
    const D: Stored = Stored::Delta;
    const O: Stored = Stored::Orphan;

    fn never(_: usize, _: usize) -> bool {
        false
    }

    fn none(_: usize) -> bool {
        false
    }

    #[test]
    fn a_save_goes_against_the_keyframe_before_it_once_it_is_not_the_newest() {
        let against = Step::Against;
        assert_eq!(plan(&[W], 3, &never, &none), [Step::Keep]);
        assert_eq!(plan(&[W, W], 3, &never, &none), [Step::Keep; 2]);
        assert_eq!(plan(&[W, W, W], 3, &never, &none), [Step::Keep, against(0), Step::Keep]);
        let all = [Step::Keep, against(0), against(3), Step::Keep, against(3), Step::Keep];
        assert_eq!(plan(&[W; 6], 3, &never, &none), all);
        assert_eq!(plan(&[W, D, D, W, D, W], 3, &never, &none), all, "what is done stays so");
        assert_eq!(plan(&[W, W, W], 3, &|_, _| true, &none), [Step::Keep; 3]);
    }

    #[test]
    fn a_base_model_serves_a_series_until_it_has_a_keyframe_of_its_own() {
        let steps = |series: &[Stored], foreign: &dyn Fn(usize) -> bool| plan(series, 8, &never, foreign);
        assert_eq!(steps(&[W, W, W], &|_| true), [Step::Foreign, Step::Foreign, Step::Keep]);
        assert_eq!(
            steps(&[W, W, W, W], &|at| at > 0),
            [Step::Keep, Step::Against(0), Step::Against(0), Step::Keep]
        );
    }

    #[test]
    fn what_relies_on_a_content_that_is_gone_goes_against_a_later_one_which_stays() {
        assert_eq!(plan(&[O, O, W], 8, &never, &none), [Step::Anew(2), Step::Anew(2), Step::Keep]);
        let steps = plan(&[W, O, W, W], 8, &never, &none);
        assert_eq!(
            steps,
            [Step::Keep, Step::Anew(2), Step::Keep, Step::Against(0)].map(|step| match step {
                Step::Against(0) => Step::Keep,
                other => other,
            })
        );
        assert_eq!(plan(&[O, D], 8, &never, &none), [Step::Anew(1), Step::Whole]);
    }

    proptest! {
        #[test]
        fn nothing_relies_on_what_is_not_self_contained(
            series in proptest::collection::vec(prop_oneof![Just(W), Just(D), Just(O)], 0..40),
            every in 1_usize..10,
        ) {
            let steps = plan(&series, every, &never, &|at| at % 3 == 0);
            prop_assert_eq!(steps.len(), series.len());
            for (at, step) in steps.iter().enumerate() {
                let on = match step {
                    Step::Against(on) | Step::Anew(on) => *on,
                    Step::Keep | Step::Whole | Step::Foreign => continue,
                };
                prop_assert_ne!(on, at);
                let stays = series[on] == W && steps[on] == Step::Keep;
                prop_assert!(stays || steps[on] == Step::Whole);
            }
            if let (Some(last), Some(stored)) = (steps.last(), series.last()) {
                prop_assert_eq!(*last == Step::Keep, *stored == W);
            }
        }
    }
}
