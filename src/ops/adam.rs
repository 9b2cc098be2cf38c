//! Global-norm clipping and Adam over one group of parameters.
//!
//! ```text
//! (U1) norm = sqrt(sum g^2)                                  over the whole group
//! (U2) g  <- g clip / max(norm, clip)
//! (U3) m  <- b1 m + (1 - b1) g          v <- b2 v + (1 - b2) g^2
//! (U4) p  <- p (1 - decay) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
//! ```
//! Sources: Kingma and Ba, 2015, Algorithm 1 (eps beside the corrected root; Keras, and so danijar/dreamer, puts it before
//! the correction); danijar/dreamerv2 `common/tfutils.py` for the decay, a share of the weight that no learning rate scales.
//!
//! The norm is summed over blocks of fixed size whose sums are added in order, so it does not depend on the number of threads.

use std::ops::Range;

use crate::autodiff::Params;
use crate::base::Real;
use crate::device::Pool;
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    base::Result,
    device::cuda::kernels::{AdamDecay, AdamNorm, AdamSquares, AdamUpdate, Entry, In, Kernels, Out},
    device::cuda::{Buffer, Stream},
};

/// Elements of one block of work; `adam_squares` in `kernels/adam.cu` has the same.
const BLOCK: usize = 16_384;

/// Constants of Adam, and what changes from step to step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Largest global norm of the gradient.
    pub clip: f64,
    /// Decoupled weight decay, 0 for none.
    pub decay: f64,
    /// Number of this update, from 1.
    pub t: u64,
}

impl Adam {
    /// Betas of .9 and .999.
    pub fn new(lr: f64, eps: f64, clip: f64, t: u64) -> Self {
        Adam { lr, beta1: 0.9, beta2: 0.999, eps, clip, decay: 0.0, t }
    }
}

/// (U1): the norm of the gradient of a group.
pub fn global_norm<R: Real>(params: &Params<R>, range: Range<usize>, pool: &Pool) -> f64 {
    let grad = &params.grad.all()[range];
    let blocks = grad.len().div_ceil(BLOCK);
    let sums: Vec<std::sync::atomic::AtomicU64> = (0..blocks).map(|_| 0.into()).collect();
    pool.each(blocks, |block, _| {
        let part = &grad[block * BLOCK..grad.len().min((block + 1) * BLOCK)];
        // Sixteen interleaved sums: an order that vectors of any width keep.
        let mut lanes = [0.0_f64; 16];
        for chunk in part.chunks(16) {
            chunk.iter().zip(&mut lanes).for_each(|(g, lane)| *lane += g.f64() * g.f64());
        }
        sums[block].store(lanes.iter().sum::<f64>().to_bits(), std::sync::atomic::Ordering::Relaxed);
    });
    sums.iter().map(|s| f64::from_bits(s.load(std::sync::atomic::Ordering::Relaxed))).sum::<f64>().sqrt()
}

/// (U2) to (U4) for a group whose gradient has this norm (U1). `decays` says which ranges of the arenas the weight decay applies to.
pub fn adam_update<R: Real>(
    params: &mut Params<R>,
    range: Range<usize>,
    norm: f64,
    adam: &Adam,
    decays: &[Range<usize>],
    pool: &Pool,
) {
    let scale = R::of(adam.clip / norm.max(adam.clip));
    let (b1, b2, eps) = (R::of(adam.beta1), R::of(adam.beta2), R::of(adam.eps));
    let (rest1, rest2) = (R::of(1.0 - adam.beta1), R::of(1.0 - adam.beta2));
    let t = i32::try_from(adam.t).unwrap_or(i32::MAX);
    let correct1 = R::of(1.0 / (1.0 - adam.beta1.powi(t)));
    let correct2 = R::of(1.0 / (1.0 - adam.beta2.powi(t)));
    let lr = R::of(adam.lr);
    params.changed();
    if adam.decay > 0.0 {
        let keep = R::of(1.0 - adam.decay);
        for decayed in decays {
            params.value.all_mut()[decayed.clone()].iter_mut().for_each(|p| *p *= keep);
        }
    }
    let grad = &params.grad.all()[range.clone()];
    let value = Blocks::new(&mut params.value.all_mut()[range.clone()]);
    let m = Blocks::new(&mut params.adam_m.all_mut()[range.clone()]);
    let v = Blocks::new(&mut params.adam_v.all_mut()[range]);
    pool.each(grad.len().div_ceil(BLOCK), |block, _| {
        let (mut p, mut m, mut v) = (value.lock(block), m.lock(block), v.lock(block));
        let g = &grad[block * BLOCK..][..p.len()];
        let (p, m, v) = (&mut p[..], &mut m[..], &mut v[..]);
        vectorize!(|| {
            for i in 0..g.len() {
                let g = g[i] * scale; // (U2)
                m[i] = b1 * m[i] + rest1 * g; // (U3)
                v[i] = b2 * v[i] + rest2 * g * g;
                p[i] -= lr * (m[i] * correct1) / ((v[i] * correct2).sqrt() + eps); // (U4)
            }
        });
    });
}

/// An arena cut into blocks, each behind a lock of its own that only one worker ever takes.
struct Blocks<'a, R>(Vec<std::sync::Mutex<&'a mut [R]>>);

impl<'a, R> Blocks<'a, R> {
    fn new(arena: &'a mut [R]) -> Self {
        Blocks(arena.chunks_mut(BLOCK).map(std::sync::Mutex::new).collect())
    }

    fn lock(&self, block: usize) -> std::sync::MutexGuard<'_, &'a mut [R]> {
        self.0[block].lock().expect("no worker panicked")
    }
}

/// A group of parameters on a CUDA device: where its part of each arena begins.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone)]
pub struct DeviceGroup {
    /// Values.
    pub value: Out<f32>,
    /// Adam's first moments.
    pub m: Out<f32>,
    /// Adam's second moments.
    pub v: Out<f32>,
    /// Gradients.
    pub grad: In<f32>,
    /// Number of elements.
    pub len: usize,
    /// Values that the weight decay applies to: where, and how many.
    pub decays: Vec<(Out<f32>, usize)>,
}

/// What an update on a CUDA device needs beside its group. The number of the update lives on the device and counts itself on, so that a
/// captured update can be replayed.
#[cfg(feature = "cuda")]
pub struct DeviceAdam {
    adam: Adam,
    /// Learning rate, b1, b2, b1^t, b2^t of the last update.
    schedule: Buffer<f64>,
    /// What the norm kernel tells the update.
    factors: Buffer<f32>,
    norm: Buffer<f32>,
    /// Sums of squares of the blocks.
    sums: Buffer<f64>,
}

#[cfg(feature = "cuda")]
impl DeviceAdam {
    /// For groups of up to `len` elements; the first update is the one of number `adam.t`.
    ///
    /// # Errors
    /// The device's memory is full.
    pub fn new(stream: &Stream, len: usize, adam: Adam) -> Result<Self> {
        let context = stream.context();
        let mut schedule = Buffer::new(context, 5)?;
        // Multiplied one by one, as `adam_norm` does, so that a run that is resumed goes on with the same bits.
        let power = |beta: f64| (1..adam.t).fold(1.0, |power, _| power * beta);
        schedule.upload(stream, &[adam.lr, adam.beta1, adam.beta2, power(adam.beta1), power(adam.beta2)])?;
        Ok(DeviceAdam {
            adam,
            schedule,
            factors: Buffer::new(context, 4)?,
            norm: Buffer::new(context, 1)?,
            sums: Buffer::new(context, len.div_ceil(BLOCK))?,
        })
    }

    /// The learning rate of the next update.
    ///
    /// # Errors
    /// The context is broken, or the stream is being captured.
    pub fn set_lr(&mut self, stream: &Stream, lr: f64) -> Result<()> {
        if self.adam.lr != lr {
            self.adam.lr = lr;
            self.schedule.upload_at(stream, 0, &[lr])?;
        }
        Ok(())
    }

    /// Launches (U1) to (U4) for a group.
    ///
    /// # Errors
    /// A launch is refused.
    pub fn launch(&self, on: &Kernels, group: &DeviceGroup) -> Result<()> {
        let DeviceGroup { value, m, v, grad, len, .. } = *group;
        let (adam, sums, blocks) = (&self.adam, Out::at(self.sums.address()), len.div_ceil(BLOCK));
        let factors = Out::at(self.factors.address());
        AdamSquares { sums, g: grad, n: len }.blocks(on, [blocks, 1, 1])?;
        AdamNorm {
            norm: Out::at(self.norm.address()),
            factors,
            schedule: Out::at(self.schedule.address()),
            sums: sums.read(),
            blocks,
            clip: adam.clip as f32,
        }
        .blocks(on, [1, 1, 1])?;
        if adam.decay > 0.0 {
            for &(p, n) in &group.decays {
                AdamDecay { p, n, keep: (1.0 - adam.decay) as f32 }.threads(on, n)?;
            }
        }
        AdamUpdate {
            p: value,
            m,
            v,
            g: grad,
            factors: factors.read(),
            n: len,
            b1: adam.beta1 as f32,
            rest1: (1.0 - adam.beta1) as f32,
            b2: adam.beta2 as f32,
            rest2: (1.0 - adam.beta2) as f32,
            eps: adam.eps as f32,
        }
        .threads(on, len)
    }

    /// The norm of the gradient at the last update.
    ///
    /// # Errors
    /// What the launches did wrong.
    pub fn norm(&self, stream: &Stream) -> Result<f64> {
        let mut norm = [0.0];
        self.norm.download(stream, &mut norm)?;
        Ok(f64::from(norm[0]))
    }
}
