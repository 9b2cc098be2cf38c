//! Order: launches and copies run in the order in which a stream is given them. Between streams, events make order.

use std::sync::Arc;

use cudarc::driver::sys::CUstreamCaptureStatus as Status;
use cudarc::driver::{CudaEvent, CudaStream, result};

use super::context::Context;
use super::kernel::{Arg, Kernel, Shape};
use crate::base::Result;

/// A sequence of work on the device. A call returns before its work is done; [`Stream::synchronize`] waits.
///
/// A kernel that misbehaves is reported by a later call, usually `synchronize`, and breaks the context: nothing works after
/// that.
#[derive(Clone, Debug)]
pub struct Stream {
    context: Context,
    inner: Arc<CudaStream>,
}

impl Stream {
    pub(super) fn wrap(context: &Context, inner: Arc<CudaStream>) -> Self {
        Stream { context: context.clone(), inner }
    }

    /// Its context.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Launches a kernel. The arguments are copied by the call.
    ///
    /// Number and sizes of the arguments are checked. What the kernel does with the addresses cannot be: a wrong one breaks
    /// the context or the contents of device memory, and the emulated driver says where.
    ///
    /// # Errors
    /// An impossible shape; whatever broke the context before.
    ///
    /// # Panics
    /// If the arguments are not as many and as large as the kernel's parameters.
    pub fn launch(&self, kernel: &Kernel, shape: Shape, args: &[Arg]) -> Result<()> {
        self.start(kernel, shape, args, false)
    }

    /// Launches a kernel whose blocks wait for each other, so that all of them must be resident at once.
    ///
    /// # Errors
    /// More blocks than fit ([`Kernel::blocks_per_multiprocessor`]); those of [`Stream::launch`].
    pub fn launch_cooperative(&self, kernel: &Kernel, shape: Shape, args: &[Arg]) -> Result<()> {
        self.start(kernel, shape, args, true)
    }

    fn start(&self, kernel: &Kernel, shape: Shape, args: &[Arg], cooperative: bool) -> Result<()> {
        let mut pointers = kernel.pointers(args);
        let [x, y, z] = shape.grid;
        let [block_x, block_y, block_z] = shape.block;
        let (grid, block) = ((x, y, z), (block_x, block_y, block_z));
        let (function, stream) = (kernel.inner().cu_function(), self.inner.cu_stream());
        let name = kernel.name();
        // Formatted only when it fails: this is the one call that is made hundreds of times a step.
        let doing =
            format_args!("launch {name} with {x} x {y} x {z} blocks of {block_x} x {block_y} x {block_z} threads");
        self.context.bound(doing, || {
            // SAFETY: the function and the stream are alive; the pointers lead to values that live until the call returns,
            // and the driver copies them before it does.
            unsafe {
                if cooperative {
                    result::launch_cooperative_kernel(function, grid, block, shape.shared_bytes, stream, &mut pointers)
                } else {
                    result::launch_kernel(function, grid, block, shape.shared_bytes, stream, &mut pointers)
                }
            }
        })
    }

    /// Waits until all work given to this stream is done.
    ///
    /// # Errors
    /// What that work did wrong.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.synchronize().map_err(|e| self.context.error("wait for a stream", e))
    }

    /// A mark behind the work given to this stream so far.
    ///
    /// # Errors
    /// The context is broken.
    pub fn record(&self) -> Result<Event> {
        let inner = self.inner.record_event(None).map_err(|e| self.context.error("record an event", e))?;
        Ok(Event { context: self.context.clone(), inner })
    }

    /// What is given to this stream from now on waits for the event. The host does not.
    ///
    /// # Errors
    /// The context is broken, or this stream is being captured and the event is not part of the capture.
    pub fn wait(&self, event: &Event) -> Result<()> {
        self.inner.wait(&event.inner).map_err(|e| self.context.error("let a stream wait for an event", e))
    }

    /// Whether this stream is being captured.
    ///
    /// # Errors
    /// The context is broken.
    pub fn is_capturing(&self) -> Result<bool> {
        let status = self.inner.capture_status().map_err(|e| self.context.error("ask about a capture", e))?;
        Ok(status != Status::CU_STREAM_CAPTURE_STATUS_NONE)
    }

    pub(super) fn inner(&self) -> &Arc<CudaStream> {
        &self.inner
    }
}

/// A mark in a stream.
#[derive(Debug)]
pub struct Event {
    context: Context,
    inner: CudaEvent,
}

impl Event {
    /// Waits until the work before the mark is done.
    ///
    /// # Errors
    /// What that work did wrong.
    pub fn synchronize(&self) -> Result<()> {
        self.inner.synchronize().map_err(|e| self.context.error("wait for an event", e))
    }

    /// Whether the work before the mark is done.
    ///
    /// # Errors
    /// What that work did wrong.
    pub fn is_done(&self) -> Result<bool> {
        self.inner.try_is_complete().map_err(|e| self.context.error("ask about an event", e))
    }
}
