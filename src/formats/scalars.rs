//! Step, epoch and metrics out of what a file says about itself.
//!
//! Names decide: the first of a list for step and for epoch; any other float at the top is a metric, an integer only when
//! its name says that it is one (a seed is not). One level below, dicts of metrics are read, and Lightning's callbacks.

use super::pickle::{Ended, Id, Limits, Node, Tree};
use super::read::Reader;
use super::{Facts, Format, Source, pickle, read, safetensors, stored, torch};
use crate::base::Result;

/// Names of the number of steps; the first that is there counts.
const STEPS: &[&str] = &[
    "global_step",
    "step",
    "global_steps",
    "steps",
    "iteration",
    "iterations",
    "iter",
    "iter_num",
    "num_updates",
    "train_step",
    "num_steps",
];
/// Names of the number of epochs; the first that is there counts.
const EPOCHS: &[&str] = &["epoch", "epochs", "current_epoch", "cur_epoch", "epoch_num"];
/// Parts of names that make an integer or a text a metric.
const METRIC_PARTS: &[&str] = &[
    "loss",
    "acc",
    "metric",
    "score",
    "best",
    "f1",
    "auc",
    "iou",
    "ppl",
    "perplexity",
    "error",
    "bleu",
    "reward",
];
/// How names of metrics begin.
const METRIC_HEADS: &[&str] = &["val_", "train_", "test_", "eval_"];
/// Parts of names that make a number none.
const NO_METRIC_PARTS: &[&str] = &["epoch", "step", "iter"];
/// The last word in names of versions: Megatron's `checkpoint_version` is a float.
const VERSION: &str = "version";
/// Floats that scalers and schedulers keep at the top of their files.
const NO_METRICS: &[&str] =
    &["scale", "growth_factor", "backoff_factor", "eta_min", "gamma", "time", "timestamp"];
/// Dicts below the top that hold metrics.
const METRIC_DICTS: &[&str] =
    &["metrics", "metric", "scores", "logs", "results", "losses", "callback_metrics"];
/// Dicts below the top that hold step and epoch.
const STATE_DICTS: &[&str] = &["meta", "trainer_state", "train_state", "extra_state"];

/// Metrics beyond this are left out.
const METRICS_MAX: usize = 64;
/// A name beyond this, in bytes, is not a metric's.
const NAME_MAX: usize = 128;
/// Entries of a dict that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// Scalars in tensors of their own that are fetched: each costs two reads and a walk over the directory.
const FETCHES_MAX: usize = 8;
/// Callbacks of Lightning that are looked at.
const CALLBACKS_MAX: usize = 100;

/// Step, epoch and metrics of a file of this format; nothing where it says nothing, or is damaged.
pub fn facts(format: Format, source: &dyn Source) -> Result<Facts> {
    match format {
        Format::TorchZip => match torch::tree(source, Limits::FACTS)? {
            Some(tree) => of_tree(&tree, Some(source)),
            None => Ok(Facts::default()),
        },
        Format::Pickle => {
            let head = read::at_most(source, 0, pickle::LEGACY_TORCH.len())?;
            let mut reader = Reader::new(source, 0, u64::MAX);
            let tree = match head == pickle::LEGACY_TORCH {
                true => stored::tree(&mut reader, Limits::FACTS)?,
                false => Some(pickle::read(&mut reader, Limits::FACTS)?),
            };
            tree.map_or(Ok(Facts::default()), |tree| of_tree(&tree, None))
        }
        Format::Safetensors => {
            let mut gather = Gather::default();
            for (name, number) in safetensors::metadata(source)? {
                gather.put(&name, number, false);
            }
            Ok(gather.facts)
        }
        _ => Ok(Facts::default()),
    }
}

/// Takes numbers by name and sorts them into facts.
#[derive(Default)]
pub(super) struct Gather {
    pub(super) facts: Facts,
    step_rank: Option<usize>,
    epoch_rank: Option<usize>,
}

impl Gather {
    /// Takes `number` under `name`; `surely` when it is a metric whatever its name.
    pub(super) fn put(&mut self, name: &str, number: f64, surely: bool) {
        let lower = name.to_ascii_lowercase();
        let better = |names: &[&str], best: Option<usize>| {
            names
                .iter()
                .position(|known| *known == lower)
                .map(|rank| best.is_none_or(|best| rank < best).then_some(rank))
        };
        if let Some(rank) = better(STEPS, self.step_rank) {
            self.step_rank = rank.filter(|_| number >= 0.0).or(self.step_rank);
            if rank.is_some() {
                self.facts.step = whole(number).or(self.facts.step);
            }
        } else if let Some(rank) = better(EPOCHS, self.epoch_rank) {
            self.epoch_rank = rank.filter(|_| number >= 0.0).or(self.epoch_rank);
            if rank.is_some() {
                self.facts.epoch = whole(number).or(self.facts.epoch);
            }
        } else if surely || is_metric(&lower) {
            self.metric(name, number);
        }
    }

    /// Takes a metric, when there is none of this name yet.
    fn metric(&mut self, name: &str, number: f64) {
        let room = self.facts.metrics.len() < METRICS_MAX && !name.is_empty() && name.len() <= NAME_MAX;
        if room && number.is_finite() {
            self.facts.metrics.entry(name.to_owned()).or_insert(number);
        }
    }
}

/// A count: rounded down, and none below zero or beyond what a float tells exactly.
fn whole(number: f64) -> Option<u64> {
    (0.0..9e15).contains(&number).then_some(number as u64)
}

fn is_metric(lower: &str) -> bool {
    let named = METRIC_PARTS.iter().any(|part| lower.contains(part));
    let begins = METRIC_HEADS.iter().any(|head| lower.starts_with(head));
    (named || begins) && !NO_METRIC_PARTS.iter().any(|part| lower.contains(part))
}

/// A number and whether it was written as a float.
#[derive(Clone, Copy)]
struct Number {
    value: f64,
    float: bool,
}

/// What the dict at the top of a pickle says; `zip` is where scalars that are tensors can be fetched from.
fn of_tree(tree: &Tree, zip: Option<&dyn Source>) -> Result<Facts> {
    if !matches!(tree.ended, Ended::Stop | Ended::Limit) {
        return Ok(Facts::default());
    }
    let mut look = Look { tree, zip, fetches: 0, gather: Gather::default() };
    look.numbers(tree.root, |_| true, false)?;
    for name in METRIC_DICTS {
        if let Some(dict) = tree.get(tree.root, name) {
            look.numbers(dict, |_| true, true)?;
        }
    }
    for name in STATE_DICTS {
        if let Some(dict) = tree.get(tree.root, name) {
            look.numbers(dict, |name| STEPS.contains(&name) || EPOCHS.contains(&name), false)?;
        }
    }
    look.callbacks()?;
    Ok(look.gather.facts)
}

/// A look through a tree.
struct Look<'a> {
    tree: &'a Tree,
    zip: Option<&'a dyn Source>,
    fetches: usize,
    gather: Gather,
}

impl Look<'_> {
    /// Takes the numbers of a dict whose names are `wanted`.
    fn numbers(&mut self, dict: Id, wanted: impl Fn(&str) -> bool, surely: bool) -> Result<()> {
        for (name, value) in self.tree.pairs(dict).iter().take(ENTRIES_MAX) {
            let Some(name) = self.tree.text(*name).filter(|name| name.len() <= NAME_MAX && wanted(name))
            else {
                continue;
            };
            if let Some(number) = self.number(name, *value)? {
                let is_version = name.rsplit('_').next() == Some(VERSION);
                let float = number.float && !NO_METRICS.contains(&name) && !is_version;
                self.gather.put(name, number.value, surely || float);
            }
        }
        Ok(())
    }

    /// Lightning keeps what a checkpoint callback watches as the name `monitor` and its value.
    fn callbacks(&mut self) -> Result<()> {
        let Some(callbacks) = self.tree.get(self.tree.root, "callbacks") else { return Ok(()) };
        for (_, state) in self.tree.pairs(callbacks).iter().take(CALLBACKS_MAX) {
            let name = self.tree.get(*state, "monitor").and_then(|name| self.tree.text(name));
            if let (Some(name), Some(score)) = (name, self.tree.get(*state, "current_score"))
                && let Some(number) = self.number(name, score)?
            {
                self.gather.metric(name, number.value);
            }
        }
        Ok(())
    }

    /// The number that a node is: Python's, numpy's, or a tensor of one element.
    fn number(&mut self, name: &str, id: Id) -> Result<Option<Number>> {
        match self.tree.node(id) {
            Node::Int(value) => Ok(Some(Number { value: *value as f64, float: false })),
            Node::Float(value) => Ok(Some(Number { value: *value, float: true })),
            Node::Object(_) => match numpy_scalar(self.tree, id) {
                Some(number) => Ok(Some(number)),
                None => self.tensor(name, id),
            },
            _ => Ok(None),
        }
    }

    /// The number in a tensor without sides, such as a loss that nobody called `.item()` on.
    fn tensor(&mut self, name: &str, id: Id) -> Result<Option<Number>> {
        let (Some(place), Some(zip)) = (tensor_place(self.tree, id), self.zip) else { return Ok(None) };
        let lower = name.to_ascii_lowercase();
        // Weights without sides (a temperature, a count of batches) are no metrics unless they are called so.
        let wanted = is_metric(&lower) || STEPS.contains(&name) || EPOCHS.contains(&name);
        if self.fetches >= FETCHES_MAX || !wanted {
            return Ok(None);
        }
        self.fetches += 1;
        let len = usize::try_from(place.size).unwrap_or(usize::MAX);
        let bytes = torch::stored(zip, place.key, place.offset.saturating_mul(place.size), len)?;
        let value = bytes.and_then(|bytes| torch::element(place.class, &bytes));
        Ok(value.map(|value| Number { value, float: true }))
    }
}

/// The number in a numpy scalar: `scalar(dtype, bytes)`.
fn numpy_scalar(tree: &Tree, id: Id) -> Option<Number> {
    let ("numpy._core.multiarray" | "numpy.core.multiarray", "scalar", [dtype, bytes]) = tree.call(id)?
    else {
        return None;
    };
    let ("numpy", "dtype", [code, ..]) = tree.call(*dtype)? else { return None };
    // The state of a dtype begins with a version and the byte order.
    let order =
        tree.state(*dtype).and_then(|state| tree.row(state).get(1)).and_then(|order| tree.text(*order));
    if order == Some(">") {
        return None;
    }
    let bytes = raw(tree, *bytes)?;
    let (value, float) = match tree.text(*code)? {
        "f8" => (f64::from_le_bytes(bytes.try_into().ok()?), true),
        "f4" => (f64::from(f32::from_le_bytes(bytes.try_into().ok()?)), true),
        "i8" => (i64::from_le_bytes(bytes.try_into().ok()?) as f64, false),
        "i4" => (f64::from(i32::from_le_bytes(bytes.try_into().ok()?)), false),
        _ => return None,
    };
    Some(Number { value, float })
}

/// Bytes, which protocol 2 writes as text of Latin-1 and a call of `encode`.
fn raw(tree: &Tree, id: Id) -> Option<Vec<u8>> {
    if let Node::Bytes(bytes) = tree.node(id) {
        return Some(bytes.to_vec());
    }
    let ("_codecs", "encode", [text, ..]) = tree.call(id)? else { return None };
    tree.text(*text)?.chars().map(|letter| u8::try_from(letter).ok()).collect()
}

/// Where the only element of a tensor lies.
struct Place<'a> {
    class: &'a str,
    key: &'a str,
    /// In elements.
    offset: u64,
    /// Bytes of an element.
    size: u64,
}

/// The place of a tensor without sides.
fn tensor_place(tree: &Tree, id: Id) -> Option<Place<'_>> {
    let ("torch._utils", "_rebuild_tensor_v2", [storage, offset, sides, ..]) = tree.call(id)? else {
        return None;
    };
    let Node::Persistent(name) = tree.node(*storage) else { return None };
    let [_, class, key, ..] = tree.row(*name) else { return None };
    let (_, class) = tree.global(*class)?;
    let is_scalar = matches!(tree.node(*sides), Node::Row(sides) if sides.is_empty());
    let offset = u64::try_from(tree.int(*offset)?).ok()?;
    is_scalar.then_some(Place { class, key: tree.text(*key)?, offset, size: torch::element_bytes(class)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, fixture};

    fn of(format: Format, name: &str) -> Facts {
        facts(format, &Bytes::new(fixture(name))).unwrap()
    }

    fn metrics(facts: &Facts) -> Vec<(&str, f64)> {
        facts.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect()
    }

    #[test]
    fn a_torch_file_tells_step_epoch_and_metrics_of_each_kind() {
        let zip = of(Format::TorchZip, "plain.pt");
        assert_eq!((zip.step, zip.epoch), (Some(1200), Some(3)));
        assert_eq!(metrics(&zip), [("best_accuracy", 0.875), ("loss", 0.25), ("val_loss", 0.5)]);
        let lightning = of(Format::TorchZip, "epoch=2-step=300.ckpt");
        assert_eq!((lightning.step, lightning.epoch), (Some(300), Some(2)));
        assert_eq!(metrics(&lightning), [("val_acc", 0.25)]);
    }

    #[test]
    fn a_legacy_file_tells_all_but_its_tensors() {
        let legacy = of(Format::Pickle, "legacy.pth");
        assert_eq!((legacy.step, legacy.epoch), (Some(1200), Some(3)));
        assert_eq!(metrics(&legacy), [("best_accuracy", 0.875), ("loss", 0.25)]);
    }

    #[test]
    fn plain_pickles_and_safetensors_tell_what_they_say() {
        let plain = of(Format::Pickle, "plain.pkl");
        assert_eq!((plain.step, plain.epoch), (Some(10), Some(1)));
        assert_eq!(metrics(&plain), [("loss", 1.5)]);
        let second = of(Format::Pickle, "protocol2.pkl");
        assert_eq!((second.step, second.epoch, metrics(&second)), (None, Some(1), vec![("loss", 0.5)]));
        assert_eq!(of(Format::Safetensors, "model.safetensors").step, Some(42));
    }

    #[test]
    fn what_is_cut_or_of_another_format_tells_nothing() {
        assert_eq!(of(Format::TorchZip, "cut.pt"), Facts::default());
        assert_eq!(of(Format::Hdf5, "v0.h5"), Facts::default());
        let half = &fixture("plain.pkl")[..40];
        assert_eq!(facts(Format::Pickle, &Bytes::new(half)).unwrap(), Facts::default());
        assert!(facts(Format::TorchZip, &Bytes::failing(fixture("plain.pt"))).is_err());
    }

    #[test]
    fn the_version_of_a_format_is_no_metric() {
        let megatron =
            b"\x80\x02}(X\x12\0\0\0checkpoint_versionG@\x08\0\0\0\0\0\0X\x01\0\0\0xG@\x08\0\0\0\0\0\0u.";
        let facts = facts(Format::Pickle, &Bytes::new(*megatron)).unwrap();
        assert_eq!(metrics(&facts), [("x", 3.0)]);
    }

    #[test]
    fn names_decide_what_a_number_is() {
        let mut gather = Gather::default();
        for (name, number) in [
            ("step", 7.0),
            ("global_step", 9.0),
            ("iteration", 5.0),
            ("epoch", 2.75),
            ("seed", 42.0),
            ("best_epoch", 1.0),
            ("val_wer", 0.5),
            ("best_loss", f64::NAN),
        ] {
            gather.put(name, number, false);
        }
        assert_eq!((gather.facts.step, gather.facts.epoch), (Some(9), Some(2)));
        assert_eq!(metrics(&gather.facts), [("val_wer", 0.5)]);
        (0..200).for_each(|n| gather.put(&format!("m{n}"), 1.0, true));
        assert_eq!(gather.facts.metrics.len(), METRICS_MAX);
        gather.put("epochs", -1.0, true);
        assert_eq!(gather.facts.epoch, Some(2));
    }
}
