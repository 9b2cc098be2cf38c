//! Every op with inputs to check its gradient on: odd sizes (1, primes), every variant. `tests/gradcheck.rs` walks through it and
//! fails if an op of this floor is missing.

use super::activation::Activation;
use super::ego_map::MapShape;
use super::gaussian::Gaussian;
use super::lambda_return::Discount;
use super::sample_tanh_normal::TanhNormal;
use super::twohot::symexp_bins;
use crate::autodiff::gradcheck::Case;
use crate::autodiff::{Graph, Var};
use crate::base::{Philox, philox::stream};

/// Numbers of the rooms that have a gradient: each must occur as the first word of the name of a case.
pub const OPS: &[&str] = &[
    "activation",
    "bernoulli_nll",
    "categorical_entropy",
    "categorical_nll",
    "columns",
    "conv2d",
    "conv_transpose2d",
    "cumulative_discount",
    "floor",
    "ego_map",
    "gaussian",
    "gru_cell",
    "kl_categorical",
    "kl_gaussian",
    "lambda_return",
    "layer_norm",
    "linear",
    "map_now",
    "map_view",
    "mask",
    "mean",
    "mul",
    "norm_gru_cell",
    "normal_nll",
    "outer",
    "rms_norm",
    "sample_gaussian",
    "sample_onehot",
    "sample_tanh_normal",
    "silu",
    "sum",
    "symexp",
    "symlog",
    "twohot_mean",
    "twohot_nll",
    "unimix",
    "value_iteration",
    "weighted_normal_nll",
];

fn normals(n: usize, seed: u64) -> Vec<f64> {
    let mut rng = Philox::new(seed, stream::TEST, 1);
    (0..n).map(|_| rng.normal()).collect()
}

/// One-hot rows of `k` classes.
fn onehots(n: usize, k: usize) -> Vec<f64> {
    let mut rng = Philox::new(2, stream::TEST, 2);
    let mut out = vec![0.0; n * k];
    (0..n).for_each(|i| out[i * k + rng.below(k)] = 1.0);
    out
}

type Shapes<'a> = &'a [(&'a str, &'a [usize])];

/// A case whose tensors come from `params`, and whose result is weighed by fixed random numbers into a scalar, so that every
/// element of the result has a gradient of its own.
fn case(
    name: &str,
    params: Shapes,
    build: impl Fn(&mut Graph<f64>, &[Var]) -> Vec<Var> + Send + Sync + 'static,
) -> Case {
    with_inputs(name, params, vec![], build)
}

fn with_inputs(
    name: &str,
    params: Shapes,
    inputs: Vec<(&str, &[usize], Vec<f64>)>,
    build: impl Fn(&mut Graph<f64>, &[Var]) -> Vec<Var> + Send + Sync + 'static,
) -> Case {
    let params: Vec<(String, Vec<usize>)> = params.iter().map(|(n, s)| (n.to_string(), s.to_vec())).collect();
    let inputs: Vec<(String, Vec<usize>, Vec<f64>)> =
        inputs.into_iter().map(|(n, s, v)| (n.to_string(), s.to_vec(), v)).collect();
    let (names, given) = (params.clone(), inputs.clone());
    Case {
        name: name.to_string(),
        params,
        inputs,
        shape_value: |name, x| match name {
            // A standard deviation is positive; a discount lies in (0, 1).
            n if n.starts_with("std") => 0.3 + x.abs(),
            n if n.starts_with("discount") => 1.0 / (1.0 + (-x).exp()),
            // Away from the kinks of relu and floor.
            n if n.starts_with("kinked") => x + 0.1 * x.signum(),
            _ => x,
        },
        build: Box::new(move |g| {
            let mut vars: Vec<Var> = names.iter().map(|(n, _)| g.param(n)).collect();
            vars.extend(given.iter().map(|(n, s, _)| g.input(n, s)));
            let results = build(g, &vars);
            let terms: Vec<(Var, f64)> = results
                .iter()
                .enumerate()
                .map(|(i, &y)| {
                    // Weights that differ from element to element: a smooth function of the noise op's draws.
                    let shape = g.shape(y).to_vec();
                    let w = g.noise(super::noise::Noise::Normal, 1000 + i as u32, &shape);
                    (g.weighted_mean(y, w), 3.0)
                })
                .collect();
            g.sum(&terms)
        }),
    }
}

/// All cases.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let activations = [
        ("identity", Activation::Identity),
        ("relu", Activation::Relu),
        ("elu", Activation::Elu),
        ("tanh", Activation::Tanh),
        ("sigmoid", Activation::Sigmoid),
        ("softplus", Activation::Softplus),
    ];
    for (name, f) in activations {
        all.push(case(&format!("activation {name}"), &[("kinked_x", &[5, 7])], move |g, v| {
            vec![g.activation(v[0], f)]
        }));
    }
    all.push(case("linear", &[("x", &[11, 7]), ("w", &[7, 13]), ("b", &[13])], |g, v| {
        vec![g.linear(&[v[0]], v[1], Some(v[2]), Activation::Elu)]
    }));
    all.push(case(
        "linear of three inputs, added to",
        &[("x", &[3, 5]), ("y", &[3, 1]), ("z", &[3, 37]), ("w", &[43, 2]), ("b", &[2]), ("add", &[3, 2])],
        |g, v| vec![g.linear_add(&[v[0], v[1], v[2]], v[3], Some(v[4]), Some(v[5]), Activation::Tanh)],
    ));
    all.push(case("linear of one row, no bias", &[("x", &[1, 1]), ("w", &[1, 1])], |g, v| {
        vec![g.linear(&[v[0]], v[1], None, Activation::Identity)]
    }));
    // A layer used at every step of a scan: its weight gradient is gathered over the steps.
    all.push(case("linear scanned", &[("h", &[5, 3]), ("x", &[4, 5, 2]), ("w", &[5, 3]), ("b", &[3])], |g, v| {
        let mut h = v[0];
        let mut out = Vec::new();
        for t in 0..4 {
            let x = g.window(v[1], t);
            h = g.linear(&[h, x], v[2], Some(v[3]), Activation::Tanh);
            out.push(h);
        }
        vec![g.stack(&out)]
    }));
    for (kernel, stride, pad) in [(4, 2, 0), (3, 1, 1), (5, 3, 2), (1, 1, 0)] {
        all.push(case(
            &format!("conv2d kernel {kernel} stride {stride} pad {pad}"),
            &[("x", &[3, 7, 6, 2]), ("w", &[kernel, kernel, 2, 3]), ("b", &[3])],
            move |g, v| vec![g.conv2d(v[0], v[1], v[2], stride, pad, Activation::Elu)],
        ));
        all.push(case(
            &format!("conv_transpose2d kernel {kernel} stride {stride} pad {pad}"),
            &[("x", &[3, 4, 3, 2]), ("w", &[2, kernel, kernel, 3]), ("b", &[3])],
            move |g, v| vec![g.conv_transpose2d(v[0], v[1], v[2], stride, pad, Activation::Elu)],
        ));
    }
    all.push(case("gru_cell", &[("xp", &[7, 15]), ("hp", &[7, 15]), ("h", &[7, 5])], |g, v| {
        vec![g.gru_cell(v[0], v[1], v[2])]
    }));
    all.push(case("norm_gru_cell", &[("a", &[7, 15]), ("h", &[7, 5])], |g, v| vec![g.norm_gru_cell(v[0], v[1])]));
    for columns in [false, true] {
        let shape = MapShape { side: 5, view: 3, classes: 2, columns };
        let x: Shapes = &[("x", &[7, 3]), ("state", &[7, 53]), ("seen", &[7, 18]), ("control", &[7, 6])];
        let name = if columns { "ego_map column by column" } else { "ego_map" };
        all.push(case(name, x, move |g, v| vec![g.ego_map(v[0], v[1], v[2], v[3], shape)]));
        let x: Shapes = &[("x", &[7, 3]), ("state", &[7, 53]), ("seen", &[7, 18]), ("control", &[7, 8])];
        let name = if columns { "ego_map that erases apart, column by column" } else { "ego_map that erases apart" };
        all.push(case(name, x, move |g, v| vec![g.ego_map(v[0], v[1], v[2], v[3], shape)]));
        let name = if columns { "map_view column by column" } else { "map_view" };
        all.push(case(name, &[("state", &[7, 53])], move |g, v| vec![g.map_view(v[0], shape, 0.7)]));
        let x: Shapes = &[("state", &[7, 53]), ("seen", &[7, 18])];
        for beside in [false, true] {
            let name = format!(
                "map_now{}{}",
                if beside { " beside" } else { "" },
                if columns { " column by column" } else { "" }
            );
            all.push(case(&name, x, move |g, v| vec![g.map_now(v[0], v[1], shape, beside)]));
        }
    }
    for (side, sweeps) in [(3, 1), (5, 9)] {
        let x = [("x", &[7, 2 * side * side][..])];
        all.push(case(&format!("value_iteration {sweeps}"), &x, move |g, v| {
            vec![g.value_iteration(v[0], side, sweeps, 0.9)]
        }));
    }
    all.push(case("columns", &[("x", &[7, 5])], |g, v| vec![g.columns(v[0], 3)]));
    all.push(case("outer", &[("a", &[7, 3]), ("x", &[7, 5])], |g, v| vec![g.outer(v[0], v[1])]));
    // 37: two blocks of the sums along a row, and a rest.
    for (rows, n) in [(1, 7), (11, 7), (3, 37)] {
        let x: Shapes = &[("x", &[rows, n]), ("scale", &[n]), ("offset", &[n])];
        all.push(case(&format!("layer_norm of {rows} x {n}"), x, |g, v| vec![g.layer_norm(v[0], v[1], v[2])]));
        all.push(case(&format!("rms_norm of {rows} x {n}"), &x[..2], |g, v| vec![g.rms_norm(v[0], v[1])]));
    }
    // Used at every step of a scan: the gradients of scale and offset are gathered over the steps.
    all.push(case("layer_norm scanned", &[("h", &[5, 3]), ("scale", &[3]), ("offset", &[3])], |g, v| {
        let mut h = v[0];
        let mut out = Vec::new();
        for _ in 0..4 {
            let x = g.silu(h);
            h = g.layer_norm(x, v[1], v[2]);
            out.push(h);
        }
        vec![g.stack(&out)]
    }));
    all.push(case("silu", &[("x", &[5, 7])], |g, v| vec![g.silu(v[0])]));
    all.push(case("symlog", &[("x", &[5, 7])], |g, v| vec![g.symlog(v[0])]));
    all.push(case("symexp", &[("x", &[5, 7])], |g, v| vec![g.symexp(v[0])]));
    all.push(case("gaussian", &[("a", &[7, 10])], |g, v| {
        let Gaussian { mean, std } = g.gaussian(v[0], 0.1);
        vec![mean, std]
    }));
    all.push(with_inputs("sample_gaussian", &[("a", &[7, 10])], vec![("eps", &[7, 5], normals(35, 3))], |g, v| {
        let (Gaussian { mean, std }, sample) = g.sample_gaussian(v[0], v[1], 0.1);
        vec![mean, std, sample]
    }));
    all.push(with_inputs("sample_tanh_normal", &[("a", &[5, 6])], vec![("eps", &[5, 3], normals(15, 4))], |g, v| {
        let constants = TanhNormal { mean_scale: 5.0, init_std: 1.0, min_std: 1e-4 };
        vec![g.sample_tanh_normal(v[0], v[1], constants).2]
    }));
    // The straight-through gradient is by definition that of p, not of the sample.
    for (name, unimix) in [("sample_onehot", 0.0), ("sample_onehot unimix", 0.05)] {
        all.push(with_inputs(name, &[("a", &[5, 12])], vec![("gumbel", &[5, 12], vec![0.0; 60])], move |g, v| {
            vec![g.sample_onehot(v[0], v[1], 4, unimix).1]
        }));
    }
    all.push(case("unimix", &[("a", &[5, 12])], |g, v| vec![g.unimix(v[0], 4, 0.05)]));
    all.push(case(
        "kl_gaussian",
        &[("mq", &[7, 3]), ("std_q", &[7, 3]), ("mp", &[7, 3]), ("std_p", &[7, 3])],
        |g, v| vec![g.kl_gaussian(Gaussian { mean: v[0], std: v[1] }, Gaussian { mean: v[2], std: v[3] })],
    ));
    for (name, unimix) in [("kl_categorical", 0.0), ("kl_categorical unimix", 0.01)] {
        all.push(case(name, &[("q", &[5, 12]), ("p", &[5, 12])], move |g, v| {
            vec![g.kl_categorical(v[0], v[1], 4, unimix)]
        }));
    }
    all.push(with_inputs("normal_nll", &[("mu", &[7, 37])], vec![("x", &[7, 37], normals(259, 5))], |g, v| {
        vec![g.normal_nll(v[0], v[1], 7)]
    }));
    all.push(with_inputs(
        "weighted_normal_nll",
        &[("mu", &[7, 36])],
        vec![("x", &[7, 36], normals(252, 5)), ("w", &[7, 12], normals(84, 6))],
        |g, v| vec![g.weighted_normal_nll(v[0], v[1], v[2], 7)],
    ));
    all.push(with_inputs(
        "bernoulli_nll",
        &[("a", &[7, 1])],
        vec![("t", &[7, 1], vec![0.0, 1.0, 0.99, 0.5, 1.0, 0.0, 0.3])],
        |g, v| vec![g.bernoulli_nll(v[0], v[1])],
    ));
    all.push(with_inputs(
        "categorical_nll",
        &[("a", &[3, 10])],
        vec![
            ("t", &[3, 10], {
                let (three, two) = (onehots(6, 3), onehots(6, 2));
                (0..6).flat_map(|i| [&three[3 * i..3 * i + 3], &two[2 * i..2 * i + 2]].concat()).collect()
            }),
            ("w", &[3, 2], vec![1.0, 10.0, 0.5, 1.0, 2.0, 0.0]),
        ],
        |g, v| vec![g.categorical_nll(v[0], v[1], Some(v[2]), &[3, 2])],
    ));
    all.push(case("categorical_entropy", &[("a", &[5, 12])], |g, v| vec![g.categorical_entropy(v[0], 4)]));
    all.push(case("lambda_return", &[("r", &[6, 5]), ("v", &[6, 5]), ("discount", &[6, 5])], |g, v| {
        vec![g.lambda_return(v[0], v[1], Discount::Tensor(v[2]), 0.95)]
    }));
    all.push(case("lambda_return constant discount", &[("r", &[1, 3]), ("v", &[1, 3])], |g, v| {
        vec![g.lambda_return(v[0], v[1], Discount::Constant(0.99), 0.9)]
    }));
    all.push(case("cumulative_discount", &[("discount", &[6, 5]), ("start", &[5])], |g, v| {
        vec![g.cumulative_discount(v[0], Some(v[1])), g.cumulative_discount(v[0], None)]
    }));
    all.push(case("mean", &[("x", &[7, 73])], |g, v| vec![g.mean(v[0])]));
    all.push(case("sum", &[("x", &[3, 5]), ("y", &[3, 5])], |g, v| vec![g.sum(&[(v[0], 2.0), (v[1], -0.5)])]));
    all.push(case("mul", &[("x", &[3, 5]), ("y", &[3, 5])], |g, v| vec![g.mul(v[0], v[1])]));
    all.push(case("floor", &[("kinked_x", &[3, 5])], |g, v| vec![g.floor(v[0], 0.0)]));
    all.push(with_inputs("mask", &[("x", &[4, 5])], vec![("m", &[4], vec![0.0, 1.0, 1.0, 0.5])], |g, v| {
        vec![g.mask(v[0], v[1])]
    }));
    let bins = symexp_bins(11, 3.0);
    let for_nll = bins.clone();
    all.push(case("twohot_mean", &[("a", &[5, 11])], move |g, v| vec![g.twohot_mean(v[0], &bins)]));
    all.push(with_inputs(
        "twohot_nll",
        &[("a", &[5, 11])],
        vec![("target", &[5], vec![0.0, 0.3, -2.0, 100.0, 1.0])],
        move |g, v| vec![g.twohot_nll(v[0], v[1], &for_nll)],
    ));
    all
}
