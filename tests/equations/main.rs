//! Is it the paper? Slow, literal transcriptions of the equations are the oracles of the ops and of the losses. (Eq.) numbers are those of Hafner et
//! al., "Dream to Control", 2020, unless another source is named.

mod far;
mod map;

use std::f64::consts::PI;
use std::sync::Arc;

use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Sweep, Var};
use dreamer_fast::base::Philox;
use dreamer_fast::base::philox::stream;
use dreamer_fast::config::{ActorGrad, Config, ScalarDist};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks::{parameters, training_step, whole_losses};
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::ops::Activation;
use dreamer_fast::ops::adam::{Adam, adam_update, global_norm};
use dreamer_fast::ops::gaussian::Gaussian;
use dreamer_fast::ops::lambda_return::Discount;
use dreamer_fast::ops::sample_tanh_normal::TanhNormal;
use dreamer_fast::ops::twohot::symexp_bins;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(1).unwrap())
}

fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Philox::new(seed, stream::TEST, 3);
    (0..n).map(|_| rng.normal()).collect()
}

fn uniforms(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Philox::new(seed, stream::TEST, 4);
    (0..n).map(|_| rng.uniform()).collect()
}

type Tensors<'a> = &'a [(&'a [usize], &'a [f64])];

/// What `build` computes from tensors of these shapes and values.
fn eval(tensors: Tensors, build: impl Fn(&mut Graph<f64>, &[Var]) -> Vec<Var>) -> Vec<Vec<f64>> {
    let (mut params, mut graph, vars) = given(tensors);
    let results = build(&mut graph, &vars);
    results.iter().for_each(|&v| {
        graph.keep(v);
    });
    let mut plan = Plan::new(graph, &[], pool());
    plan.run(&mut params, Clock::default());
    results.iter().map(|&v| plan.value(v).to_vec()).collect()
}

/// The gradients of the scalar that `build` computes, with respect to the tensors.
fn gradients(tensors: Tensors, build: impl Fn(&mut Graph<f64>, &[Var]) -> Var) -> Vec<Vec<f64>> {
    let (mut params, mut graph, vars) = given(tensors);
    let loss = build(&mut graph, &vars);
    let mut plan = Plan::new(graph, &[Sweep::new(loss, "given")], pool());
    plan.run(&mut params, Clock::default());
    (0..tensors.len()).map(|i| params.grad(&format!("t{i}")).to_vec()).collect()
}

fn given(tensors: Tensors) -> (Params<f64>, Graph<f64>, Vec<Var>) {
    let mut layout = Layout::new();
    layout.group("given", tensors.iter().enumerate().map(|(i, (shape, _))| (format!("t{i}"), shape.to_vec())));
    let mut params = Params::new(Arc::new(layout));
    for (i, (_, values)) in tensors.iter().enumerate() {
        params.value_mut(&format!("t{i}")).copy_from_slice(values);
    }
    let mut graph = Graph::new(params.layout.clone());
    let vars = (0..tensors.len()).map(|i| graph.param(&format!("t{i}"))).collect();
    (params, graph, vars)
}

#[track_caller]
fn close(got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(1.0_f64, |a, w| a.max(w.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        let error = (g - w).abs() / largest;
        assert!(error <= 1e-12, "element {i}: {g} but {w} is wanted");
    }
}

/// Eq. (6) as it is written: V_lambda = (1 - lambda) sum_{n=1}^{K-1} lambda^{n-1} V^n + lambda^{K-1} V^K, where V^n sums n discounted rewards
/// and bootstraps (eq. 5), and K steps are left.
fn lambda_return(r: &[f64], v: &[f64], p: &[f64], l: usize, n: usize, lambda: f64) -> Vec<f64> {
    let mut out = vec![0.0; l * n];
    for i in 0..n {
        for t in 0..l {
            let left = l - t;
            let n_step = |steps: usize| -> f64 {
                let discount = |until: usize| -> f64 { (0..until).map(|j| p[(t + j) * n + i]).product() };
                let rewards: f64 = (0..steps).map(|j| discount(j) * r[(t + j) * n + i]).sum();
                rewards + discount(steps) * v[(t + steps - 1) * n + i]
            };
            let inner: f64 = (1..left).map(|k| lambda.powi(k as i32 - 1) * n_step(k)).sum();
            out[t * n + i] = (1.0 - lambda) * inner + lambda.powi(left as i32 - 1) * n_step(left);
        }
    }
    out
}

#[test]
fn eq_6_lambda_return_is_its_double_sum() {
    for (l, n) in [(1, 3), (2, 1), (14, 5)] {
        let (r, v, p) = (normals(l * n, 1), normals(l * n, 2), uniforms(l * n, 3));
        let shape: &[usize] = &[l, n];
        for lambda in [0.0, 0.5, 0.95, 1.0] {
            let got = eval(&[(shape, &r), (shape, &v), (shape, &p)], |g, t| {
                vec![
                    g.lambda_return(t[0], t[1], Discount::Tensor(t[2]), lambda),
                    g.lambda_return(t[0], t[1], Discount::Constant(0.99), lambda),
                ]
            });
            close(&got[0], &lambda_return(&r, &v, &p, l, n, lambda));
            close(&got[1], &lambda_return(&r, &v, &vec![0.99; l * n], l, n, lambda));
            let step = |at: usize| r[at] + p[at] * v[at];
            if lambda == 0.0 {
                // One step and the value.
                close(&got[0], &(0..l * n).map(step).collect::<Vec<_>>());
            }
            if lambda == 1.0 {
                // All rewards and the last value.
                let all =
                    |i: usize| (0..l).rev().fold(v[(l - 1) * n + i], |next, t| r[t * n + i] + p[t * n + i] * next);
                close(&got[0][..n], &(0..n).map(all).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn cumulative_discount_is_the_product_of_those_before() {
    let (l, n) = (6, 4);
    let (p, s) = (uniforms(l * n, 5), uniforms(n, 6));
    let got = eval(&[(&[l, n], &p), (&[n], &s)], |g, t| {
        vec![g.cumulative_discount(t[0], None), g.cumulative_discount(t[0], Some(t[1]))]
    });
    let before = |t: usize, i: usize| (0..t).map(|k| p[k * n + i]).product::<f64>();
    let at = |t: usize| move |i: usize| (t, i);
    let all: Vec<(usize, usize)> = (0..l).flat_map(|t| (0..n).map(at(t))).collect();
    close(&got[0], &all.iter().map(|&(t, i)| before(t, i)).collect::<Vec<_>>());
    close(&got[1], &all.iter().map(|&(t, i)| s[i] * before(t, i)).collect::<Vec<_>>());
    let fading = &eval(&[(&[5, 1], &[1e-6; 5])], |g, t| vec![g.cumulative_discount(t[0], None)])[0];
    let bounds = fading.iter().zip([1.0, 1e-6, 1e-12, 1e-18]).all(|(got, want)| (got / want - 1.0).abs() < 1e-12);
    assert!(bounds && fading[4] == 0.0, "1e-24 is nothing, and no more is: {fading:?}");
}

#[test]
fn eq_10_kl_of_normals_by_formula_and_by_monte_carlo() {
    let (rows, s) = (3, 4);
    let shape: &[usize] = &[rows, s];
    let (mq, mp) = (normals(rows * s, 1), normals(rows * s, 2));
    let positive = |seed| normals(rows * s, seed).into_iter().map(|x| 0.3 + x.abs()).collect::<Vec<f64>>();
    let (sq, sp) = (positive(3), positive(4));
    let got = &eval(&[(shape, &mq), (shape, &sq), (shape, &mp), (shape, &sp)], |g, t| {
        vec![g.kl_gaussian(Gaussian { mean: t[0], std: t[1] }, Gaussian { mean: t[2], std: t[3] })]
    })[0];
    let formula =
        |i: usize| (sp[i] / sq[i]).ln() + (sq[i].powi(2) + (mq[i] - mp[i]).powi(2)) / (2.0 * sp[i].powi(2)) - 0.5;
    close(got, &(0..rows).map(|row| (row * s..(row + 1) * s).map(formula).sum()).collect::<Vec<f64>>());

    // KL(q || p) is the mean of ln q(x) - ln p(x) over x from q.
    let log_density = |x: f64, m: f64, s: f64| -0.5 * ((x - m) / s).powi(2) - s.ln() - 0.5 * (2.0 * PI).ln();
    let mut rng = Philox::new(7, stream::TEST, 5);
    for row in 0..rows {
        let draws: Vec<f64> = (0..100_000)
            .map(|_| {
                (row * s..(row + 1) * s)
                    .map(|i| {
                        let x = mq[i] + sq[i] * rng.normal();
                        log_density(x, mq[i], sq[i]) - log_density(x, mp[i], sp[i])
                    })
                    .sum()
            })
            .collect();
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let deviation = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!((mean - got[row]).abs() < 5.0 * deviation / n.sqrt(), "{mean} by Monte Carlo, {} computed", got[row]);
    }
}

fn softmax(a: &[f64]) -> Vec<f64> {
    let sum: f64 = a.iter().map(|a| a.exp()).sum();
    a.iter().map(|a| a.exp() / sum).collect()
}

#[test]
fn kl_and_entropy_of_categoricals_by_formula() {
    let (rows, variables, k) = (3, 2, 5);
    let shape: &[usize] = &[rows, variables * k];
    let (q, p) = (normals(rows * variables * k, 1), normals(rows * variables * k, 2));
    for unimix in [0.0, 0.1] {
        let got = eval(&[(shape, &q), (shape, &p)], |g, t| {
            vec![g.kl_categorical(t[0], t[1], k, unimix), g.categorical_entropy(t[0], k)]
        });
        let mixed = |a: &[f64]| softmax(a).iter().map(|p| (1.0 - unimix) * p + unimix / k as f64).collect::<Vec<_>>();
        let rows_of = |one: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..rows).map(|row| (0..variables).map(|v| one((row * variables + v) * k)).sum()).collect()
        };
        let kl = |at: usize| {
            let (q, p) = (mixed(&q[at..at + k]), mixed(&p[at..at + k]));
            (0..k).map(|i| q[i] * (q[i] / p[i]).ln()).sum()
        };
        close(&got[0], &rows_of(&kl));
        close(&got[1], &rows_of(&|at| -softmax(&q[at..at + k]).iter().map(|p| p * p.ln()).sum::<f64>()));
    }
}

#[test]
fn a_uniform_share_by_formula() {
    let (rows, k, u) = (6, 4, 0.2);
    let a = normals(rows * k, 3);
    let got = eval(&[(&[rows / 2, 2 * k], &a)], |g, t| vec![g.unimix(t[0], k, u)]);
    let want = a.chunks(k).flat_map(|a| softmax(a).into_iter().map(|q| ((1.0 - u) * q + u / k as f64).ln()));
    close(&got[0], &want.collect::<Vec<_>>());
}

#[test]
fn log_probabilities_by_formula() {
    let (rows, n) = (4, 6);
    let (a, x) = (normals(rows * n, 1), normals(rows * n, 2));
    let (logit, target) = (normals(rows, 3), uniforms(rows, 4));
    // One cell of a variable with 4 classes and one with 2.
    let onehot: Vec<f64> =
        (0..rows).flat_map(|r| (0..6).map(move |i| f64::from(i == r % 4 || i == 4 + r % 2))).collect();
    let weight = uniforms(rows, 5);
    let got = eval(
        &[
            (&[rows, n], &a),
            (&[rows, n], &x),
            (&[rows], &logit),
            (&[rows], &target),
            (&[rows, n], &onehot),
            (&[rows, 1], &weight),
        ],
        |g, t| {
            vec![
                g.normal_nll(t[0], t[1], rows),
                g.bernoulli_nll(t[2], t[3]),
                g.categorical_nll(t[0], t[4], Some(t[5]), &[4, 2]),
            ]
        },
    );
    let density = |x: f64, mean: f64| (-0.5 * (x - mean).powi(2)).exp() / (2.0 * PI).sqrt();
    let normal = |r: usize| -(0..n).map(|i| density(x[r * n + i], a[r * n + i])).product::<f64>().ln();
    close(&got[0], &(0..rows).map(normal).collect::<Vec<_>>());
    let bernoulli = |r: usize| {
        let p = 1.0 / (1.0 + (-logit[r]).exp());
        -(target[r] * p.ln() + (1.0 - target[r]) * (1.0 - p).ln())
    };
    close(&got[1], &(0..rows).map(bernoulli).collect::<Vec<_>>());
    let categorical = |r: usize| {
        let (four, two) = (softmax(&a[r * n..r * n + 4]), softmax(&a[r * n + 4..r * n + 6]));
        -weight[r] * (four[r % 4].ln() + two[r % 2].ln())
    };
    close(&got[2], &(0..rows).map(categorical).collect::<Vec<_>>());
}

#[test]
fn linear_is_three_loops() {
    let (rows, k1, k2, n) = (5, 3, 4, 7);
    let (x1, x2) = (normals(rows * k1, 1), normals(rows * k2, 2));
    let (w, b, add) = (normals((k1 + k2) * n, 3), normals(n, 4), normals(rows * n, 5));
    let got = &eval(
        &[(&[rows, k1], &x1), (&[rows, k2], &x2), (&[k1 + k2, n], &w), (&[n], &b), (&[rows, n], &add)],
        |g, t| vec![g.linear_add(&[t[0], t[1]], t[2], Some(t[3]), Some(t[4]), Activation::Elu)],
    )[0];
    let mut want = vec![0.0; rows * n];
    for r in 0..rows {
        for j in 0..n {
            let mut sum = b[j] + add[r * n + j];
            for i in 0..k1 + k2 {
                sum += if i < k1 { x1[r * k1 + i] } else { x2[r * k2 + i - k1] } * w[i * n + j];
            }
            want[r * n + j] = if sum > 0.0 { sum } else { sum.exp() - 1.0 };
        }
    }
    close(got, &want);
}

/// Kernel, stride, pad.
const WINDOWS: [(usize, usize, usize); 7] =
    [(4, 2, 0), (6, 2, 0), (5, 2, 0), (3, 1, 1), (5, 3, 2), (2, 2, 1), (1, 1, 0)];

#[test]
fn convolution_is_seven_loops() {
    let (images, h, w, ci, co) = (2, 9, 7, 3, 2);
    for (kernel, stride, pad) in WINDOWS {
        let x = normals(images * h * w * ci, 1);
        let (weight, b) = (normals(kernel * kernel * ci * co, 2), normals(co, 3));
        let got = &eval(&[(&[images, h, w, ci], &x), (&[kernel, kernel, ci, co], &weight), (&[co], &b)], |g, t| {
            vec![g.conv2d(t[0], t[1], t[2], stride, pad, Activation::Relu)]
        })[0];
        let (oh, ow) = ((h + 2 * pad - kernel) / stride + 1, (w + 2 * pad - kernel) / stride + 1);
        let mut want = Vec::new();
        for image in 0..images {
            for oy in 0..oh {
                for ox in 0..ow {
                    for c in 0..co {
                        let mut sum = b[c];
                        for p in 0..kernel {
                            for q in 0..kernel {
                                for i in 0..ci {
                                    let (y, x_) =
                                        ((oy * stride + p).wrapping_sub(pad), (ox * stride + q).wrapping_sub(pad));
                                    if y < h && x_ < w {
                                        sum += x[((image * h + y) * w + x_) * ci + i]
                                            * weight[((p * kernel + q) * ci + i) * co + c];
                                    }
                                }
                            }
                        }
                        want.push(sum.max(0.0));
                    }
                }
            }
        }
        close(got, &want);
    }
}

#[test]
fn transposed_convolution_is_seven_loops() {
    let (images, h, w, ci, co) = (2, 4, 5, 3, 2);
    for (kernel, stride, pad) in WINDOWS {
        let x = normals(images * h * w * ci, 1);
        let (weight, b) = (normals(ci * kernel * kernel * co, 2), normals(co, 3));
        let got = &eval(&[(&[images, h, w, ci], &x), (&[ci, kernel, kernel, co], &weight), (&[co], &b)], |g, t| {
            vec![g.conv_transpose2d(t[0], t[1], t[2], stride, pad, Activation::Identity)]
        })[0];
        let (oh, ow) = ((h - 1) * stride + kernel - 2 * pad, (w - 1) * stride + kernel - 2 * pad);
        let mut want: Vec<f64> = (0..images * oh * ow * co).map(|i| b[i % co]).collect();
        for image in 0..images {
            for y in 0..h {
                for x_ in 0..w {
                    for i in 0..ci {
                        for p in 0..kernel {
                            for q in 0..kernel {
                                for c in 0..co {
                                    let (oy, ox) =
                                        ((y * stride + p).wrapping_sub(pad), (x_ * stride + q).wrapping_sub(pad));
                                    if oy < oh && ox < ow {
                                        want[((image * oh + oy) * ow + ox) * co + c] += x
                                            [((image * h + y) * w + x_) * ci + i]
                                            * weight[((i * kernel + p) * kernel + q) * co + c];
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        close(got, &want);
    }
}

/// Keras' GRUCell with reset_after=True, written out: gates r, z, n.
#[test]
fn gru_by_its_formulas() {
    let (rows, d) = (3, 4);
    let (xp, hp, h) = (normals(rows * 3 * d, 1), normals(rows * 3 * d, 2), normals(rows * d, 3));
    let got = &eval(&[(&[rows, 3 * d], &xp), (&[rows, 3 * d], &hp), (&[rows, d], &h)], |g, t| {
        vec![g.gru_cell(t[0], t[1], t[2])]
    })[0];
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let next = |at: usize| {
        let (row, i) = (at / d, at % d);
        let gate = |g: usize| (xp[row * 3 * d + g * d + i], hp[row * 3 * d + g * d + i]);
        let (r, z) = (sigmoid(gate(0).0 + gate(0).1), sigmoid(gate(1).0 + gate(1).1));
        let n = (gate(2).0 + r * gate(2).1).tanh();
        (1.0 - z) * n + z * h[at]
    };
    close(got, &(0..rows * d).map(next).collect::<Vec<_>>());
}

#[test]
fn samples_of_latents_and_actions_by_formula() {
    let (rows, n) = (4, 3);
    let (a, eps) = (normals(rows * 2 * n, 1), normals(rows * n, 2));
    let constants = TanhNormal { mean_scale: 5.0, init_std: 5.0, min_std: 1e-4 };
    let got = eval(&[(&[rows, 2 * n], &a), (&[rows, n], &eps)], |g, t| {
        let (Gaussian { mean, std }, sample) = g.sample_gaussian(t[0], t[1], 0.1);
        let (squashed_mean, squashed_std, action) = g.sample_tanh_normal(t[0], t[1], constants);
        vec![mean, std, sample, squashed_mean, squashed_std, action]
    });
    let softplus = |x: f64| (1.0 + x.exp()).ln();
    let parts = |i: usize| (a[i / n * 2 * n + i % n], a[i / n * 2 * n + n + i % n]);
    let all = |one: &dyn Fn(usize) -> f64| (0..rows * n).map(one).collect::<Vec<f64>>();
    close(&got[0], &all(&|i| parts(i).0));
    close(&got[1], &all(&|i| softplus(parts(i).1) + 0.1));
    close(&got[2], &all(&|i| parts(i).0 + (softplus(parts(i).1) + 0.1) * eps[i]));
    // danijar/dreamer, ActionDecoder: mean 5 tanh(a / 5), std softplus(a + ln(e^5 - 1)) + 1e-4, action tanh(mean + std eps) (eq. 3).
    let mean = |i: usize| 5.0 * (parts(i).0 / 5.0).tanh();
    let std = |i: usize| softplus(parts(i).1 + (5.0_f64.exp() - 1.0).ln()) + 1e-4;
    close(&got[3], &all(&mean));
    close(&got[4], &all(&std));
    close(&got[5], &all(&|i| (mean(i) + std(i) * eps[i]).tanh()));
}

/// The sample is the Gumbel maximum, and its gradient is that of the probabilities: da = p (c - sum p c).
#[test]
fn straight_through_sample_and_gradient() {
    let (rows, k) = (6, 4);
    let (a, c) = (normals(rows * k, 1), normals(rows * k, 2));
    let gumbel: Vec<f64> = uniforms(rows * k, 3).iter().map(|u| -(-u.ln()).ln()).collect();
    let shape: &[usize] = &[rows, k];
    for unimix in [0.0, 0.2] {
        let tensors: Tensors = &[(shape, &a), (shape, &gumbel), (shape, &c)];
        let got = eval(tensors, |g, t| {
            let (sample, p) = g.sample_onehot(t[0], t[1], k, unimix);
            vec![sample, p]
        });
        let soft = |row: usize| softmax(&a[row * k..(row + 1) * k]);
        let mixed = |row: usize| soft(row).iter().map(|q| (1.0 - unimix) * q + unimix / k as f64).collect::<Vec<_>>();
        close(&got[1], &(0..rows).flat_map(mixed).collect::<Vec<_>>());
        for row in 0..rows {
            let score: Vec<f64> = mixed(row).iter().zip(&gumbel[row * k..]).map(|(p, g)| p.ln() + g).collect();
            let best = (0..k).max_by(|&i, &j| score[i].total_cmp(&score[j])).unwrap();
            let onehot: Vec<f64> = (0..k).map(|i| f64::from(i == best)).collect();
            assert_eq!(got[0][row * k..(row + 1) * k], onehot);
        }
        let gradient = &gradients(tensors, |g, t| {
            let (sample, _) = g.sample_onehot(t[0], t[1], k, unimix);
            g.weighted_mean(sample, t[2])
        })[0];
        let n = (rows * k) as f64;
        let want = |at: usize| {
            let (row, i) = (at / k, at % k);
            let (q, c) = (soft(row), &c[row * k..(row + 1) * k]);
            let mean: f64 = q.iter().zip(c).map(|(q, c)| q * c).sum();
            (1.0 - unimix) * q[i] * (c[i] - mean) / n
        };
        close(gradient, &(0..rows * k).map(want).collect::<Vec<_>>());
    }
}

#[test]
fn twohot_is_exact() {
    let bins = symexp_bins(11, 3.0);
    let k = bins.len();
    assert!((0..k).all(|i| bins[i] == -bins[k - 1 - i]) && (bins[k - 1] - (3.0_f64.exp() - 1.0)).abs() < 1e-12);
    // Zero logits, as at the start: exactly 0, in both precisions.
    let mean = &eval(&[(&[2, k], &vec![0.0; 2 * k])], |g, t| vec![g.twohot_mean(t[0], &bins)])[0];
    assert_eq!(mean[..], [0.0, 0.0]);
    // The weights of a target sit on its neighbours and average to it; beyond the last bin all weight is on the last.
    let targets = [0.0, 0.3, -2.0, bins[7], 100.0, -100.0];
    let a = normals(targets.len() * k, 1);
    let got = eval(&[(&[targets.len(), k], &a), (&[targets.len()], &targets)], |g, t| {
        vec![g.twohot_nll(t[0], t[1], &bins), g.twohot_mean(t[0], &bins)]
    });
    for (row, target) in targets.iter().enumerate() {
        let p = softmax(&a[row * k..(row + 1) * k]);
        close(&got[1][row..=row], &[p.iter().zip(bins.iter()).map(|(p, b)| p * b).sum()]);
        let x = target.clamp(bins[0], bins[k - 1]);
        let weight: Vec<f64> = (0..k)
            .map(|i| {
                let below = i > 0 && (bins[i - 1]..bins[i]).contains(&x);
                let above = i + 1 < k && (bins[i]..bins[i + 1]).contains(&x);
                match (below, above) {
                    (true, _) => (x - bins[i - 1]) / (bins[i] - bins[i - 1]),
                    (_, true) => (bins[i + 1] - x) / (bins[i + 1] - bins[i]),
                    _ => f64::from(x == bins[i]),
                }
            })
            .collect();
        close(&[weight.iter().zip(bins.iter()).map(|(w, b)| w * b).sum()], &[x]);
        close(&got[0][row..=row], &[-weight.iter().zip(&p).map(|(w, p)| w * p.ln()).sum::<f64>()]);
    }
}

/// Kingma and Ba, Algorithm 1, by hand, after clipping by the global norm.
#[test]
fn two_steps_of_adam_with_clipping() {
    let (lr, b1, b2, eps, clip) = (0.01, 0.9, 0.999, 1e-7, 1.5);
    let values = normals(5, 1);
    let (mut p, mut m, mut v) = (values.clone(), vec![0.0; 5], vec![0.0; 5]);
    let mut layout = Layout::new();
    layout.group("g", [("w".to_string(), vec![5])]);
    let mut params = Params::<f64>::new(Arc::new(layout));
    params.value_mut("w").copy_from_slice(&values);
    // The first gradient is clipped, the second is not.
    for (t, scale) in [(1, 3.0), (2, 0.2)] {
        let grad: Vec<f64> = normals(5, 10 + t).iter().map(|g| scale * g).collect();
        let norm = grad.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert_eq!(norm > clip, t == 1, "the test clips once: the norm is {norm}");
        for i in 0..5 {
            let g = grad[i] * if norm > clip { clip / norm } else { 1.0 };
            m[i] = b1 * m[i] + (1.0 - b1) * g;
            v[i] = b2 * v[i] + (1.0 - b2) * g * g;
            let (m_hat, v_hat) = (m[i] / (1.0 - b1.powi(t as i32)), v[i] / (1.0 - b2.powi(t as i32)));
            p[i] -= lr * m_hat / (v_hat.sqrt() + eps);
        }
        let range = params.layout.entry("w").unwrap().range();
        params.grad.all_mut()[range].copy_from_slice(&grad);
        let group = params.layout.group_range("g");
        let found = global_norm(&params, group.clone(), &pool());
        close(&[found], &[norm]);
        adam_update(&mut params, group, found, &Adam::new(lr, eps, clip, t), &[], &pool());
        close(params.value("w"), &p);
    }
}

#[test]
fn published_sizes() {
    let image = Observation::Image { height: 64, width: 64, channels: 3 };
    let config = Config { object_weight: 1.0, ..Config::default() };
    let model = Model::new(&config, image, Actions::Continuous(6)).unwrap();
    let layout = model.layout();
    assert_eq!(["model", "actor", "value"].map(|group| layout.count(group)), [5_296_820, 578_412, 413_601]);
    for (name, shape) in [
        ("enc.conv1.w", &[4, 4, 3, 32][..]),
        ("enc.conv4.w", &[4, 4, 128, 256]),
        ("rssm.img1.w", &[36, 200]),
        ("rssm.gru.wx", &[200, 600]),
        ("rssm.gru.wh", &[200, 600]),
        ("rssm.obs1.w", &[1224, 200]),
        ("rssm.obs2.w", &[200, 60]),
        ("dec.dense.w", &[230, 1024]),
        ("dec.deconv1.w", &[1024, 5, 5, 128]),
        ("dec.deconv4.w", &[32, 6, 6, 3]),
        ("reward.h0.w", &[230, 400]),
        ("actor.out.w", &[400, 12]),
        ("value.out.w", &[400, 1]),
    ] {
        assert_eq!(layout.entry(name).unwrap_or_else(|| panic!("no {name}")).shape, shape, "{name}");
    }
}

/// Eqs. (7), (8) and (10) put together from the terms that a training step reports.
#[test]
fn losses_are_the_sums_of_their_terms() {
    let mut met = (0, 0);
    for case in whole_losses() {
        let c = &case.model.config;
        let mut params = parameters::<f64>(&case.model);
        let mut step = training_step(&case.model, &params, &pool());
        step.gradients(&mut params, 9);
        let scalar = |name: &str| step.metrics().find(|(n, _)| *n == name).map(|(_, value)| value);
        let known = |name: &str| scalar(name).unwrap_or_else(|| panic!("{}: no scalar {name}", case.name));
        // Eq. (10)
        let pcont = c.pcont_scale * scalar("pcont_loss").unwrap_or(0.0);
        close(
            &[known("model_loss")],
            &[c.kl_scale * known("div")
                + c.image_scale * known("image_loss")
                + c.reward_loss_scale * known("reward_loss")
                + c.latent_barrier * scalar("barrier").unwrap_or(0.0)
                + pcont],
        );
        if c.kl_balance < 0.0 && !c.free_nats_each {
            assert_eq!(known("div"), known("kl").max(c.free_nats), "{}", case.name);
        }
        let plain = !c.pcont && c.value_dist == ScalarDist::Normal;
        if !plain {
            continue;
        }
        let (returns, values) = (step.plan.value(step.behavior.returns), step.plan.value(step.behavior.values));
        let n = case.model.starts();
        let weight = |at: usize| if c.discount_weights { c.discount.powi((at / n) as i32) } else { 1.0 };
        let mean = |one: &dyn Fn(usize) -> f64| (0..returns.len()).map(one).sum::<f64>() / returns.len() as f64;
        // Eq. (8), as the negative log-density of a unit normal.
        let value_loss = mean(&|at| weight(at) * (0.5 * (values[at] - returns[at]).powi(2) + 0.5 * (2.0 * PI).ln()));
        close(&[known("value_loss")], &[value_loss]);
        met.0 += 1;
        if c.actor_grad == ActorGrad::Dynamics && c.actor_entropy == 0.0 {
            // Eq. (7): H - 1 returns, each weighed by the discounts before it.
            assert_eq!(returns.len(), (c.horizon - 1) * n, "{}", case.name);
            close(&[known("actor_loss")], &[-mean(&|at| weight(at) * returns[at])]);
            met.1 += 1;
        }
    }
    assert!(met.0 > 5 && met.1 > 4, "{met:?}");
}
