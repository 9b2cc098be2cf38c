//! `Graph` and `Var`: one trace of a computation, before anything has a place in memory.
//!
//! A tensor is a shape and, later, an offset. A view costs nothing: [`Graph::window`] is a time step of a sequence,
//! [`Graph::reshape`] the same numbers under another shape, [`Graph::stop`] the same numbers through which no gradient flows.
//! [`Graph::stack`] works backwards: it makes the outputs of calls already traced lie side by side, so that nothing is ever copied
//! into a sequence.

use std::collections::HashMap;
use std::sync::Arc;

use super::op::{MAX_SLOTS, Op};
use super::params::Layout;
use crate::base::Real;
use crate::device::gemm::Precision;

/// A tensor of a [`Graph`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Var(pub(super) u32);

impl Var {
    /// Position in the trace.
    pub fn number(self) -> u64 {
        self.0.into()
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// What fills a tensor that is not a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The host, before each run.
    Input,
    /// The parameter with this index in the layout.
    Param(usize),
    /// Output of a call.
    Call,
    /// Holds the tensors that were stacked.
    Stack,
}

pub(super) struct Node {
    pub shape: Vec<usize>,
    pub source: Source,
    /// The tensor this one is a view of, and where in it this one begins.
    pub view: Option<(Var, usize)>,
    /// No gradient flows through this view.
    pub stopped: bool,
    /// Read by the host after a run, so its memory is never used again within one.
    pub kept: bool,
    pub name: Option<String>,
}

impl Node {
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

pub(super) struct Call<R: Real> {
    pub op: Box<dyn Op<R>>,
    pub inputs: Vec<Var>,
    pub outputs: Vec<Var>,
    pub scope: String,
}

/// One trace of a computation.
pub struct Graph<R: Real> {
    pub(super) layout: Arc<Layout>,
    pub(super) nodes: Vec<Node>,
    pub(super) calls: Vec<Call<R>>,
    pub(super) params: HashMap<usize, Var>,
    scope: String,
    precision: Precision,
}

impl<R: Real> Graph<R> {
    /// An empty trace over these parameters.
    pub fn new(layout: Arc<Layout>) -> Self {
        Graph {
            layout,
            nodes: Vec::new(),
            calls: Vec::new(),
            params: HashMap::new(),
            scope: String::new(),
            precision: Precision::Full,
        }
    }

    /// The precision of matrix products in calls traced from here on; forward and backward, it stays with the call.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// Traces `f` with matrix products in full precision.
    pub fn in_full<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let precision = std::mem::take(&mut self.precision);
        let traced = f(self);
        self.precision = precision;
        traced
    }

    /// The precision of matrix products in a call traced now.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    fn push(&mut self, shape: &[usize], source: Source, view: Option<(Var, usize)>) -> Var {
        assert!(!shape.is_empty() && shape.iter().all(|&n| n > 0), "a tensor of shape {shape:?} has no element");
        let node = Node { shape: shape.to_vec(), source, view, stopped: false, kept: false, name: None };
        self.nodes.push(node);
        Var(u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 tensors"))
    }

    /// A tensor that the host fills before each run; keeps its contents between runs.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Var {
        assert!(
            !self.nodes.iter().any(|n| n.source == Source::Input && n.name.as_deref() == Some(name)),
            "there are two inputs named {name}"
        );
        let var = self.push(shape, Source::Input, None);
        self.nodes[var.index()].name = Some(name.to_string());
        var
    }

    /// The parameter of this dotted name.
    pub fn param(&mut self, name: &str) -> Var {
        let index = self.layout.index(name).unwrap_or_else(|| panic!("there is no parameter named {name}"));
        if let Some(&var) = self.params.get(&index) {
            return var;
        }
        let shape = self.layout.entries()[index].shape.clone();
        let var = self.push(&shape, Source::Param(index), None);
        self.nodes[var.index()].name = Some(name.to_string());
        self.params.insert(index, var);
        var
    }

    /// Names what the following calls belong to, in profiles and in `explain`.
    pub fn scope(&mut self, name: &str) {
        self.scope = name.to_string();
    }

    /// Records a call of `op`; returns its outputs, of these shapes.
    pub fn call<const N: usize>(
        &mut self,
        op: impl Op<R> + 'static,
        inputs: &[Var],
        shapes: [&[usize]; N],
    ) -> [Var; N] {
        let (name, rows) = (op.name(), op.rows());
        assert!(inputs.len() <= MAX_SLOTS && N <= MAX_SLOTS, "{name}: more than {MAX_SLOTS} inputs or outputs");
        for (i, &x) in inputs.iter().enumerate() {
            let len = self.len(x);
            assert!(op.whole(i) || len.is_multiple_of(rows), "{name}: input {i} has {len} elements for {rows} rows");
        }
        let outputs = shapes.map(|shape| {
            let var = self.push(shape, Source::Call, None);
            assert!(self.len(var).is_multiple_of(rows), "{name}: an output of shape {shape:?} for {rows} rows");
            var
        });
        let scope = self.scope.clone();
        self.calls.push(Call { op: Box::new(op), inputs: inputs.to_vec(), outputs: outputs.to_vec(), scope });
        outputs
    }

    fn view(&mut self, x: Var, offset: usize, shape: &[usize]) -> Var {
        let len: usize = shape.iter().product();
        assert!(offset + len <= self.len(x), "a view of {shape:?} at {offset} leaves {:?}", self.shape(x));
        self.push(shape, Source::Stack, Some((x, offset)))
    }

    /// Step `t` of a sequence `[T, ...]`: shape `[...]`.
    pub fn window(&mut self, x: Var, t: usize) -> Var {
        let shape = self.shape(x).to_vec();
        assert!(shape.len() > 1 && t < shape[0], "window {t} of {shape:?}");
        let len: usize = shape[1..].iter().product();
        self.view(x, t * len, &shape[1..])
    }

    /// The first-axis rows `from..to` of `x`.
    pub fn rows(&mut self, x: Var, from: usize, to: usize) -> Var {
        let mut shape = self.shape(x).to_vec();
        assert!(from < to && to <= shape[0], "rows {from}..{to} of {shape:?}");
        let width: usize = shape[1..].iter().product();
        shape[0] = to - from;
        self.view(x, from * width, &shape)
    }

    /// The same numbers under another shape.
    pub fn reshape(&mut self, x: Var, shape: &[usize]) -> Var {
        let len: usize = shape.iter().product();
        assert_eq!(len, self.len(x), "reshape: {:?} does not hold as many numbers as {shape:?}", self.shape(x));
        self.view(x, 0, shape)
    }

    /// The same numbers, through which no gradient flows.
    pub fn stop(&mut self, x: Var) -> Var {
        let shape = self.shape(x).to_vec();
        let var = self.view(x, 0, &shape);
        self.nodes[var.index()].stopped = true;
        var
    }

    /// Makes outputs of equal shape `[...]` lie side by side as one tensor `[n, ...]`, without copying. Each may be stacked once.
    pub fn stack(&mut self, parts: &[Var]) -> Var {
        let shape = self.shape(parts[0]).to_vec();
        let mut whole = vec![parts.len()];
        whole.extend(&shape);
        let var = self.push(&whole, Source::Stack, None);
        let len: usize = shape.iter().product();
        for (i, &part) in parts.iter().enumerate() {
            assert_eq!(self.shape(part), shape, "stack: part {i} has another shape than part 0");
            assert!(self.stackable(part), "stack: part {i} is not the output of a call, or was stacked before");
            self.nodes[part.index()].view = Some((var, i * len));
            // What the host reads of a part is read of the whole.
            self.nodes[var.index()].kept |= self.nodes[part.index()].kept;
        }
        var
    }

    /// Whether [`Graph::stack`] may place this tensor.
    pub(super) fn stackable(&self, var: Var) -> bool {
        let node = &self.nodes[var.index()];
        node.source == Source::Call && node.view.is_none()
    }

    /// Marks a tensor that the host reads after a run.
    pub fn keep(&mut self, x: Var) -> Var {
        let mut at = x;
        loop {
            self.nodes[at.index()].kept = true;
            match self.nodes[at.index()].view {
                Some((parent, _)) => at = parent,
                None => return x,
            }
        }
    }

    /// Shape of a tensor.
    pub fn shape(&self, x: Var) -> &[usize] {
        &self.nodes[x.index()].shape
    }

    /// Number of elements of a tensor.
    pub fn len(&self, x: Var) -> usize {
        self.nodes[x.index()].len()
    }

    /// Size of the last axis.
    pub fn width(&self, x: Var) -> usize {
        *self.shape(x).last().expect("a shape has at least one axis")
    }

    /// Half the size of the last axis, of a tensor whose rows are two halves.
    pub fn half_width(&self, x: Var) -> usize {
        let width = self.width(x);
        assert!(width.is_multiple_of(2), "a row of {width} numbers has no two halves");
        width / 2
    }

    /// Number of rows: elements over the size of the last axis.
    pub fn height(&self, x: Var) -> usize {
        self.len(x) / self.width(x)
    }

    /// Shape of `x` with another last axis.
    pub fn with_width(&self, x: Var, width: usize) -> Vec<usize> {
        let mut shape = self.shape(x).to_vec();
        *shape.last_mut().expect("a shape has at least one axis") = width;
        shape
    }

    /// Whether nothing was traced yet.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }
}
