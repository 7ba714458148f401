//! `trainer_state.json` of the HF Trainer: step, epoch, the best metric, and what was logged last.
//!
//! Parsed in one pass that keeps only the entries of the log's last step: a log of a million entries costs no more memory
//! than one.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use super::Facts;
use super::json::{self, Numbers};
use super::scalars::Gather;

/// A state beyond this, in bytes, is not read.
const STATE_MAX: usize = 16 << 20;

#[derive(Deserialize)]
struct State {
    global_step: Option<f64>,
    epoch: Option<f64>,
    best_metric: Option<f64>,
    #[serde(default)]
    log_history: Last,
}

/// The numbers of the log's last step; training and evaluation log entries of their own.
#[derive(Default)]
struct Last(BTreeMap<String, f64>);

impl<'de> Deserialize<'de> for Last {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Log)
    }
}

struct Log;

impl<'de> Visitor<'de> for Log {
    type Value = Last;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of log entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Last, A::Error> {
        let mut last: BTreeMap<String, f64> = BTreeMap::new();
        while let Some(Numbers(numbers)) = entries.next_element()? {
            if numbers.get("step") != last.get("step") {
                last.clear();
            }
            last.extend(numbers);
        }
        Ok(Last(last))
    }
}

/// What the bytes of a `trainer_state.json` say; `None` when they are not one, or are cut short.
pub fn trainer_state(bytes: &[u8]) -> Option<Facts> {
    if bytes.len() > STATE_MAX {
        return None;
    }
    let state: State = serde_json::from_slice(&json::without_nonfinite(bytes)).ok()?;
    let mut gather = Gather::default();
    gather.put("global_step", state.global_step?, false);
    if let Some(epoch) = state.epoch {
        gather.put("epoch", epoch, false);
    }
    if let Some(best) = state.best_metric {
        gather.put("best_metric", best, true);
    }
    for (name, number) in state.log_history.0 {
        // How long it took says nothing about the model.
        let is_cost = ["_runtime", "_per_second", "total_flos"].iter().any(|part| name.ends_with(part));
        if !is_cost && name != "step" && name != "epoch" {
            gather.put(&name, number, true);
        }
    }
    Some(gather.facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{
      "best_global_step": 40, "best_metric": 0.41, "best_model_checkpoint": "out/checkpoint-40", "epoch": 2.5,
      "global_step": 50, "is_world_process_zero": true,
      "log_history": [
        {"epoch": 1.0, "loss": 2.5, "step": 10},
        {"epoch": 2.5, "grad_norm": NaN, "learning_rate": 1e-05, "loss": 0.75, "step": 50},
        {"epoch": 2.5, "eval_loss": 0.5, "eval_runtime": 3.1, "eval_samples_per_second": 9, "note": "x", "step": 50}
      ],
      "stateful_callbacks": {"TrainerControl": {"args": {}}}, "trial_params": null
    }"#;

    #[test]
    fn the_last_step_is_told_with_training_and_evaluation() {
        let facts = trainer_state(STATE.as_bytes()).unwrap();
        assert_eq!((facts.step, facts.epoch), (Some(50), Some(2)));
        let metrics: Vec<_> = facts.metrics.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let wanted = [("best_metric", 0.41), ("eval_loss", 0.5), ("learning_rate", 1e-5), ("loss", 0.75)];
        assert_eq!(metrics, wanted);
    }

    #[test]
    fn what_is_cut_or_no_state_is_none() {
        assert!((0..STATE.len() - 1).all(|len| trainer_state(&STATE.as_bytes()[..len]).is_none()));
        for other in ["[]", "{}", "{\"global_step\": \"x\"}", "\u{feff}", &"[".repeat(100_000)] {
            assert_eq!(trainer_state(other.as_bytes()), None);
        }
        let fresh = trainer_state(b"{\"global_step\": 0, \"epoch\": null, \"log_history\": []}").unwrap();
        assert_eq!(fresh, Facts { step: Some(0), ..Facts::default() });
    }
}
