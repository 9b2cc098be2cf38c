//! A captured sequence of launches and copies, replayed as one.

use cudarc::driver::CudaGraph;
use cudarc::driver::sys::{self, CUgraphInstantiate_flags, CUgraphNodeType, CUstreamCaptureMode};

use super::context::Context;
use super::stream::Stream;
use crate::base::{Error, Result};

/// A captured sequence. What is replayed are the addresses and the arguments of the capture: whatever changes from replay
/// to replay must be in device memory.
pub struct Graph {
    context: Context,
    inner: CudaGraph,
}

impl Stream {
    /// Captures what `work` gives to this stream, without running it. Other streams take part by waiting for an event of
    /// this one, and must be waited for by this one before `work` returns.
    ///
    /// # Errors
    /// Those of `work`; something that cannot be captured, such as waiting on the host; nothing was captured.
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        let failed = |e| self.context().error("capture a graph", e);
        // Thread-local: other threads may allocate meanwhile.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.inner().begin_capture(mode).map_err(failed)?;
        let worked = work();
        let captured = self.inner().end_capture(CUgraphInstantiate_flags(0));
        // A failure within the work explains more than the broken capture that it leaves.
        worked?;
        let inner = captured.map_err(failed)?;
        let inner = inner.ok_or_else(|| Error::new("cannot capture a graph: nothing was captured."))?;
        Ok(Graph { context: self.context().clone(), inner })
    }
}

impl Graph {
    /// Gives the whole sequence to the stream on which it was captured.
    ///
    /// # Errors
    /// The context is broken.
    pub fn launch(&self) -> Result<()> {
        self.inner.launch().map_err(|e| self.context.error("launch a graph", e))
    }

    /// Sends the graph to the device ahead of its first launch.
    ///
    /// # Errors
    /// The context is broken.
    pub fn upload(&self) -> Result<()> {
        self.inner.upload().map_err(|e| self.context.error("upload a graph", e))
    }

    /// Number of kernel launches in the graph.
    ///
    /// # Errors
    /// The context is broken.
    pub fn launches(&self) -> Result<usize> {
        let graph = self.inner.cu_graph();
        self.context.bound("count the launches of a graph", || {
            let mut count = 0;
            // SAFETY: the graph is alive; without an array for the nodes only their number is written.
            unsafe { sys::cuGraphGetNodes(graph, std::ptr::null_mut(), &mut count) }.result()?;
            let mut nodes = vec![std::ptr::null_mut(); count];
            // SAFETY: the array has room for `count` nodes.
            unsafe { sys::cuGraphGetNodes(graph, nodes.as_mut_ptr(), &mut count) }.result()?;
            let mut launches = 0;
            for node in nodes {
                let mut kind = CUgraphNodeType::CU_GRAPH_NODE_TYPE_EMPTY;
                // SAFETY: the node belongs to the graph, which is alive.
                unsafe { sys::cuGraphNodeGetType(node, &mut kind) }.result()?;
                launches += usize::from(kind == CUgraphNodeType::CU_GRAPH_NODE_TYPE_KERNEL);
            }
            Ok(launches)
        })
    }
}
