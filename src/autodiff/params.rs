//! Parameters: four parallel arenas (value, gradient, Adam's two moments) under one layout, groups side by side.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::Real;
use crate::device::{Arena, arena};

/// One parameter tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Dotted name, such as `rssm.gru.wx`.
    pub name: String,
    /// Shape.
    pub shape: Vec<usize>,
    /// First element in each of the four arenas.
    pub offset: usize,
}

impl Entry {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there is no element; never true in a layout.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the tensor lies in each of the four arenas.
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Where every parameter lies. Offsets are multiples of 16 elements; the gaps stay zero in all four arenas.
#[derive(Debug, Default)]
pub struct Layout {
    entries: Vec<Entry>,
    by_name: HashMap<String, usize>,
    groups: Vec<(String, Range<usize>)>,
    len: usize,
}

impl Layout {
    /// A layout without parameters.
    pub fn new() -> Self {
        Layout::default()
    }

    /// Appends a group of parameters that one optimizer updates.
    pub fn group(&mut self, name: &str, params: impl IntoIterator<Item = (String, Vec<usize>)>) {
        let start = self.len;
        for (name, shape) in params {
            let len: usize = shape.iter().product();
            assert!(len > 0, "parameter {name} of shape {shape:?} has no element");
            let index = self.entries.len();
            assert!(self.by_name.insert(name.clone(), index).is_none(), "there are two parameters named {name}");
            self.entries.push(Entry { name, shape, offset: self.len });
            // 16 elements are a whole number of cache lines in f32 and in f64.
            self.len += len.next_multiple_of(16);
        }
        self.groups.push((name.to_string(), start..self.len));
    }

    /// All parameters, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Position of the parameter of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The parameter of this name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.index(name).map(|i| &self.entries[i])
    }

    /// Where a group lies in each of the four arenas.
    pub fn group_range(&self, name: &str) -> Range<usize> {
        let found = self.groups.iter().find(|(group, _)| group == name);
        found.unwrap_or_else(|| panic!("there is no group of parameters named {name}")).1.clone()
    }

    /// The parameters of a group.
    pub fn group_entries(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let range = self.group_range(name);
        self.entries.iter().filter(move |e| range.contains(&e.offset))
    }

    /// Number of parameters of a group, without the gaps.
    pub fn count(&self, name: &str) -> usize {
        self.group_entries(name).map(Entry::len).sum()
    }

    /// Elements of each of the four arenas.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The four arenas.
pub struct Params<R: Real> {
    /// Where each parameter lies.
    pub layout: Arc<Layout>,
    /// Values.
    pub value: Arena<R>,
    /// Gradients of the last run of a plan.
    pub grad: Arena<R>,
    /// Adam's first moments.
    pub adam_m: Arena<R>,
    /// Adam's second moments.
    pub adam_v: Arena<R>,
    /// See [`Params::version`].
    version: u64,
}

/// The next version of any parameters.
static VERSION: AtomicU64 = AtomicU64::new(1);

impl<R: Real> Params<R> {
    /// All zeros.
    pub fn new(layout: Arc<Layout>) -> Self {
        let zeros = || Arena::new(arena::padded::<R>(layout.len()));
        let version = VERSION.fetch_add(1, Ordering::Relaxed);
        Params { value: zeros(), grad: zeros(), adam_m: zeros(), adam_v: zeros(), version, layout }
    }

    /// A number that these values had alone, among all parameters of this process: whoever keeps something made of them knows by it when that is stale.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Says that values have changed, or will before anyone reads them. Whoever writes into `value` calls it.
    pub fn changed(&mut self) {
        self.version = VERSION.fetch_add(1, Ordering::Relaxed);
    }

    fn range(&self, name: &str) -> Range<usize> {
        self.layout.entry(name).unwrap_or_else(|| panic!("there is no parameter named {name}")).range()
    }

    /// Values of the parameter of this name.
    pub fn value(&self, name: &str) -> &[R] {
        &self.value.all()[self.range(name)]
    }

    /// Values of the parameter of this name, to change.
    pub fn value_mut(&mut self, name: &str) -> &mut [R] {
        self.changed();
        let range = self.range(name);
        &mut self.value.all_mut()[range]
    }

    /// Gradient of the parameter of this name.
    pub fn grad(&self, name: &str) -> &[R] {
        &self.grad.all()[self.range(name)]
    }
}
