//! One piece of work of a stream or of a graph, and how it runs.

use std::sync::Arc;

use super::code::{Code, Outcome};
use super::state::State;
use crate::machine::{self, Launch};

/// What a stream or a node of a graph does.
#[derive(Clone, Debug)]
pub enum Work {
    /// A kernel of a module.
    Launch { module: u64, kernel: Arc<str>, launch: Launch },
    /// Host to device.
    Upload { to: u64, from: Host },
    /// Device to host.
    Download { to: Host, from: u64 },
    /// Within the device.
    Copy { to: u64, from: u64, bytes: u64 },
    /// `count` times the bytes of a pattern.
    Fill { to: u64, pattern: Vec<u8>, count: u64 },
    /// The end of an allocation.
    Free { at: u64 },
    /// All work of a graph.
    Graph(Arc<super::capture::Graph>),
}

/// Host memory of a copy.
#[derive(Clone, Debug)]
pub enum Host {
    /// Bytes that were copied when the call was made, as a driver does with pageable memory.
    Taken(Vec<u8>),
    /// An address that is read or written when the copy's turn comes.
    There { at: usize, bytes: usize },
}

impl Work {
    /// The `CUgraphNodeType` of a node that does this.
    pub fn node_type(&self) -> i32 {
        match self {
            Work::Launch { .. } => 0,
            Work::Upload { .. } | Work::Download { .. } | Work::Copy { .. } => 1,
            Work::Fill { .. } => 2,
            Work::Graph(_) => 4,
            Work::Free { .. } => 11,
        }
    }
}

impl State {
    /// Does a piece of work.
    pub fn perform(&mut self, work: &Work) -> Outcome {
        match work {
            Work::Launch { module, kernel, launch } => {
                let order = self.next_order();
                let module = self.modules.get(module).ok_or(Code::InvalidHandle)?;
                let launch = Launch { order, sample: self.sample, ..launch.clone() };
                let counters = self.counters.entry(kernel.to_string()).or_default();
                machine::launch(module, kernel, &launch, &mut self.memory, counters)?;
            }
            Work::Upload { to, from: Host::Taken(bytes) } => self.memory.write(*to, bytes)?,
            Work::Upload { to, from: Host::There { at, bytes } } => {
                // SAFETY: the caller of the copy promised that these bytes are there until the copy is done.
                let bytes = unsafe { std::slice::from_raw_parts(*at as *const u8, *bytes) };
                self.memory.write(*to, bytes)?;
            }
            Work::Download { to: Host::There { at, bytes }, from } => {
                // SAFETY: as above, and nothing else reads or writes them meanwhile.
                let bytes = unsafe { std::slice::from_raw_parts_mut(*at as *mut u8, *bytes) };
                self.memory.read(*from, bytes)?;
            }
            Work::Download { to: Host::Taken(_), .. } => return Err(Code::InvalidValue.into()),
            Work::Copy { to, from, bytes } => self.memory.copy(*to, *from, *bytes)?,
            Work::Fill { to, pattern, count } => match pattern.as_slice() {
                [byte] => self.memory.fill(*to, *byte, *count)?,
                pattern => self.memory.write(*to, &pattern.repeat(*count as usize))?,
            },
            Work::Free { at } => {
                if !self.memory.free(*at) {
                    return Err(super::code::Failure::new(
                        Code::InvalidValue,
                        format!("there is no allocation at {at:#x} to free"),
                    ));
                }
            }
            Work::Graph(graph) => graph.clone().run(self)?,
        }
        Ok(())
    }
}
