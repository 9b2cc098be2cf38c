//! The least time that an update can take on a stated GPU: its operations at the highest rate, its bytes at the full bandwidth, its launches one
//! after the other.

use std::collections::BTreeMap;

use super::label::{Label, Pass};
use crate::run::args::Gpu;

/// Operations and bytes that cannot be fewer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Need {
    /// Calls, or gradients of layers.
    pub calls: usize,
    /// Floating point operations.
    pub flops: f64,
    /// Bytes.
    pub bytes: f64,
}

/// By op and pass.
pub type Needs = BTreeMap<(String, Pass), Need>;

/// The needs of a plan whose steps have these labels, and of the optimizer of `params` parameters.
pub fn needs<'a>(labels: impl Iterator<Item = &'a Label>, params: usize) -> Needs {
    let mut needs = Needs::new();
    let mut add = |op: &str, pass, flops, bytes| {
        let need = needs.entry((op.to_string(), pass)).or_default();
        *need = Need { calls: need.calls + 1, flops: need.flops + flops, bytes: need.bytes + bytes };
    };
    labels.for_each(|label| add(label.op, label.pass, label.flops, label.bytes));
    // The norm reads the gradient; the update reads it again with value and moments, and writes these three. Its operations: (U1) to (U4).
    add("adam", Pass::Forward, 17.0 * params as f64, 32.0 * params as f64);
    needs
}

/// Seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Floor {
    /// Of the operations.
    pub flops: f64,
    /// Of the bytes.
    pub bytes: f64,
    /// Of the launches.
    pub launches: f64,
}

impl Floor {
    /// The least times of needs on a GPU.
    pub fn new(need: &Need, launches: f64, gpu: &Gpu) -> Floor {
        Floor {
            flops: need.flops / (1e9 * gpu.peak),
            bytes: need.bytes / (1e9 * gpu.bandwidth),
            launches: 1e-6 * gpu.launch_us * launches,
        }
    }

    /// The largest of the three: no update is faster, however well they overlap.
    pub fn least(&self) -> f64 {
        self.flops.max(self.bytes).max(self.launches)
    }
}

/// The op and the pass that a kernel belongs to, by its name: `linear_backward_weights` to the weights of `linear`. `None` for a kernel of no op.
pub fn owner(kernel: &str, needs: &Needs) -> Option<(String, Pass)> {
    let ops = needs.keys().map(|(op, _)| op).filter(|op| !op.is_empty() && kernel.starts_with(op.as_str()));
    let op = ops.max_by_key(|op| op.len())?.clone();
    let pass = match &kernel[op.len()..] {
        rest if rest.contains("weights") || rest.contains("bias") => Pass::Weights,
        rest if rest.contains("backward") => Pass::Backward,
        _ => Pass::Forward,
    };
    Some((op, pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_belong_to_the_ops_that_they_are_named_after() {
        let label = |op: &'static str, pass| Label {
            op,
            name: String::new(),
            pass,
            call: None,
            flops: 1.0,
            bytes: 2.0,
            rows: 1,
            pieces: 1,
        };
        let labels = [label("mean", Pass::Forward), label("linear", Pass::Forward), label("linear", Pass::Weights)];
        let needs = needs(labels.iter(), 10);
        let of = |kernel| owner(kernel, &needs);
        assert_eq!(of("linear_backward_bias"), Some(("linear".into(), Pass::Weights)));
        assert_eq!(of("linear_backward_input"), Some(("linear".into(), Pass::Backward)));
        assert_eq!(of("linear_forward"), Some(("linear".into(), Pass::Forward)));
        assert_eq!(of("adam_norm"), Some(("adam".into(), Pass::Forward)));
        assert_eq!(of("fill"), None);
        assert_eq!(needs[&("adam".to_string(), Pass::Forward)].bytes, 320.0);
    }

    #[test]
    fn the_floor_is_the_largest_of_three() {
        let gpu = Gpu { sm_count: 132, bandwidth: 2000.0, peak: 1000.0, launch_us: 2.0 };
        let floor = Floor::new(&Need { calls: 1, flops: 3e9, bytes: 4e9 }, 100.0, &gpu);
        assert_eq!((floor.flops, floor.bytes, floor.launches), (3e-3, 2e-3, 2e-4));
        assert_eq!(floor.least(), 3e-3);
    }
}
