//! Gradients that are by design not the derivative of the forward pass, made checkable.
//!
//! A stopped view counts as a constant, and a straight-through sample counts as its probabilities: moving a parameter by `h` moves both all
//! the same, so the slope of a loss that contains them is not its gradient. [`freeze`] rewrites a trace into a function whose slope **is**
//! that gradient at one point of the parameters: at the first run, which happens there, stopped views and samples are remembered; at every later
//! run
//!
//! ```text
//! stop(x)                -> x at that point
//! sample, which counts as p -> sample at that point + p - p at that point
//! ```
//! At the point itself the function has the value of the original, so its slope there is what the backward pass ought to compute.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::graph::{Graph, Node, Source, Var};
use super::op::{Backward, Clock, Cost, Forward, MAX_SLOTS, Op, Pack, WeightSplit, Weights, take};
use super::sweep::site;

/// Whether the next run remembers, or uses what was remembered.
#[derive(Debug, Clone, Default)]
pub struct Freeze(Arc<AtomicBool>);

impl Freeze {
    /// From now on, stopped views and samples are those of the last run.
    pub fn hold(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn holds(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Rewrites a trace as said at the top of this file; `straight_through` names the ops whose output 0 counts as their output 1.
pub fn freeze(graph: &mut Graph<f64>, straight_through: &[&str]) -> Freeze {
    let switch = Freeze::default();
    let mut frozen: HashSet<Var> = HashSet::new();
    for mut call in std::mem::take(&mut graph.calls) {
        for &x in &call.inputs {
            // All that a stopped view shows was computed before the first call that reads it.
            if let Some(stop) = first_stop(&graph.nodes, x).filter(|&stop| frozen.insert(stop)) {
                hold_view(graph, stop, &switch);
            }
        }
        if straight_through.contains(&call.op.name()) {
            let memory = call.outputs.iter().take(2).map(|&y| vec![0.0; graph.len(y)]).collect();
            call.op = Box::new(Straight { inner: call.op, memory: Mutex::new(memory), switch: switch.clone() });
        }
        graph.calls.push(call);
    }
    switch
}

/// The stopped view nearest to the memory that `x` is a view of, unless the host fills that memory.
fn first_stop(nodes: &[Node], x: Var) -> Option<Var> {
    if nodes[site(nodes, x).root.index()].source == Source::Input {
        return None;
    }
    let (mut at, mut found) = (x, None);
    loop {
        let node = &nodes[at.index()];
        found = if node.stopped { Some(at) } else { found };
        match node.view {
            Some((parent, _)) => at = parent,
            None => return found,
        }
    }
}

/// Makes a stopped view show a copy of what it showed.
fn hold_view(graph: &mut Graph<f64>, stop: Var, switch: &Freeze) {
    let node = &graph.nodes[stop.index()];
    let (shape, view) = (node.shape.clone(), node.view);
    graph.nodes.push(Node {
        shape: shape.clone(),
        source: Source::Stack,
        view,
        stopped: false,
        kept: false,
        name: None,
    });
    let x = Var(u32::try_from(graph.nodes.len() - 1).expect("fewer than 2^32 tensors"));
    let op = Hold { memory: Mutex::new(vec![0.0; graph.len(x)]), switch: switch.clone() };
    let [held] = graph.call(op, &[x], [&shape]);
    graph.nodes[stop.index()].view = Some((held, 0));
}

/// Puts out its input at the point.
struct Hold {
    memory: Mutex<Vec<f64>>,
    switch: Freeze,
}

impl Op<f64> for Hold {
    fn name(&self) -> &'static str {
        "hold"
    }

    fn rows(&self) -> usize {
        1
    }

    fn cost(&self) -> Cost {
        Cost::default()
    }

    fn forward(&self, io: Forward<'_, f64>) {
        let [y] = take(io.y);
        let mut memory = self.memory.lock().expect("no worker panicked");
        if !self.switch.holds() {
            memory.copy_from_slice(io.x[0]);
        }
        y.copy_from_slice(&memory);
    }

    fn backward(&self, _io: Backward<'_, f64>) {
        panic!("no gradient flows through a stopped view");
    }
}

/// An op whose output 0 counts as its output 1.
struct Straight {
    inner: Box<dyn Op<f64>>,
    /// Outputs 0 and 1 at the point.
    memory: Mutex<Vec<Vec<f64>>>,
    switch: Freeze,
}

impl Op<f64> for Straight {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn whole(&self, input: usize) -> bool {
        self.inner.whole(input)
    }

    fn cost(&self) -> Cost {
        self.inner.cost()
    }

    fn packs(&self) -> Vec<Pack> {
        self.inner.packs()
    }

    fn scratch(&self, rows: usize) -> usize {
        self.inner.scratch(rows)
    }

    fn forward(&self, io: Forward<'_, f64>) {
        let mut y = io.y;
        let clock: Clock = io.clock;
        let mut lent = y.iter_mut();
        let again: [&mut [f64]; MAX_SLOTS] =
            std::array::from_fn(|_| &mut **lent.next().expect("as many slots as MAX_SLOTS"));
        self.inner.forward(Forward {
            rows: io.rows.clone(),
            x: io.x,
            y: again,
            packed: io.packed,
            scratch: io.scratch,
            clock,
        });
        let [sample, p] = take(y);
        let mut memory = self.memory.lock().expect("no worker panicked");
        let [sample_then, p_then] = &mut memory[..] else { panic!("{}: it has two outputs", self.name()) };
        let first = io.rows.start * (p_then.len() / self.rows());
        for i in 0..p.len() {
            if self.switch.holds() {
                sample[i] = sample_then[first + i] + (p[i] - p_then[first + i]);
            } else {
                (sample_then[first + i], p_then[first + i]) = (sample[i], p[i]);
            }
        }
    }

    fn backward(&self, io: Backward<'_, f64>) {
        self.inner.backward(io);
    }

    fn backward_weights(&self, io: Weights<'_, f64>) {
        self.inner.backward_weights(io);
    }

    fn weight_split(&self) -> WeightSplit {
        self.inner.weight_split()
    }
}
