//! One aligned buffer that many tensors share: an allocation made once, handed out as disjoint views.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::base::Real;

/// Bytes that every tensor is aligned to: a cache line, and the widest vector register.
pub const ALIGN: usize = 64;

/// Bytes of a huge page. An arena that fills some of them begins at one and asks for them: a training step walks through the whole of
/// a large arena, and with pages of 4 KiB it waits for their addresses.
const HUGE_PAGE: usize = 2 << 20;

/// Rounds a number of elements up so that the next tensor begins on an aligned address.
pub fn padded<R: Real>(len: usize) -> usize {
    len.next_multiple_of(ALIGN / size_of::<R>())
}

/// A buffer of `len` numbers, zero at first, that never moves.
pub struct Arena<R: Real> {
    data: NonNull<R>,
    len: usize,
    owns: PhantomData<R>,
}

// SAFETY: an arena owns plain numbers; views of it are handed out under the contracts of `view` and `view_mut`.
unsafe impl<R: Real> Send for Arena<R> {}
// SAFETY: as above; a shared arena gives out mutable views only through `view_mut`, whose caller answers for disjointness.
unsafe impl<R: Real> Sync for Arena<R> {}

impl<R: Real> Arena<R> {
    /// An arena of `len` zeros.
    pub fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the layout has at least one element, so its size is not zero.
        let Some(data) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        if layout.align() == HUGE_PAGE {
            ask_for_huge_pages(data, layout.size());
        }
        // SAFETY: the memory was allocated with that size.
        unsafe { data.as_ptr().write_bytes(0, layout.size()) };
        Arena { data: data.cast(), len, owns: PhantomData }
    }

    fn layout(len: usize) -> Layout {
        let bytes = len.max(1) * size_of::<R>();
        let align = if bytes >= 2 * HUGE_PAGE { HUGE_PAGE } else { ALIGN };
        Layout::from_size_align(bytes, align).expect("an arena fits the address space")
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole arena.
    pub fn all(&self) -> &[R] {
        // SAFETY: data points to len initialised numbers, and no mutable view lives while safe code holds `&self` (the
        // executor, which alone calls `view_mut`, holds the arena exclusively while it runs).
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// The whole arena, exclusively.
    pub fn all_mut(&mut self) -> &mut [R] {
        // SAFETY: as in `all`, and `&mut self` excludes every other view.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// A view of `len` elements from `offset`.
    ///
    /// # Safety
    /// No mutable view of any of these elements may be alive or made while this one lives.
    pub unsafe fn view<'a>(&self, offset: usize, len: usize) -> &'a [R] {
        assert!(offset + len <= self.len, "arena: {offset} + {len} is beyond {}", self.len);
        // SAFETY: in bounds by the assertion; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr().add(offset), len) }
    }

    /// A mutable view of `len` elements from `offset`.
    ///
    /// # Safety
    /// No other view of any of these elements may be alive or made while this one lives.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn view_mut<'a>(&self, offset: usize, len: usize) -> &'a mut [R] {
        assert!(offset + len <= self.len, "arena: {offset} + {len} is beyond {}", self.len);
        // SAFETY: in bounds by the assertion; aliasing is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr().add(offset), len) }
    }
}

impl<R: Real> Arena<R> {
    /// The address of `len` elements from `offset`, for writers that agree among themselves who writes what.
    pub fn pointer(&self, offset: usize, len: usize) -> *mut R {
        assert!(offset + len <= self.len, "arena: {offset} + {len} is beyond {}", self.len);
        // SAFETY: in bounds by the assertion.
        unsafe { self.data.as_ptr().add(offset) }
    }
}

/// Asks the kernel to back `bytes` from `data` by huge pages where it can. Before they are first written, or small pages are there already.
fn ask_for_huge_pages(data: NonNull<u8>, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: the advice changes no contents, and the range is one allocation that begins at a page. That it is refused, as by a kernel
    // without huge pages, does no harm.
    unsafe {
        libc::madvise(data.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (data, bytes);
}

impl<R: Real> Drop for Arena<R> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.data.as_ptr().cast(), Self::layout(self.len)) }
    }
}
