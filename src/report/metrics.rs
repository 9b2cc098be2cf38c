//! `metrics.jsonl`: one JSON object a line, the key `step` first and then scalars, under the names of danijar/dreamer.
//!
//! | name | what it is |
//! |---|---|
//! | `train/return`, `train/length`, `train/success` | one finished training episode: sum of rewards, steps, 1 if it reached the goal |
//! | `test/return`, `test/length`, `test/success` | means over the episodes of one evaluation |
//! | `episodes` | training episodes finished so far |
//! | `model_loss` | `image_loss`, `reward_loss`, `pcont_loss`, `barrier` and `div`, each times its scale, added |
//! | `image_loss`, `reward_loss`, `pcont_loss` | negative log-likelihoods, mean over T and B |
//! | `div` | KL of posterior and prior after free nats |
//! | `barrier` | KL(uniform \|\| posterior), with `latent_barrier` |
//! | `prior_ent`, `post_ent` | entropy of prior and posterior, in nats |
//! | `actor_loss`, `value_loss`, `action_ent` | behaviour: Dreamer eq. (7), (8); entropy of the actor |
//! | `model_grad_norm`, `actor_grad_norm`, `value_grad_norm` | global norm of the gradient before clipping |
//! | `expl_amount` | amount of exploration noise in use |
//! | `fps` | environment steps per second; the one value that depends on the clock |
//!
//! Losses are means over the updates since the last line, summed in order in f64, so a resumed run continues them exactly.
//! JSON has no NaN and no infinity: a number that is not finite is written as `null`, which pandas reads as NaN.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

use crate::base::Result;
use crate::base::files::Log;

/// The names whose values depend on the clock: the only ones that may differ between two runs with the same seed.
pub const TIME_DEPENDENT: &[&str] = &["fps"];

/// The writer of `metrics.jsonl`.
#[derive(Debug)]
pub struct MetricsFile {
    log: Log,
}

impl MetricsFile {
    /// Opens the file, cutting off what lies behind `length` bytes: 0 for a fresh run, else the length in the checkpoint.
    pub fn open_at(path: &Path, length: u64) -> Result<Self> {
        Ok(MetricsFile { log: Log::open(path, Some(length))? })
    }

    /// Writes one line: `step`, then the scalars in the order given. Nothing is written when there are none.
    pub fn write<N: AsRef<str>>(&mut self, step: u64, scalars: &[(N, f64)]) -> Result<()> {
        if scalars.is_empty() {
            return Ok(());
        }
        self.log.append(line(step, scalars).as_bytes())
    }

    /// The length for a checkpoint, all of it durable.
    pub fn durable_length(&mut self) -> Result<u64> {
        self.log.durable_length()
    }
}

fn line<N: AsRef<str>>(step: u64, scalars: &[(N, f64)]) -> String {
    let mut object = Map::with_capacity(scalars.len() + 1);
    object.insert("step".into(), Value::from(step));
    for (name, value) in scalars {
        let value = Number::from_f64(*value).map_or(Value::Null, Value::Number);
        let previous = object.insert(name.as_ref().into(), value);
        assert!(previous.is_none(), "the metric `{}` stands twice in one line at step {step}", name.as_ref());
    }
    let mut text = Value::Object(object).to_string();
    text.push('\n');
    text
}

/// Means of the values seen since they were last taken, in the order in which names were first seen.
///
/// Serialised into a checkpoint with the bits of its sums, NaN and infinity included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Means {
    sums: Vec<Sum>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sum {
    name: String,
    /// The sum's bit pattern: JSON could not hold a NaN.
    bits: u64,
    count: u64,
}

impl Means {
    /// Counts one value in.
    pub fn add(&mut self, name: &str, value: f64) {
        match self.sums.iter_mut().find(|s| s.name == name) {
            Some(sum) => {
                sum.bits = (f64::from_bits(sum.bits) + value).to_bits();
                sum.count += 1;
            }
            None => self.sums.push(Sum { name: name.into(), bits: value.to_bits(), count: 1 }),
        }
    }

    /// The mean so far of one name.
    pub fn mean(&self, name: &str) -> Option<f64> {
        self.sums.iter().find(|s| s.name == name).map(Sum::mean)
    }

    /// Every mean; counting starts anew.
    pub fn take(&mut self) -> Vec<(String, f64)> {
        let taken = std::mem::take(&mut self.sums);
        taken.into_iter().map(|sum| (sum.name.clone(), sum.mean())).collect()
    }

    /// Whether nothing was counted since the last [`Means::take`].
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }
}

impl Sum {
    fn mean(&self) -> f64 {
        f64::from_bits(self.bits) / self.count as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_json_in_order_with_null_for_what_json_cannot_say() {
        let text = line(
            7,
            &[("model_loss", 0.1), ("div", f64::NAN), ("actor_loss", f64::NEG_INFINITY), ("train/return", 3.0)],
        );
        assert_eq!(text, "{\"step\":7,\"model_loss\":0.1,\"div\":null,\"actor_loss\":null,\"train/return\":3.0}\n");
    }

    #[test]
    #[should_panic(expected = "`div` stands twice")]
    fn a_name_stands_once_in_a_line() {
        line(7, &[("div", 1.0), ("div", 2.0)]);
    }

    #[test]
    fn means_cover_what_came_since_the_last_take() {
        let mut means = Means::default();
        for x in [1.0, 2.0, 6.0] {
            means.add("model_loss", x);
        }
        means.add("expl_amount", 0.3);
        assert_eq!(means.mean("model_loss"), Some(3.0));
        assert_eq!(means.take(), vec![("model_loss".to_string(), 3.0), ("expl_amount".to_string(), 0.3)]);
        assert!(means.is_empty() && means.mean("model_loss").is_none());
    }

    #[test]
    fn means_survive_a_checkpoint_bit_for_bit() {
        let mut means = Means::default();
        for x in [0.1, 1e300, f64::NAN] {
            means.add("a", x);
        }
        means.add("b", 0.1 + 0.2);
        let text = serde_json::to_string(&means).unwrap();
        assert_eq!(serde_json::from_str::<Means>(&text).unwrap(), means);
    }
}
