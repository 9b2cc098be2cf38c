//! What a backward sweep visits: which calls, and which gradients of each are wanted.
//!
//! A sweep goes from one loss to one group of parameters. A gradient is wanted where both ends meet: the tensor depends on a
//! parameter of the group (through no stopped view), and the loss depends on the tensor. Everything else is not computed at
//! all, so the gradient of a frozen parameter is exactly 0.

use std::collections::HashMap;

use super::graph::{Graph, Node, Source, Var};
use super::op::MAX_SLOTS;
use crate::base::Real;

/// One backward pass: from a scalar loss to the parameters of one group.
#[derive(Debug, Clone)]
pub struct Sweep {
    /// The loss, a tensor of one element.
    pub loss: Var,
    /// Name of the group of parameters whose gradients are wanted.
    pub group: String,
}

impl Sweep {
    /// From `loss` to the parameters of `group`.
    pub fn new(loss: Var, group: &str) -> Self {
        Sweep { loss, group: group.to_string() }
    }
}

/// Where a tensor's numbers are: a range of the tensor that owns the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Site {
    /// The tensor that is not a view of another.
    pub root: Var,
    /// First element.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
    /// Whether a stopped view stands between.
    pub stopped: bool,
}

impl Site {
    pub fn end(&self) -> usize {
        self.offset + self.len
    }

    /// The same range, whatever gradient flows through it.
    pub fn range(&self) -> (Var, usize, usize) {
        (self.root, self.offset, self.len)
    }
}

pub(super) fn site(nodes: &[Node], var: Var) -> Site {
    let mut at = Site { root: var, offset: 0, len: nodes[var.index()].len(), stopped: false };
    loop {
        let node = &nodes[at.root.index()];
        at.stopped |= node.stopped;
        match node.view {
            Some((parent, offset)) => {
                at.root = parent;
                at.offset += offset;
            }
            None => return at,
        }
    }
}

/// Sets of elements, as ranges of roots.
#[derive(Default)]
struct Spans(HashMap<Var, Vec<(usize, usize)>>);

impl Spans {
    fn add(&mut self, site: Site) {
        self.0.entry(site.root).or_default().push((site.offset, site.end()));
    }

    fn meets(&self, site: Site) -> bool {
        self.0.get(&site.root).is_some_and(|spans| spans.iter().any(|&(a, b)| a < site.end() && site.offset < b))
    }
}

/// What one sweep wants of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wanted {
    /// Outputs whose gradient arrives.
    pub dy: [bool; MAX_SLOTS],
    /// Row inputs whose gradient is wanted.
    pub dx: [bool; MAX_SLOTS],
    /// Whole inputs whose gradient is wanted.
    pub dw: [bool; MAX_SLOTS],
}

/// For each call, what the sweep wants of it; `None` where it passes the call by.
pub(super) fn analyse<R: Real>(graph: &Graph<R>, sweep: &Sweep) -> Vec<Option<Wanted>> {
    assert_eq!(graph.len(sweep.loss), 1, "the loss of a sweep is a scalar, not {:?}", graph.shape(sweep.loss));
    let nodes = &graph.nodes;
    let group = graph.layout.group_range(&sweep.group);

    let mut depends = Spans::default();
    for (&index, &var) in &graph.params {
        if group.contains(&graph.layout.entries()[index].offset) {
            depends.add(site(nodes, var));
        }
    }
    let flows = |depends: &Spans, var: Var| {
        let site = site(nodes, var);
        !site.stopped && depends.meets(site)
    };
    for call in &graph.calls {
        if call.inputs.iter().any(|&x| flows(&depends, x)) {
            call.outputs.iter().for_each(|&y| depends.add(site(nodes, y)));
        }
    }

    let mut arrives = Spans::default();
    arrives.add(site(nodes, sweep.loss));
    let mut wanted: Vec<Option<Wanted>> = vec![None; graph.calls.len()];
    for (index, call) in graph.calls.iter().enumerate().rev() {
        let mut want = Wanted::default();
        for (i, &y) in call.outputs.iter().enumerate() {
            want.dy[i] = arrives.meets(site(nodes, y));
        }
        if !want.dy.contains(&true) {
            continue;
        }
        for (i, &x) in call.inputs.iter().enumerate() {
            if flows(&depends, x) {
                let whole = call.op.whole(i);
                assert!(
                    !whole || matches!(nodes[site(nodes, x).root.index()].source, Source::Param(_)),
                    "{}: input {i} belongs to no row, so its gradient is only for parameters",
                    call.op.name()
                );
                if whole { want.dw[i] = true } else { want.dx[i] = true }
            }
        }
        if want.dx.contains(&true) || want.dw.contains(&true) {
            for (i, &x) in call.inputs.iter().enumerate() {
                if want.dx[i] {
                    arrives.add(site(nodes, x));
                }
            }
            wanted[index] = Some(want);
        }
    }
    wanted
}
