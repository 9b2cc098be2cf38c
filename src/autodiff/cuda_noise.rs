//! Which kernels draw their noise themselves.
//!
//! In a trace noise is a tensor, filled by one op and read by those that sample. On a device an op that samples draws the numbers that it needs,
//! at the address that the tensor's elements have: the same numbers, and nobody has to wait for a tensor, or keep it for the backward pass,
//! which draws them once more. Noise that the host gives, or that another op reads, stays a tensor.

use std::collections::{HashMap, HashSet};

use super::graph::{Graph, Var};
use super::op::Drawn;
use super::sweep::site;
use crate::base::Real;

/// The noise of a trace.
pub(super) struct Inside {
    /// For each call: the input that its kernels draw themselves, and where in which stream it begins.
    pub drawn: Vec<Option<(usize, Drawn)>>,
    /// Tensors of noise that nobody reads, so that nobody needs to write them.
    pub unwritten: HashSet<Var>,
}

impl Inside {
    pub fn new<R: Real>(graph: &Graph<R>) -> Self {
        let root = |var: Var| site(&graph.nodes, var).root;
        let noises = graph.calls.iter().filter_map(|call| call.op.draws().map(|noise| (call.outputs[0], noise)));
        let noises: HashMap<Var, _> = noises.filter(|&(noise, _)| root(noise) == noise).collect();
        let mut read: HashSet<Var> =
            (0..graph.nodes.len() as u32).map(Var).filter(|var| graph.nodes[var.index()].kept).map(root).collect();
        let mut drawn = Vec::new();
        for call in &graph.calls {
            let inside = call.op.noise().and_then(|(input, wanted)| {
                let site = site(&graph.nodes, call.inputs[input]);
                let &(distribution, stream) = noises.get(&site.root)?;
                (distribution == wanted).then_some((input, Drawn { stream, first: site.offset }))
            });
            let tensors = (0..call.inputs.len()).filter(|&i| is_tensor(inside, i));
            read.extend(tensors.map(|i| root(call.inputs[i])));
            drawn.push(inside);
        }
        Inside { drawn, unwritten: noises.into_keys().filter(|noise| !read.contains(noise)).collect() }
    }

    /// Whether the kernels of a call are given this input.
    pub fn is_tensor(&self, call: usize, input: usize) -> bool {
        is_tensor(self.drawn[call], input)
    }
}

fn is_tensor(inside: Option<(usize, Drawn)>, input: usize) -> bool {
    inside.is_none_or(|(noise, _)| input != noise)
}
