//! Linear layer over a list of inputs, with bias, an added tensor and an activation as epilogue.
//!
//! ```text
//! (L1) a   = sum_i x_i W_i + b + add
//! (L2) y   = f(a)
//! (L3) da  = dy f'(a)
//! (L4) dx_i += da W_i^T        dadd += da
//! (L5) dW_i += x_i^T da        db += sum_rows da
//! ```
//!
//! A list of inputs stands for their concatenation: `[stoch, deter] W` is `stoch W[..S] + deter W[S..]`, and nothing is copied together.
//!
//! | tensor | shape |
//! |---|---|
//! | x_i | [rows, k_i] |
//! | W_i | [k_i, n] (rows of one stored matrix [sum k_i, n]) |
//! | b | `[n]` |
//! | add, y | [rows, n] |

use super::activation::Activation;
use crate::autodiff::op::{Backward, Cost, Forward, Op, Order, Pack, Reads, WeightSplit, Weights, take};
use crate::autodiff::{Graph, Var};
use crate::base::Real;
use crate::device::gemm::{self, Precision};
use crate::device::simd::vectorize;
#[cfg(feature = "cuda")]
use crate::{
    autodiff::op::Launch,
    base::{Error, Result},
    device::cuda::kernels::{
        ActivationDifferentiate, Entry, In, LinearBackwardInput, LinearBackwardWeights, LinearForward, SumBackward,
    },
};

impl<R: Real> Graph<R> {
    /// `f(concat(xs) w + b)`: `xs` are [.., k_i], `w` is [sum k_i, n], `b` is `[n]`; the result has the leading axes of the
    /// first input and width n.
    pub fn linear(&mut self, xs: &[Var], w: Var, b: Option<Var>, f: Activation) -> Var {
        self.linear_add(xs, w, b, None, f)
    }

    /// `f(concat(xs) w + b + add)`; `add` is of the shape of the result.
    pub fn linear_add(&mut self, xs: &[Var], w: Var, b: Option<Var>, add: Option<Var>, f: Activation) -> Var {
        let (shape_w, rows) = (self.shape(w).to_vec(), self.height(xs[0]));
        let ins: Vec<usize> = xs.iter().map(|&x| self.width(x)).collect();
        let k: usize = ins.iter().sum();
        assert!(
            shape_w.len() == 2 && shape_w[0] == k && xs.iter().all(|&x| self.height(x) == rows),
            "linear: inputs are {:?} but w is {shape_w:?}",
            xs.iter().map(|&x| self.shape(x)).collect::<Vec<_>>()
        );
        let n = shape_w[1];
        let shape = self.with_width(xs[0], n);
        let mut inputs = xs.to_vec();
        let mut from = 0;
        for &width in &ins {
            let part = if width == k { w } else { self.rows(w, from, from + width) };
            inputs.push(part);
            from += width;
        }
        if let Some(b) = b {
            assert_eq!(self.shape(b), [n], "linear: w is {shape_w:?} but b is {:?}", self.shape(b));
            inputs.push(b);
        }
        if let Some(add) = add {
            assert_eq!(self.len(add), rows * n, "linear: the result is {shape:?} but add is {:?}", self.shape(add));
            inputs.push(add);
        }
        let precision = self.precision();
        let op = Linear { rows, ins, out: n, bias: b.is_some(), add: add.is_some(), f, precision };
        let [y] = self.call(op, &inputs, [&shape]);
        y
    }
}

#[derive(Clone)]
struct Linear {
    rows: usize,
    /// k_i
    ins: Vec<usize>,
    /// n
    out: usize,
    bias: bool,
    add: bool,
    f: Activation,
    precision: Precision,
}

impl Linear {
    /// Position of the bias among the inputs, if there is one; the added tensor comes after it.
    fn bias_at(&self) -> usize {
        2 * self.ins.len()
    }

    fn add_at(&self) -> usize {
        self.bias_at() + usize::from(self.bias)
    }

    /// Rows of W_i that one piece of (L5) works on: a half keeps a few workers busy, fewer than 64 waste the reading of da.
    fn tile(k: usize) -> usize {
        k.div_ceil(2).next_multiple_of(8).max(64)
    }
}

impl<R: Real> Op<R> for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn whole(&self, input: usize) -> bool {
        (self.ins.len()..self.add_at()).contains(&input)
    }

    fn cost(&self) -> Cost {
        let (m, n, k) = (self.rows as f64, self.out as f64, self.ins.iter().sum::<usize>() as f64);
        Cost { flops: 2.0 * m * n * k, bytes: 4.0 * (m * k + k * n + m * n) }
    }

    fn packs(&self) -> Vec<Pack> {
        let k = self.ins.len();
        let precision = self.precision;
        let forward = self.ins.iter().enumerate().map(|(i, &rows)| Pack {
            input: k + i,
            rows,
            columns: self.out,
            order: Order::Rows,
            precision,
            backward: false,
        });
        let backward = self.ins.iter().enumerate().map(|(i, &columns)| Pack {
            input: k + i,
            rows: self.out,
            columns,
            order: Order::Columns,
            precision,
            backward: true,
        });
        forward.chain(backward).collect()
    }

    fn forward(&self, io: Forward<'_, R>) {
        let [y] = take(io.y);
        let (m, n) = (io.rows.len(), self.out);
        // (L1)
        for (i, &k) in self.ins.iter().enumerate() {
            gemm::gemm_packed(self.precision, m, n, k, io.x[i], k, io.packed[i], y, n, i > 0);
        }
        if self.bias {
            let b = io.x[self.bias_at()];
            vectorize!(|| y.chunks_exact_mut(n).for_each(|y| y.iter_mut().zip(b).for_each(|(y, &b)| *y += b)));
        }
        if self.add {
            let add = io.x[self.add_at()];
            vectorize!(|| y.iter_mut().zip(add).for_each(|(y, &a)| *y += a));
        }
        // (L2)
        self.f.apply(y);
    }

    fn backward(&self, io: Backward<'_, R>) {
        let [Some(da), ..] = io.dy else { return };
        let (m, n) = (io.rows.len(), self.out);
        // (L3)
        self.f.differentiate(io.y[0], da);
        // (L4)
        for (i, dx) in io.dx.into_iter().enumerate() {
            let Some(dx) = dx else { continue };
            if i < self.ins.len() {
                let k = self.ins[i];
                gemm::gemm_packed(self.precision, m, k, n, da, n, io.packed[self.ins.len() + i], dx, k, true);
            } else {
                vectorize!(|| dx.iter_mut().zip(&*da).for_each(|(dx, &da)| *dx += da));
            }
        }
    }

    fn reads(&self) -> Reads {
        Reads::output(self.f != Activation::Identity)
    }

    fn weight_split(&self) -> WeightSplit {
        let tiles: usize = self.ins.iter().map(|&k| k.div_ceil(Self::tile(k))).sum();
        WeightSplit::Parts(tiles + usize::from(self.bias))
    }

    fn backward_weights(&self, io: Weights<'_, R>) {
        // (L5)
        let (m, n, da) = (io.rows, self.out, io.dy[0]);
        let mut part = io.part;
        for (i, &k) in self.ins.iter().enumerate() {
            let tile = Self::tile(k);
            let tiles = k.div_ceil(tile);
            if part < tiles {
                if let Some(dw) = io.dw[self.ins.len() + i] {
                    let (from, to) = (part * tile, k.min((part + 1) * tile));
                    let dw = dw.part(from * n..to * n);
                    gemm::gemm_tn(self.precision, from..to, n, m, io.x[i], k, da, n, dw, n);
                }
                return;
            }
            part -= tiles;
        }
        if let Some(db) = io.dw[self.bias_at()] {
            add_rows(da, db.all());
        }
    }

    fn with_rows(&self, rows: usize) -> Option<Box<dyn Op<R>>> {
        Some(Box::new(Linear { rows, ..self.clone() }))
    }

    #[cfg(feature = "cuda")]
    fn launch_forward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, n, parts) = (self.rows, self.out, self.ins.len());
        if parts > 4 {
            return Err(Error::new(format!(
                "linear: {parts} inputs, but its kernel takes 4 at most: use --device cpu."
            )));
        }
        let [x0, x1, x2, x3] = std::array::from_fn(|i| if i < parts { io.x[i] } else { In::none() });
        let [w0, w1, w2, w3] = std::array::from_fn(|i| if i < parts { io.x[parts + i] } else { In::none() });
        let [k0, k1, k2, k3] = std::array::from_fn(|i| self.ins.get(i).copied().unwrap_or(0));
        let b = if self.bias { io.x[self.bias_at()] } else { In::none() };
        let add = if self.add { io.x[self.add_at()] } else { In::none() };
        LinearForward {
            y: io.y[0],
            x0,
            x1,
            x2,
            x3,
            add,
            w0,
            w1,
            w2,
            w3,
            b,
            rows,
            n,
            k0,
            k1,
            k2,
            k3,
            f: self.f as usize,
        }
        .tiles(io.on, rows, n)
    }

    #[cfg(feature = "cuda")]
    fn launch_backward(&self, io: &Launch<'_>) -> Result<()> {
        let (rows, n, da) = (self.rows, self.out, io.dy[0].read());
        if self.f != Activation::Identity {
            let f = self.f as usize;
            ActivationDifferentiate { dy: io.dy[0], y: io.y[0].read(), n: rows * n, f }.threads(io.on, rows * n)?; // (L3)
        }
        // (L4)
        for (i, dx) in io.dx.into_iter().enumerate().filter(|(_, dx)| dx.is_some()) {
            if let Some(&k) = self.ins.get(i) {
                let w = io.x[self.ins.len() + i];
                LinearBackwardInput { dx, da, w, rows, n, k }.tiles(io.on, rows, k)?;
            } else {
                SumBackward { dx, dy: da, n: rows * n, c: 1.0 }.threads(io.on, rows * n)?;
            }
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn launch_weights(&self, io: &Launch<'_>) -> Result<()> {
        // (L5)
        let (rows, n, da) = (self.rows, self.out, io.dy[0].read());
        for (i, &k) in self.ins.iter().enumerate() {
            let (dw, x) = (io.dw[self.ins.len() + i], io.x[i]);
            if dw.is_some() {
                let entry = |partial, each| LinearBackwardWeights { dw, partial, x, da, rows, n, k, each };
                io.on.sum_products(dw, [k, n], rows, entry)?;
            }
        }
        if self.bias && io.dw[self.bias_at()].is_some() {
            io.on.add_rows(io.dw[self.bias_at()], da, rows, n)?;
        }
        Ok(())
    }
}

/// Adds every row of `da` [rows, n] to `db` [n], in order; three columns, those of a colour image, in several sums.
pub(super) fn add_rows<R: Real>(da: &[R], db: &mut [R]) {
    /// Sums of longer rows are many enough to hide that each addition waits for the one before.
    const SHORT: usize = 64;
    let n = db.len();
    if n == 3 {
        return add_narrow::<R, 3>(da, db);
    }
    if n > SHORT {
        vectorize!(|| da.chunks_exact(n).for_each(|da| db.iter_mut().zip(da).for_each(|(db, &da)| *db += da)));
        return;
    }
    let mut first = 0;
    while first < n {
        let (da, db) = (&da[first.min(da.len())..], &mut db[first..]);
        first += match n - first {
            32.. => add_columns::<R, 32>(da, n, db),
            16.. => add_columns::<R, 16>(da, n, db),
            8.. => add_columns::<R, 8>(da, n, db),
            4.. => add_columns::<R, 4>(da, n, db),
            3 => add_columns::<R, 3>(da, n, db),
            2 => add_columns::<R, 2>(da, n, db),
            _ => add_columns::<R, 1>(da, n, db),
        };
    }
}

/// Adds rows of `W` numbers to `db`: in many sums side by side, because one takes as long for a few numbers as for many.
fn add_narrow<R: Real, const W: usize>(da: &[R], db: &mut [R]) {
    /// Sums of a column.
    const SUMS: usize = 16;
    let mut sums = [[R::ZERO; W]; SUMS];
    let (rows, _) = da.as_chunks::<W>();
    let (blocks, rest) = rows.as_chunks::<SUMS>();
    vectorize!(|| for block in blocks {
        sums.as_flattened_mut().iter_mut().zip(block.as_flattened()).for_each(|(sum, &da)| *sum += da);
    });
    for row in sums.iter().chain(rest) {
        db.iter_mut().zip(row).for_each(|(db, &da)| *db += da);
    }
}

/// Adds the first `W` columns of rows that begin `n` apart to `db`, in order, with sums that stay in registers; returns `W`.
fn add_columns<R: Real, const W: usize>(da: &[R], n: usize, db: &mut [R]) -> usize {
    vectorize!(|| {
        let mut sums: [R; W] = std::array::from_fn(|j| db[j]);
        for row in da.chunks(n) {
            if let Some(row) = row.first_chunk::<W>() {
                sums = std::array::from_fn(|j| sums[j] + row[j]);
            }
        }
        db[..W].copy_from_slice(&sums);
    });
    W
}
