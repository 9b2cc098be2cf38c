//! Memory of the device and of the host, copies and fills.
//!
//! A copy from pageable memory has taken its bytes when the call returns, and a copy to pageable memory is done by then, as
//! a driver does it. A copy from or to page-locked memory reads or writes when its turn comes.

use std::alloc::Layout;
use std::ffi::{c_uchar, c_uint, c_ushort};

use super::call::{exports, put};
use super::code::{Code, Failure, Outcome};
use super::state::{NULL, State};
use super::work::{Host, Work};

/// Alignment of page-locked memory, in bytes.
const PAGE: usize = 4096;

impl State {
    fn allocate(&mut self, bytes: usize) -> Outcome<u64> {
        if bytes == 0 {
            return Err(Code::InvalidValue.into());
        }
        if let Some(at) = self.memory.alloc(bytes as u64) {
            return Ok(at);
        }
        // Allocations that streams have yet to free may make room.
        self.run_all()?;
        let why = format!(
            "{bytes} bytes are wanted, {} of {} are free",
            self.memory.total() - self.memory.used(),
            self.memory.total()
        );
        self.memory.alloc(bytes as u64).ok_or_else(|| Failure::new(Code::OutOfMemory, why))
    }

    /// Host to device: see the module about when the bytes are read.
    pub fn upload(&mut self, stream: u64, to: u64, at: usize, bytes: usize) -> Outcome {
        if bytes == 0 {
            return Ok(());
        }
        let captured = self.stream(stream)?.capture.is_some();
        let from = if captured || self.is_pinned(at, bytes) {
            Host::There { at, bytes }
        } else {
            // SAFETY: the caller of the copy has these bytes there while the call lasts.
            Host::Taken(unsafe { std::slice::from_raw_parts(at as *const u8, bytes) }.to_vec())
        };
        self.issue(stream, Work::Upload { to, from })
    }

    /// Device to host.
    pub fn download(&mut self, stream: u64, at: usize, from: u64, bytes: usize) -> Outcome {
        if bytes == 0 {
            return Ok(());
        }
        let captured = self.stream(stream)?.capture.is_some();
        self.issue(stream, Work::Download { to: Host::There { at, bytes }, from })?;
        if captured || self.is_pinned(at, bytes) { Ok(()) } else { self.finish(stream) }
    }

    fn copy(&mut self, stream: u64, to: u64, from: u64, bytes: usize) -> Outcome {
        if bytes == 0 { Ok(()) } else { self.issue(stream, Work::Copy { to, from, bytes: bytes as u64 }) }
    }

    fn fill(&mut self, stream: u64, to: u64, pattern: &[u8], count: usize) -> Outcome {
        if count == 0 {
            Ok(())
        } else {
            self.issue(stream, Work::Fill { to, pattern: pattern.to_vec(), count: count as u64 })
        }
    }

    /// Runs a stream to its end.
    fn finish(&mut self, stream: u64) -> Outcome {
        let end = self.end_of(stream);
        self.run_until(&[end])
    }
}

exports! {
    Health [cuMemAlloc_v2 cuMemAlloc](at: *mut u64, bytes: usize) |s| {
        s.refuse_unsafe()?;
        put(at, s.allocate(bytes)?)
    }

    // Memory pools: the address is there at once, since the device has no other use for it.
    Health [cuMemAllocAsync](at: *mut u64, bytes: usize, stream: u64) |s| {
        s.refuse_captured(stream)?;
        put(at, s.allocate(bytes)?)
    }

    // Waits for the whole device first.
    Health [cuMemFree_v2 cuMemFree](at: u64) |s| {
        s.refuse_unsafe()?;
        s.run_all()?;
        if at == 0 || s.memory.free(at) { Ok(()) } else { Err(Code::InvalidValue.into()) }
    }

    Health [cuMemFreeAsync](at: u64, stream: u64) |s| {
        s.refuse_captured(stream)?;
        s.issue(stream, Work::Free { at })
    }

    Health [cuMemGetInfo_v2 cuMemGetInfo](free: *mut usize, total: *mut usize) |s| {
        put(free, (s.memory.total() - s.memory.used()) as usize)?;
        put(total, s.memory.total() as usize)
    }

    Health [cuMemHostAlloc](at: *mut usize, bytes: usize, flags: c_uint) |s| {
        s.refuse_unsafe()?;
        let layout = Layout::from_size_align(bytes, PAGE).ok().filter(|_| bytes > 0).ok_or(Code::InvalidValue)?;
        let memory = std::alloc::alloc(layout) as usize;
        if memory == 0 {
            return Err(Code::OutOfMemory.into());
        }
        s.pinned.insert(memory, layout);
        put(at, memory)
    }

    // Waits for the whole device first.
    Health [cuMemFreeHost](at: usize) |s| {
        s.refuse_unsafe()?;
        s.run_all()?;
        let layout = s.pinned.remove(&at).ok_or(Code::InvalidValue)?;
        std::alloc::dealloc(at as *mut u8, layout);
        Ok(())
    }

    Health [cuMemcpyHtoDAsync_v2 cuMemcpyHtoDAsync](to: u64, from: usize, bytes: usize, stream: u64) |s| {
        s.upload(stream, to, from, bytes)
    }

    Health [cuMemcpyDtoHAsync_v2 cuMemcpyDtoHAsync](to: usize, from: u64, bytes: usize, stream: u64) |s| {
        s.download(stream, to, from, bytes)
    }

    Health [cuMemcpyDtoDAsync_v2 cuMemcpyDtoDAsync](to: u64, from: u64, bytes: usize, stream: u64) |s| {
        s.copy(stream, to, from, bytes)
    }

    Health [cuMemcpyHtoD_v2 cuMemcpyHtoD](to: u64, from: usize, bytes: usize) |s| {
        s.refuse_unsafe()?;
        s.upload(NULL, to, from, bytes)?;
        s.finish(NULL)
    }

    Health [cuMemcpyDtoH_v2 cuMemcpyDtoH](to: usize, from: u64, bytes: usize) |s| {
        s.refuse_unsafe()?;
        s.download(NULL, to, from, bytes)?;
        s.finish(NULL)
    }

    Health [cuMemcpyDtoD_v2 cuMemcpyDtoD](to: u64, from: u64, bytes: usize) |s| {
        s.refuse_unsafe()?;
        s.copy(NULL, to, from, bytes)
    }

    Health [cuMemsetD8Async](to: u64, value: c_uchar, count: usize, stream: u64) |s| { s.fill(stream, to, &[value], count) }

    Health [cuMemsetD16Async](to: u64, value: c_ushort, count: usize, stream: u64) |s| {
        s.fill(stream, to, &value.to_le_bytes(), count)
    }

    Health [cuMemsetD32Async](to: u64, value: c_uint, count: usize, stream: u64) |s| {
        s.fill(stream, to, &value.to_le_bytes(), count)
    }

    Health [cuMemsetD8_v2 cuMemsetD8](to: u64, value: c_uchar, count: usize) |s| {
        s.refuse_unsafe()?;
        s.fill(NULL, to, &[value], count)
    }
}
