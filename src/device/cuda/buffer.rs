//! Memory on the device, and page-locked memory of the host, from which copies run beside kernels.

use std::marker::PhantomData;

use bytemuck::Pod;
use cudarc::driver::result;

use super::context::Context;
use super::stream::{Event, Stream};
use crate::base::{Error, Result};

/// `len` elements of device memory. Made once and kept: making and freeing waits for the whole device.
#[derive(Debug)]
pub struct Buffer<T: Pod> {
    context: Context,
    address: u64,
    len: usize,
    holds: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// Memory for `len` elements, at least one. Its contents are whatever was there; on the emulated driver reading it is a
    /// fault.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(context: &Context, len: usize) -> Result<Self> {
        let bytes = len.max(1) * size_of::<T>();
        let doing = format!("allocate {bytes} bytes");
        // SAFETY: the memory is read only as `Pod` types, for which all bits are values.
        let address = context.bound(&doing, || unsafe { result::malloc_sync(bytes) })?;
        Ok(Buffer { context: context.clone(), address, len, holds: PhantomData })
    }

    /// Memory for `len` elements, all bits zero once `stream` has come that far.
    ///
    /// # Errors
    /// Those of [`Buffer::new`].
    pub fn zeroed(stream: &Stream, len: usize) -> Result<Self> {
        let mut buffer = Buffer::new(stream.context(), len)?;
        buffer.zero(stream)?;
        Ok(buffer)
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it begins, for [`Arg::Ptr`](super::Arg::Ptr).
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Where element `index` is.
    ///
    /// # Panics
    /// If `index` is past the end (the end itself is allowed).
    pub fn at(&self, index: usize) -> u64 {
        assert!(index <= self.len, "element {index} of a buffer of {}", self.len);
        self.address + (index * size_of::<T>()) as u64
    }

    /// Sets all bits to zero.
    ///
    /// # Errors
    /// The context is broken.
    pub fn zero(&mut self, stream: &Stream) -> Result<()> {
        self.zero_at(stream, 0, self.len)
    }

    /// Sets all bits of `len` elements from `index` on to zero.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If there are fewer elements.
    pub fn zero_at(&mut self, stream: &Stream, index: usize, len: usize) -> Result<()> {
        let (from, bytes, on) = (self.room(index, len), len * size_of::<T>(), stream.inner().cu_stream());
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is this buffer's own, and zero is a value of every `Pod` type.
        self.context.bound("clear a buffer", || unsafe { result::memset_d8_async(from, 0, bytes, on) })
    }

    /// Copies `values` to the beginning. When the call returns, `values` may change.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If there are more values than room.
    pub fn upload(&mut self, stream: &Stream, values: &[T]) -> Result<()> {
        self.upload_at(stream, 0, values)
    }

    /// Copies `values` to where element `index` is. When the call returns, `values` may change. Not for captures: a replay
    /// would read `values` again.
    ///
    /// # Errors
    /// The context is broken, or the stream is being captured.
    ///
    /// # Panics
    /// If there are more values than room.
    pub fn upload_at(&mut self, stream: &Stream, index: usize, values: &[T]) -> Result<()> {
        let to = self.room(index, values.len());
        refuse_capture(stream, "an upload")?;
        if values.is_empty() {
            return Ok(());
        }
        // SAFETY: the range is this buffer's own. From pageable memory the driver has copied `values` when the call returns.
        self.context.bound("upload", || unsafe { result::memcpy_htod_async(to, values, stream.inner().cu_stream()) })
    }

    /// Copies page-locked values to the beginning, beside whatever other streams do. The values cannot change until that is
    /// done: [`Pinned::values`] waits for it.
    ///
    /// # Errors
    /// The context is broken, or the stream is being captured: a replay would read values that may be changing.
    ///
    /// # Panics
    /// If there are more values than room.
    pub fn upload_pinned(&mut self, stream: &Stream, values: &mut Pinned<T>) -> Result<()> {
        self.upload_pinned_at(stream, 0, values)
    }

    /// The same to where element `index` is.
    ///
    /// # Errors
    /// Those of [`upload_pinned`](Self::upload_pinned).
    ///
    /// # Panics
    /// If there are more values than room.
    pub fn upload_pinned_at(&mut self, stream: &Stream, index: usize, values: &mut Pinned<T>) -> Result<()> {
        let to = self.room(index, values.len);
        refuse_capture(stream, "an upload")?;
        if values.len == 0 {
            return Ok(());
        }
        // An earlier copy may be under way on another stream, and only one event is kept.
        values.wait()?;
        // SAFETY: the range is this buffer's own. The event keeps `values` from changing or going before the copy is done.
        self.context
            .bound("upload", || unsafe { result::memcpy_htod_async(to, values.slice(), stream.inner().cu_stream()) })?;
        match stream.record() {
            Ok(event) => values.busy = Some(event),
            Err(error) => return stream.synchronize().and(Err(error)),
        }
        Ok(())
    }

    /// Copies the first `values.len()` elements to `values`, and waits for it.
    ///
    /// # Errors
    /// What the stream's work did wrong; the stream is being captured.
    ///
    /// # Panics
    /// If there are fewer elements.
    pub fn download(&self, stream: &Stream, values: &mut [T]) -> Result<()> {
        self.download_at(stream, 0, values)
    }

    /// Copies elements from `index` on to `values`, and waits for it.
    ///
    /// # Errors
    /// What the stream's work did wrong; the stream is being captured.
    ///
    /// # Panics
    /// If there are fewer elements.
    pub fn download_at(&self, stream: &Stream, index: usize, values: &mut [T]) -> Result<()> {
        let from = self.room(index, values.len());
        refuse_capture(stream, "a download")?;
        if values.is_empty() {
            return Ok(());
        }
        // SAFETY: the range is this buffer's own; `values` is borrowed until the copy is done, since we wait for it.
        self.context
            .bound("download", || unsafe { result::memcpy_dtoh_async(values, from, stream.inner().cu_stream()) })?;
        stream.synchronize()
    }

    /// All elements, once the stream's work so far is done.
    ///
    /// # Errors
    /// Those of [`Buffer::download`].
    pub fn to_vec(&self, stream: &Stream) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); self.len];
        self.download(stream, &mut values)?;
        Ok(values)
    }

    /// Copies all elements from a buffer of the same length.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn copy_from(&mut self, stream: &Stream, from: &Buffer<T>) -> Result<()> {
        assert_eq!(self.len, from.len, "the lengths of two buffers");
        self.copy_at(stream, 0, from, 0, self.len)
    }

    /// Copies `len` elements of another buffer, from `first` on, to where element `index` is.
    ///
    /// # Errors
    /// The context is broken.
    ///
    /// # Panics
    /// If one of the two has fewer elements.
    pub fn copy_at(&mut self, stream: &Stream, index: usize, from: &Buffer<T>, first: usize, len: usize) -> Result<()> {
        let (to, from) = (self.room(index, len), from.room(first, len));
        let (bytes, on) = (len * size_of::<T>(), stream.inner().cu_stream());
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: both ranges lie within their buffers, which are two.
        self.context.bound("copy a buffer", || unsafe { result::memcpy_dtod_async(to, from, bytes, on) })
    }

    fn room(&self, index: usize, count: usize) -> u64 {
        let fits = index.checked_add(count).is_some_and(|end| end <= self.len);
        assert!(fits, "{count} elements at {index} of a buffer of {}", self.len);
        self.at(index)
    }
}

impl<T: Pod> Drop for Buffer<T> {
    fn drop(&mut self) {
        // Waits for the work that may still use it. If the context is broken there is nothing left to free.
        // SAFETY: the memory is this buffer's own and freed once.
        let _ = self.context.bound("free a buffer", || unsafe { result::free_sync(self.address) });
    }
}

fn refuse_capture(stream: &Stream, what: &str) -> Result<()> {
    if stream.is_capturing()? {
        return Err(Error::new(format!("cannot capture {what}: do it outside the graph.")));
    }
    Ok(())
}

/// `len` elements of page-locked host memory: copies from it run while the host and other streams go on.
#[derive(Debug)]
pub struct Pinned<T: Pod> {
    context: Context,
    first: *mut T,
    len: usize,
    busy: Option<Event>,
}

// SAFETY: the memory is this value's own, and a CUDA context may be used from any thread.
unsafe impl<T: Pod + Send> Send for Pinned<T> {}

impl<T: Pod> Pinned<T> {
    /// Memory for `len` elements, all bits zero.
    ///
    /// # Errors
    /// The system gives no more page-locked memory.
    pub fn new(context: &Context, len: usize) -> Result<Self> {
        let bytes = len.max(1) * size_of::<T>();
        let doing = format!("allocate {bytes} bytes of page-locked memory");
        // SAFETY: the memory is cleared before it is read.
        let first = context.bound(&doing, || unsafe { result::malloc_host(bytes, 0) })?.cast::<T>();
        // SAFETY: `bytes` bytes were allocated there; page-locked memory is aligned to pages.
        unsafe { first.cast::<u8>().write_bytes(0, bytes) };
        Ok(Pinned { context: context.clone(), first, len, busy: None })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements, to be filled. Waits until the last copy from here is done.
    ///
    /// # Errors
    /// What that copy's stream did wrong.
    pub fn values(&mut self) -> Result<&mut [T]> {
        self.wait()?;
        // SAFETY: `len` elements are there, all of them written, and no copy reads them.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.first, self.len) })
    }

    fn slice(&self) -> &[T] {
        // SAFETY: `len` elements are there, all of them written; whoever changes them has `&mut self`.
        unsafe { std::slice::from_raw_parts(self.first, self.len) }
    }

    fn wait(&mut self) -> Result<()> {
        match self.busy.take() {
            Some(event) => event.synchronize(),
            None => Ok(()),
        }
    }
}

impl<T: Pod> Drop for Pinned<T> {
    fn drop(&mut self) {
        // A context that is broken copies no more.
        let _ = self.wait();
        // SAFETY: allocated by `malloc_host` and freed once.
        let _ = self.context.bound("free page-locked memory", || unsafe { result::free_host(self.first.cast()) });
    }
}
