//! What the steps of a plan are: op, layer, direction, and the work they take.

use crate::autodiff::Plan;
use crate::autodiff::describe::{CallInfo, StageInfo, StepInfo, TensorInfo, WeightsInfo};

/// Which way a call ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// Outputs from inputs.
    Forward,
    /// Gradients of the inputs.
    Backward,
    /// Gradients of the weights.
    Weights,
    /// Gradients cleared, or that of the loss set to 1, before they are added to.
    Clear,
}

impl Pass {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::Weights => "weights",
            Pass::Clear => "clear",
        }
    }
}

/// What a step of a region is, or the weight gradient of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// Name of the op; empty where there is none.
    pub op: &'static str,
    /// Dotted name: of the layer whose parameters the call reads, or where it reads none, the scope and the op.
    pub name: String,
    /// Which way.
    pub pass: Pass,
    /// Position of the call in the trace.
    pub call: Option<usize>,
    /// Floating point operations of all pieces.
    pub flops: f64,
    /// Bytes that all pieces read and write at least; of a backward pass, as many as forward.
    pub bytes: f64,
    /// Rows of all pieces.
    pub rows: usize,
    /// Pieces.
    pub pieces: usize,
}

/// The labels of a plan: `[stage][step or job]`.
pub type Labels = Vec<Vec<Label>>;

/// Labels every step and every weight gradient of a plan.
pub fn labels(plan: &Plan<f32>) -> Labels {
    let calls = plan.calls();
    let of_stage = |stage: StageInfo| match stage {
        StageInfo::Region { rows, chunk, steps } => {
            steps.iter().map(|step| of_step(step, &calls, rows, rows.div_ceil(chunk))).collect()
        }
        StageInfo::Weights(jobs) => jobs.iter().map(of_weights).collect(),
    };
    plan.stages().into_iter().map(of_stage).collect()
}

fn of_step(step: &StepInfo, calls: &[CallInfo], rows: usize, pieces: usize) -> Label {
    let (call, pass, flops) = match *step {
        StepInfo::Forward { call } => (call, Pass::Forward, calls[call].flops),
        StepInfo::Backward { call, flops, .. } => (call, Pass::Backward, flops),
        StepInfo::Zero { len, .. } => return cleared(len, rows, pieces),
        StepInfo::Seed { .. } => return cleared(1, rows, pieces),
    };
    let info = &calls[call];
    Label { op: info.op, name: layer(info), pass, call: Some(call), flops, bytes: info.bytes, rows, pieces }
}

fn cleared(len: usize, rows: usize, pieces: usize) -> Label {
    let (name, bytes) = ("gradients".to_string(), (size_of::<f32>() * len) as f64);
    Label { op: "", name, pass: Pass::Clear, call: None, flops: 0.0, bytes, rows, pieces }
}

fn of_weights(job: &WeightsInfo) -> Label {
    Label {
        op: job.op,
        name: stem(&job.params[0]),
        pass: Pass::Weights,
        call: None,
        flops: job.flops,
        bytes: job.bytes,
        rows: job.rows,
        pieces: job.pieces,
    }
}

/// The layer that a call belongs to.
fn layer(call: &CallInfo) -> String {
    let parameter = |tensor: &&TensorInfo| tensor.offset.is_none();
    match call.inputs.iter().find(parameter).and_then(|tensor| tensor.name.as_deref()) {
        Some(name) => stem(name),
        None => format!("{}.{}", call.scope, call.op),
    }
}

/// The name of a parameter without its last word: `actor.h2` of `actor.h2.w`.
fn stem(parameter: &str) -> String {
    parameter.rsplit_once('.').map_or(parameter, |(layer, _)| layer).to_string()
}

/// Pieces that the workers can share in a stage: each takes all steps of a region, or one of those of a layer's weights.
pub(super) fn pieces(stage: &[Label]) -> usize {
    match stage.first() {
        Some(label) if label.pass != Pass::Weights => label.pieces,
        _ => stage.iter().map(|label| label.pieces).sum(),
    }
}
