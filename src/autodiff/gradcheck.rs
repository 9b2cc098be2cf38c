//! Gradient checks: is `backward` the derivative of `forward`?
//!
//! A case builds a scalar from parameters; every parameter element (or a fixed sample of them, where there are many) is moved by
//! `h` both ways in f64, and the slope is compared with the gradient. The error of an element is its distance from the slope over
//! the largest gradient of its tensor (or 1, if that is larger), so that it is not ruled by elements whose gradient is nearly zero.

use std::sync::Arc;

use super::{Clock, Graph, Layout, Params, Plan, Sweep, Var};
use crate::base::{Philox, philox::stream};
use crate::device::Pool;

/// Builds the scalar to differentiate: a function of the graph that may ask it for the parameters by name.
pub type Build = Box<dyn Fn(&mut Graph<f64>) -> Var + Sync + Send>;

/// One gradient check.
pub struct Case {
    /// What is checked: name of the op, and which variant.
    pub name: String,
    /// Name and shape of everything that is differentiated.
    pub params: Vec<(String, Vec<usize>)>,
    /// Name, shape and values of what is not: noise, targets.
    pub inputs: Vec<(String, Vec<usize>, Vec<f64>)>,
    /// Values of a parameter from standard normal draws: which must stay away from kinks, be positive, and so on.
    pub shape_value: fn(&str, f64) -> f64,
    /// Builds the scalar.
    pub build: Build,
}

/// Result of one check.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the case.
    pub name: String,
    /// Elements that were moved.
    pub checked: usize,
    /// Worst scaled error, and the element that has it.
    pub worst: f64,
    /// `parameter[element]`.
    pub at: String,
}

impl Outcome {
    /// Nothing checked yet.
    pub fn new(name: &str) -> Self {
        Outcome { name: name.to_string(), checked: 0, worst: 0.0, at: String::new() }
    }

    /// Takes note of the error of element `i` of a parameter.
    pub fn note(&mut self, error: f64, parameter: &str, i: usize) {
        self.checked += 1;
        // A NaN is the worst of all.
        let error = if error.is_nan() { f64::INFINITY } else { error };
        if error > self.worst {
            self.worst = error;
            self.at = format!("{parameter}[{i}]");
        }
    }

    /// Whether something was checked and all errors are within the bound.
    pub fn passes(&self, bound: f64) -> bool {
        self.checked > 0 && self.worst <= bound
    }
}

/// Step of the central differences: at 1e-5 the truncation error and the rounding error of f64 are about equal.
pub const STEP: f64 = 1e-5;

/// Largest error that passes where a single op is checked.
pub const BOUND: f64 = 1e-7;

/// Elements that are moved of one parameter at most.
const SAMPLE: usize = 60;

/// Where the random numbers of a case stand.
pub(super) const CLOCK: Clock = Clock { seed: 5, step: 1 };

/// Parameters with their values, the trace with the scalar kept, and the scalar.
pub(super) fn trace(case: &Case) -> (Params<f64>, Graph<f64>, Var) {
    let mut layout = Layout::new();
    layout.group("checked", case.params.clone());
    let layout = Arc::new(layout);
    let mut params = Params::<f64>::new(layout.clone());
    let mut rng = Philox::new(11, stream::TEST, 0);
    for (name, _) in &case.params {
        params.value_mut(name).iter_mut().for_each(|x| *x = (case.shape_value)(name, rng.normal()));
    }
    let mut graph = Graph::new(layout);
    let loss = (case.build)(&mut graph);
    graph.keep(loss);
    (params, graph, loss)
}

/// Fills the inputs of a case's plan.
pub(super) fn fill(case: &Case, plan: &mut Plan<f64>) {
    for (name, shape, values) in &case.inputs {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "{}: input {name}", case.name);
        let var = plan.input(name).unwrap_or_else(|| panic!("{}: no input named {name}", case.name));
        plan.input_mut(var).copy_from_slice(values);
    }
}

/// The elements of a tensor of this shape that are moved: all, or some 60, which come by every column. A step that had a divisor with the last axis in common
/// would leave columns out, and with them what only these hold.
pub fn sampled(shape: &[usize]) -> impl Iterator<Item = usize> {
    let (len, columns) = (shape.iter().product::<usize>(), *shape.last().unwrap_or(&1));
    let apart = |step: usize| (2..=columns).all(|d| !step.is_multiple_of(d) || !columns.is_multiple_of(d));
    let step = (len.div_ceil(SAMPLE)..).find(|&step| step == 1 || apart(step)).expect("a prime is above every number");
    (0..len).step_by(step)
}

/// Runs a case.
pub fn check(case: &Case, pool: &Arc<Pool>) -> Outcome {
    let (mut params, graph, loss) = trace(case);
    let mut plan = Plan::new(graph, &[Sweep::new(loss, "checked")], pool.clone());
    fill(case, &mut plan);
    plan.run(&mut params, CLOCK);
    let gradient = params.grad.all().to_vec();
    let layout = params.layout.clone();

    let mut outcome = Outcome::new(&case.name);
    for entry in layout.entries() {
        let scale = gradient[entry.range()].iter().fold(1.0_f64, |a, g| a.max(g.abs()));
        for i in sampled(&entry.shape) {
            let here = params.value(&entry.name)[i];
            let mut at = |x: f64| {
                params.value_mut(&entry.name)[i] = x;
                plan.run(&mut params, CLOCK);
                plan.scalar(loss)
            };
            let slope = (at(here + STEP) - at(here - STEP)) / (2.0 * STEP);
            at(here);
            let error = (gradient[entry.offset + i] - slope).abs() / scale;
            outcome.note(error, &entry.name, i);
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_comes_by_every_column() {
        for (shape, all) in [(&[7, 50][..], false), (&[40, 6], false), (&[16, 2, 2, 16], false), (&[5, 7], true)] {
            let columns = *shape.last().unwrap();
            let moved: Vec<usize> = sampled(shape).collect();
            assert!(moved.len() <= SAMPLE && (moved.len() == shape.iter().product::<usize>()) == all, "{shape:?}");
            assert!((0..columns).all(|c| moved.iter().any(|i| i % columns == c)), "{shape:?}: a column is left out");
        }
    }
}
