//! Patches of an image as rows of a matrix, and back: what turns a convolution into a matrix product.

use crate::base::Real;
use crate::device::gemm::{HEIGHT, Sliding};
use crate::device::simd::vectorize;

/// An image [h, w, c] and the windows of a convolution over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Windows {
    pub h: usize,
    pub w: usize,
    pub c: usize,
    pub kernel: usize,
    pub stride: usize,
    pub pad: usize,
    /// Windows down and across.
    pub oh: usize,
    pub ow: usize,
}

impl Windows {
    /// All windows of a `kernel` that fit into the image with `pad` zeros round it.
    pub fn over(h: usize, w: usize, c: usize, kernel: usize, stride: usize, pad: usize) -> Self {
        assert!(stride > 0 && kernel > 0, "a convolution of kernel {kernel} and stride {stride}");
        assert!(h + 2 * pad >= kernel && w + 2 * pad >= kernel, "a kernel of {kernel} over {h}x{w} padded by {pad}");
        let count = |n: usize| (n + 2 * pad - kernel) / stride + 1;
        Windows { h, w, c, kernel, stride, pad, oh: count(h), ow: count(w) }
    }

    /// Windows of one image.
    pub fn count(&self) -> usize {
        self.oh * self.ow
    }

    /// Elements of one window.
    pub fn patch(&self) -> usize {
        self.kernel * self.kernel * self.c
    }

    /// Elements of one image.
    pub fn image(&self) -> usize {
        self.h * self.w * self.c
    }

    /// Calls `visit(patch element, image element, length)` for every stretch of a window that lies in the image, in order.
    #[inline(always)]
    fn each_stretch(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let Windows { h, w, c, kernel, stride, pad, .. } = *self;
        for oy in 0..self.oh {
            for ox in 0..self.ow {
                let window = (oy * self.ow + ox) * self.patch();
                // Columns of the window that lie in the image.
                let left = (ox * stride) as isize - pad as isize;
                let from = (-left).max(0) as usize;
                let to = (w as isize - left).clamp(0, kernel as isize) as usize;
                for ky in 0..kernel {
                    let y = (oy * stride + ky) as isize - pad as isize;
                    if y >= 0 && (y as usize) < h && from < to {
                        let x = (left + from as isize) as usize;
                        visit(window + (ky * kernel + from) * c, (y as usize * w + x) * c, (to - from) * c);
                    }
                }
            }
        }
    }

    /// The windows of one image as rows of `patches` [oh ow, kernel kernel c]; zeros outside the image.
    pub fn gather<R: Real>(&self, image: &[R], patches: &mut [R]) {
        if self.pad > 0 {
            patches.fill(R::ZERO);
        }
        self.each_stretch(|p, i, n| patches[p..p + n].copy_from_slice(&image[i..i + n]));
    }

    /// Adds the rows of `patches` to where they lie in one image.
    pub fn scatter<R: Real>(&self, patches: &[R], image: &mut [R]) {
        vectorize!(|| self.each_stretch(
            #[inline(always)]
            |p, i, n| {
                for (image, &patch) in image[i..i + n].iter_mut().zip(&patches[p..p + n]) {
                    *image += patch;
                }
            }
        ));
    }

    /// The windows as the matrix product can read them in the image itself, where that is the faster way: few windows to an image do
    /// not fill the micro-kernel.
    pub fn sliding(&self) -> Option<Sliding> {
        let Windows { w, c, kernel, stride, pad, oh, ow, .. } = *self;
        let sliding = Sliding {
            down: oh,
            across: ow,
            runs: kernel,
            run: kernel * c,
            step: stride * c,
            stride: stride * w * c,
            line: w * c,
        };
        (pad == 0 && (16..).contains(&self.count()) && ow <= HEIGHT).then_some(sliding)
    }

    /// Whether there is one window, and it is the image: then a convolution is a plain product.
    pub fn whole(&self) -> bool {
        self.pad == 0 && (self.h, self.w) == (self.kernel, self.kernel)
    }

    /// Images that are worked on together, so that their windows fill the micro-kernel of the matrix product.
    pub fn block(&self) -> usize {
        (64 / self.count()).max(1)
    }
}
