//! Everything that a context owns.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::capture::{Capture, Graph};
use super::code::{Code, Failure, Outcome};
use super::model::Model;
use super::stream::{Event, Stream};
use crate::counters::Counters;
use crate::memory::Memory;
use crate::ptx::Module;

/// The null stream.
pub const NULL: u64 = 0;

/// The state of the driver: one device with its primary context.
pub struct State {
    pub model: Model,
    /// Why there is no device: the environment asks for one that is not known.
    pub refused: Option<String>,
    pub initialized: bool,
    /// How often the primary context is retained; at 0 there is none.
    pub retained: u32,
    pub memory: Memory,
    pub modules: BTreeMap<u64, Module>,
    pub functions: BTreeMap<u64, Function>,
    pub streams: BTreeMap<u64, Stream>,
    pub events: BTreeMap<u64, Event>,
    pub captures: BTreeMap<u64, Capture>,
    pub graphs: BTreeMap<u64, Arc<Graph>>,
    /// Executable graphs.
    pub execs: BTreeMap<u64, Arc<Graph>>,
    /// Page-locked host memory, by address.
    pub pinned: BTreeMap<usize, Layout>,
    /// By kernel.
    pub counters: BTreeMap<String, Counters>,
    /// The fault that broke the context: every later call answers with it.
    pub broken: Option<Failure>,
    /// The seed of all order; 0 stands for the latest moment at which the calls allow a piece of work.
    pub order: u64,
    /// Most blocks of a launch that run; 0 stands for all.
    pub sample: u32,
    /// Decisions about order so far.
    decisions: u64,
    handles: u64,
}

/// A kernel of a module, as a handle.
#[derive(Clone, Debug)]
pub struct Function {
    pub module: u64,
    pub name: Arc<str>,
    /// Most dynamic shared memory of a launch, in bytes.
    pub shared_limit: u32,
}

impl State {
    pub fn new(model: Result<Model, String>) -> Self {
        let refused = model.as_ref().err().cloned();
        let model = model.unwrap_or(Model::H100);
        State {
            model,
            refused,
            initialized: false,
            retained: 0,
            memory: Memory::new(model.memory),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            streams: BTreeMap::from([(NULL, Stream::new(true))]),
            events: BTreeMap::new(),
            captures: BTreeMap::new(),
            graphs: BTreeMap::new(),
            execs: BTreeMap::new(),
            pinned: BTreeMap::new(),
            counters: BTreeMap::new(),
            broken: None,
            order: 0,
            sample: 0,
            decisions: 0,
            handles: 0x1000,
        }
    }

    /// A handle that no object has or had.
    pub fn handle(&mut self) -> u64 {
        self.handles += 0x10;
        self.handles
    }

    /// Forgets everything that the context owned, as releasing the primary context for the last time does. Counters, order
    /// and handles already used stay.
    pub fn destroy_context(&mut self) {
        let fresh = State::new(Ok(self.model));
        for (at, layout) in std::mem::take(&mut self.pinned) {
            // SAFETY: allocated with this layout; the map held it, so it was not freed yet.
            unsafe { std::alloc::dealloc(at as *mut u8, layout) };
        }
        let old = std::mem::replace(self, fresh);
        self.initialized = old.initialized;
        self.counters = old.counters;
        self.order = old.order;
        self.handles = old.handles;
    }

    /// A number below `n` that the seed decides; 0 if there is no seed.
    pub fn decide(&mut self, n: usize) -> usize {
        (self.next_order() % n as u64) as usize
    }

    /// The seed of one more decision; 0 if there is no seed.
    pub fn next_order(&mut self) -> u64 {
        if self.order == 0 {
            return 0;
        }
        self.decisions += 1;
        // SplitMix64.
        let mut z = self.order.wrapping_add(self.decisions.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn function(&self, handle: u64) -> Outcome<&Function> {
        self.functions.get(&handle).ok_or_else(|| Code::InvalidHandle.into())
    }

    /// Whether these bytes of the host are page-locked.
    pub fn is_pinned(&self, at: usize, bytes: usize) -> bool {
        let before = self.pinned.range(..=at).next_back();
        before.is_some_and(|(start, layout)| at + bytes <= start + layout.size())
    }
}
