//! Is CUDA the same function? Runs a trace on the CPU in f64 and on a device in f32, and compares every tensor and every gradient.
//!
//! The plan keeps all tensors apart, so each of them is an allocation of its own on the device: the emulated driver then sees every access
//! beyond a tensor's end, and every read of an element that no kernel wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::cuda_exec::CudaPlan;
use super::gradcheck::{CLOCK, Case, Outcome, fill, trace};
use super::op::Clock;
use super::schedule::Tenant;
use super::{Params, Plan, Sweep};
use crate::base::Result;
use crate::device::Pool;
use crate::device::cuda::{Precision, kernels::Kernels};

/// Largest error that passes where a single op is checked: f32 rounds at 6e-8, and an op of these sizes rounds a few times.
pub const BOUND: f64 = 1e-6;

/// Largest error that passes for a single op with products in this precision. One rounding moves an operand by 2^-11 of itself in tf32 and by
/// 2^-8 in bf16; an element that is small because large products cancel has several of them.
pub fn bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => BOUND,
        Precision::Tf32 => 2e-3,
        Precision::Bf16 => 1.6e-2,
    }
}

/// Tensors whose largest number is smaller are judged as if it were this: a scalar near 0 is a difference of larger numbers, and has their roundings.
pub const FLOOR: f64 = 1e-2;

/// The same for a single number behind products that round their operands: it is a mean of numbers of about this size and of either sign, with
/// their roundings, however small it is itself.
pub const MEAN_FLOOR: f64 = 1.0;

/// The result of a comparison.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The worst error.
    pub outcome: Outcome,
    /// Every number that the device computed.
    pub device: Vec<f64>,
}

/// Runs a case of the gradient checks on both.
///
/// # Errors
/// Those of [`CudaPlan::run`].
pub fn check(case: &Case, pool: &Arc<Pool>, kernels: &Arc<Kernels>) -> Result<Comparison> {
    let (mut params, graph, loss) = trace(case);
    let mut plan = Plan::apart(graph, &[Sweep::new(loss, "checked")], pool.clone());
    fill(case, &mut plan);
    compare(&case.name, &mut plan, &mut params, CLOCK, kernels)
}

/// Runs a plan that [`Plan::apart`] made on both. The error of an element is its distance from the CPU's over the largest number of its
/// tensor, or over [`FLOOR`] or [`MEAN_FLOOR`], if that is larger.
///
/// # Errors
/// Those of [`CudaPlan::run`].
pub fn compare(
    name: &str,
    plan: &mut Plan<f64>,
    params: &mut Params<f64>,
    clock: Clock,
    kernels: &Arc<Kernels>,
) -> Result<Comparison> {
    let mut device = CudaPlan::new(plan, params, kernels.clone())?;
    device.run(plan, params, clock, true)?;
    let places: BTreeMap<_, _> = plan.places.work.iter().map(|(&tenant, &offset)| (tenant, offset)).collect();
    let mut got: Vec<(String, Vec<f64>)> = Vec::new();
    let mut at = Vec::new();
    for (tenant, offset) in places {
        // A gradient is memory for the backward pass, which may leave there what it likes.
        if let Tenant::Value(var) = tenant
            && device.writes(var)
        {
            let len = plan.graph.len(var);
            got.push((plan.label(var), device.tensor(offset, len)?));
            at.push(offset..offset + len);
        }
    }
    let gradient = params.grad.all().to_vec();
    plan.run(params, clock);
    let mut outcome = Outcome::new(name);
    let mut note = |label: &str, floor: f64, got: &[f64], want: &[f64]| {
        let scale = want.iter().fold(floor, |a, x| a.max(x.abs()));
        let apart = got.iter().zip(want).map(|(got, want)| (got - want).abs() / scale);
        apart.enumerate().for_each(|(i, error)| outcome.note(error, label, i));
    };
    let rounded = kernels.precision() != Precision::F32;
    for ((label, got), at) in got.iter().zip(at) {
        let floor = if rounded && got.len() == 1 { MEAN_FLOOR } else { FLOOR };
        note(label, floor, got, &plan.work.all()[at]);
    }
    for entry in plan.sweeps.iter().flat_map(|sweep| params.layout.group_entries(&sweep.group)) {
        note(&format!("d{}", entry.name), FLOOR, &gradient[entry.range()], &params.grad.all()[entry.range()]);
    }
    let device = got.into_iter().flat_map(|(_, numbers)| numbers).chain(gradient).collect();
    Ok(Comparison { outcome, device })
}
