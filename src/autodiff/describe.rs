//! A plan in words: what runs in which order, on which tensors, and where they lie. For `explain` and for tests.

use super::graph::{Source, Var};
use super::op::MAX_SLOTS;
use super::plan::Plan;
use super::resolve::{Slot, Space, Stage, Step};
use super::sweep::site;
use crate::base::Real;

/// A tensor as one call sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Name of an input or a parameter.
    pub name: Option<String>,
    /// Shape, of a window the window's.
    pub shape: Vec<usize>,
    /// First element in the work arena; `None` for parameters, which have arenas of their own.
    pub offset: Option<usize>,
}

/// A call of an op.
#[derive(Debug, Clone, PartialEq)]
pub struct CallInfo {
    /// Position in the trace.
    pub index: usize,
    /// Name of the op.
    pub op: &'static str,
    /// What it belongs to.
    pub scope: String,
    /// Independent rows.
    pub rows: usize,
    /// Inputs, parameters among them.
    pub inputs: Vec<TensorInfo>,
    /// Outputs.
    pub outputs: Vec<TensorInfo>,
    /// Floating point operations of one forward pass.
    pub flops: f64,
}

/// One thing that a piece of a region does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepInfo {
    /// The forward pass of a call.
    Forward {
        /// Position of the call in the trace.
        call: usize,
    },
    /// The gradient of a loss with respect to itself is set to 1: here a sweep begins.
    Seed {
        /// The group of parameters that the sweep goes to.
        group: String,
    },
    /// The backward pass of a call.
    Backward {
        /// Position of the call in the trace.
        call: usize,
        /// Which inputs get a gradient, and where it lies in the work arena.
        into: Vec<(usize, usize)>,
    },
    /// Gradients are cleared before they are first added to.
    Zero {
        /// First element in the work arena.
        offset: usize,
        /// Number of elements.
        len: usize,
    },
}

/// The gradient of the weights of one layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsInfo {
    /// Name of the op.
    pub op: &'static str,
    /// The parameters whose gradient is computed.
    pub params: Vec<String>,
    /// Products of which the gradient is the sum: calls that lie side by side are one.
    pub products: usize,
    /// Rows of all products.
    pub rows: usize,
    /// Pieces that run in parallel.
    pub pieces: usize,
}

/// A part of a plan between two barriers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageInfo {
    /// Workers take pieces of the rows through all steps.
    Region {
        /// Independent rows.
        rows: usize,
        /// Rows of one piece.
        chunk: usize,
        /// What each piece does, in order.
        steps: Vec<StepInfo>,
    },
    /// Gradients of weights.
    Weights(Vec<WeightsInfo>),
}

impl<R: Real> Plan<R> {
    /// Every call of the trace.
    pub fn calls(&self) -> Vec<CallInfo> {
        let calls = self.graph.calls.iter().enumerate();
        calls
            .map(|(index, call)| CallInfo {
                index,
                op: call.op.name(),
                scope: call.scope.clone(),
                rows: call.op.rows(),
                inputs: call.inputs.iter().map(|&x| self.tensor(x)).collect(),
                outputs: call.outputs.iter().map(|&y| self.tensor(y)).collect(),
                flops: call.op.cost().flops,
            })
            .collect()
    }

    fn tensor(&self, var: Var) -> TensorInfo {
        let s = site(&self.graph.nodes, var);
        let root = &self.graph.nodes[s.root.index()];
        let offset = match root.source {
            Source::Param(_) => None,
            _ => self.places.work.get(&super::schedule::Tenant::Value(s.root)).map(|at| at + s.offset),
        };
        TensorInfo { name: root.name.clone(), shape: self.graph.nodes[var.index()].shape.clone(), offset }
    }

    /// All stages in the order in which they run.
    pub fn stages(&self) -> Vec<StageInfo> {
        self.stages.iter().map(|stage| self.stage(stage)).collect()
    }

    fn stage(&self, stage: &Stage<R>) -> StageInfo {
        match stage {
            Stage::Region { rows, chunk, steps, .. } => {
                StageInfo::Region { rows: *rows, chunk: *chunk, steps: steps.iter().map(|s| self.step(s)).collect() }
            }
            Stage::Weights { jobs, .. } => StageInfo::Weights(
                jobs.iter()
                    .map(|job| WeightsInfo {
                        op: self.graph.calls[job.runs[0].call].op.name(),
                        params: self.params(&job.dw),
                        products: job.runs.len(),
                        rows: job.runs.iter().map(|run| run.rows).sum(),
                        pieces: job.pieces,
                    })
                    .collect(),
            ),
        }
    }

    fn step(&self, step: &Step) -> StepInfo {
        match *step {
            Step::Forward { call } => StepInfo::Forward { call },
            Step::Zero { slot, .. } => StepInfo::Zero { offset: slot.offset, len: slot.len },
            Step::Seed { sweep, .. } => StepInfo::Seed { group: self.sweeps[sweep].group.clone() },
            Step::Backward { call, ref dx, .. } => {
                let into = (0..MAX_SLOTS).filter_map(|i| dx[i].map(|slot| (i, slot.offset)));
                StepInfo::Backward { call, into: into.collect() }
            }
        }
    }

    /// The names of the parameters that gradients belong to, each once.
    fn params(&self, dw: &[Option<Slot>]) -> Vec<String> {
        let mut names = Vec::new();
        for slot in dw.iter().flatten() {
            assert_eq!(slot.space, Space::Grad, "gradients of weights lie among the gradients of parameters");
            let mut entries = self.graph.layout.entries().iter();
            let entry = entries.find(|e| e.range().contains(&slot.offset)).expect("a gradient belongs to a parameter");
            if !names.contains(&entry.name) {
                names.push(entry.name.clone());
            }
        }
        names
    }
}
