//! Scanned layers: where the inputs and outputs of a layer that is used once a time step lie.

use std::collections::BTreeMap;

use super::graph::{Graph, Var};
use super::sweep::site;
use crate::base::Real;

/// Lays the inputs and outputs of a scanned layer side by side: calls that share their weights, one a time step, become one
/// product over all steps when the gradient of the weights is computed.
/// `swept(call)`: whether anybody wants the gradient of the call's weights; where nobody does, its tensors stay apart, and are small.
pub(super) fn lay_out_scans<R: Real>(graph: &mut Graph<R>, swept: impl Fn(usize) -> bool) {
    type Weights = Vec<(Var, usize, usize)>;
    let mut layers: BTreeMap<(&'static str, Weights), Vec<usize>> = BTreeMap::new();
    for (index, call) in graph.calls.iter().enumerate() {
        let whole = call.inputs.iter().enumerate().filter(|(i, _)| call.op.whole(*i));
        let weights: Weights = whole.map(|(_, &x)| site(&graph.nodes, x).range()).collect();
        if !weights.is_empty() && swept(index) {
            layers.entry((call.op.name(), weights)).or_default().push(index);
        }
    }
    for calls in layers.into_values().filter(|calls| calls.len() > 1) {
        let first = &graph.calls[calls[0]];
        let (inputs, outputs) = (first.inputs.len(), first.outputs.len());
        if calls.iter().any(|&c| graph.calls[c].inputs.len() != inputs) {
            continue;
        }
        for operand in 0..inputs + outputs {
            let mut stack: Vec<Var> = Vec::new();
            let flush = |graph: &mut Graph<R>, stack: &mut Vec<Var>| {
                if stack.len() > 1 {
                    graph.stack(stack);
                }
                stack.clear();
            };
            for &c in &calls {
                let call = &graph.calls[c];
                let var = if operand < inputs { call.inputs[operand] } else { call.outputs[operand - inputs] };
                let fits = graph.stackable(var)
                    && !stack.contains(&var)
                    && stack.last().is_none_or(|&last| graph.shape(last) == graph.shape(var));
                if !fits {
                    flush(graph, &mut stack);
                }
                if graph.stackable(var) {
                    stack.push(var);
                }
            }
            flush(graph, &mut stack);
        }
    }
}
