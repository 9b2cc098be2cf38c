//! The least time that an update can take on a stated GPU: its operations at the highest rate, its bytes at the full bandwidth, its launches one
//! after the other.

use std::collections::BTreeMap;

use super::label::{Label, Pass};
use crate::device::cuda::kernels::{NAMES, SOURCES};
use crate::run::args::Gpu;
use crate::run::rooms::file_of;

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

/// A file of `src/ops` with all its ops, which is also a file of `kernels`; empty for the clearing of gradients. And one of its passes.
pub type Room = (&'static str, Pass);

/// By room.
pub type Needs = BTreeMap<Room, Need>;

/// The needs of a plan whose steps have these labels, and of the optimizer of `params` parameters.
pub fn needs<'a>(labels: impl Iterator<Item = &'a Label>, params: usize) -> Needs {
    let mut needs = Needs::new();
    let mut add = |file, pass, flops, bytes| {
        let need: &mut Need = needs.entry((file, pass)).or_default();
        *need = Need { calls: need.calls + 1, flops: need.flops + flops, bytes: need.bytes + bytes };
    };
    labels.for_each(|label| add(file_of(label.op), label.pass, label.flops, label.bytes));
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

/// The room that a kernel belongs to: its file, and the pass that its name says, such as `linear_backward_weights`. `None` for an unknown kernel.
pub fn room_of(kernel: &str) -> Option<Room> {
    let source = NAMES.iter().find(|(_, name)| *name == kernel)?.0;
    let file = SOURCES[source].name.strip_prefix("kernels/")?.strip_suffix(".cu")?;
    let pass = match kernel {
        "activation_differentiate" => Pass::Backward,
        "add_rows" => Pass::Weights,
        name if name.contains("weights") => Pass::Weights,
        name if name.contains("backward") => Pass::Backward,
        _ => Pass::Forward,
    };
    Some((file, pass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_meet_the_ops_of_their_file() {
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
        let labels = [
            label("mean", Pass::Forward),
            label("linear", Pass::Forward),
            label("linear", Pass::Weights),
            label("gaussian", Pass::Forward),
            label("sample_gaussian", Pass::Forward),
        ];
        let needs = needs(labels.iter(), 10);
        let key = |kernel| needs.contains_key(&room_of(kernel).unwrap());
        assert!(["linear_backward_weights", "linear_forward", "mean_forward", "adam_norm"].into_iter().all(key));
        assert!(!["linear_backward_input", "mean_backward"].into_iter().any(key));
        // An op by another name than its file.
        assert_eq!(needs[&("gaussian", Pass::Forward)].calls, 2);
        assert_eq!(room_of("gaussian_forward"), Some(("gaussian", Pass::Forward)));
        assert_eq!(room_of("no_kernel"), None);
        assert_eq!(needs[&("adam", Pass::Forward)].bytes, 320.0);
    }

    #[test]
    fn the_floor_is_the_largest_of_three() {
        let gpu =
            Gpu { sm_count: 132, bandwidth: 2000.0, l2_mib: 50, l2_bandwidth: None, peak: 1000.0, launch_us: 2.0 };
        let floor = Floor::new(&Need { calls: 1, flops: 3e9, bytes: 4e9 }, 100.0, &gpu);
        assert_eq!((floor.flops, floor.bytes), (3e-3, 2e-3));
        assert!((floor.launches - 2e-4).abs() < 1e-12, "{floor:?}");
        assert_eq!(floor.least(), 3e-3);
    }
}
