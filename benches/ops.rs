//! Every op of the registry on sizes of a training step, on one thread: `cargo bench --bench ops [-- NAME]`. `Gelem/s` is billions of
//! operations a second by the op's own `cost()`. The loss that the backward pass begins with is the mean of the result, taken along.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Sweep, Var};
use dreamer_fast::base::{Philox, philox::stream};
use dreamer_fast::device::Pool;
use dreamer_fast::ops::Activation;
use dreamer_fast::ops::gaussian::Gaussian;
use dreamer_fast::ops::lambda_return::Discount;
use dreamer_fast::ops::registry::OPS;
use dreamer_fast::ops::sample_tanh_normal::TanhNormal;
use dreamer_fast::ops::twohot::symexp_bins;

/// One op: what it differentiates by, what it does not, and its call.
struct Row {
    op: &'static str,
    params: &'static [&'static [usize]],
    inputs: &'static [&'static [usize]],
    call: fn(&mut Graph<f32>, &[Var]) -> Var,
}

/// Classes of object, colour and state in a cell of a gridworld.
const CELL: [usize; 3] = [11, 6, 3];

const ROWS: &[Row] = &[
    row("activation", &[&[2500, 400]], &[], |g, v| g.activation(v[0], Activation::Elu)),
    row("bernoulli_nll", &[&[2500, 1]], &[&[2500, 1]], |g, v| g.bernoulli_nll(v[0], v[1])),
    row("categorical_entropy", &[&[15_360, 7]], &[], |g, v| g.categorical_entropy(v[0], 7)),
    row("categorical_nll", &[&[256, 980]], &[&[256, 980], &[256, 49]], |g, v| {
        let cells: Vec<usize> = CELL.to_vec();
        g.categorical_nll(v[0], v[1], Some(v[2]), &cells)
    }),
    row("conv2d", &[&[32, 31, 31, 32], &[4, 4, 32, 64], &[64]], &[], |g, v| {
        g.conv2d(v[0], v[1], v[2], 2, 0, Activation::Relu)
    }),
    row("conv_transpose2d", &[&[32, 13, 13, 64], &[64, 6, 6, 32], &[32]], &[], |g, v| {
        g.conv_transpose2d(v[0], v[1], v[2], 2, 0, Activation::Relu)
    }),
    row("cumulative_discount", &[&[14, 2500]], &[], |g, v| g.cumulative_discount(v[0], None)),
    row("floor", &[&[2500, 1]], &[], |g, v| g.floor(v[0], 0.5)),
    row("gaussian", &[&[2500, 60]], &[], |g, v| g.gaussian(v[0], 0.1).std),
    row("gru_cell", &[&[2500, 600], &[2500, 600], &[2500, 200]], &[], |g, v| g.gru_cell(v[0], v[1], v[2])),
    row("kl_categorical", &[&[1024, 128], &[1024, 128]], &[], |g, v| g.kl_categorical(v[0], v[1], 8, 0.01)),
    row("kl_gaussian", &[&[2500, 30], &[2500, 30], &[2500, 30], &[2500, 30]], &[], |g, v| {
        g.kl_gaussian(Gaussian { mean: v[0], std: v[1] }, Gaussian { mean: v[2], std: v[3] })
    }),
    row("lambda_return", &[&[14, 2500], &[14, 2500], &[14, 2500]], &[], |g, v| {
        g.lambda_return(v[0], v[1], Discount::Tensor(v[2]), 0.95)
    }),
    row("linear", &[&[2500, 400], &[400, 400], &[400]], &[], |g, v| {
        g.linear(&[v[0]], v[1], Some(v[2]), Activation::Elu)
    }),
    row("mask", &[&[2500, 200]], &[&[2500]], |g, v| g.mask(v[0], v[1])),
    row("mean", &[&[2500, 200]], &[], |g, v| g.mean(v[0])),
    row("mul", &[&[14, 2500], &[14, 2500]], &[], |g, v| g.mul(v[0], v[1])),
    row("normal_nll", &[&[64, 12_288]], &[&[64, 12_288]], |g, v| g.normal_nll(v[0], v[1], 64)),
    row("sample_gaussian", &[&[2500, 60]], &[&[2500, 30]], |g, v| g.sample_gaussian(v[0], v[1], 0.1).1),
    row("sample_onehot", &[&[1024, 128]], &[&[1024, 128]], |g, v| g.sample_onehot(v[0], v[1], 8, 0.01).0),
    row("sample_tanh_normal", &[&[2500, 12]], &[&[2500, 6]], |g, v| {
        g.sample_tanh_normal(v[0], v[1], TanhNormal { mean_scale: 5.0, init_std: 5.0, min_std: 1e-4 }).2
    }),
    row("sum", &[&[14, 2500], &[14, 2500]], &[], |g, v| g.sum(&[(v[0], 1.0), (v[1], -1.0)])),
    row("twohot_mean", &[&[2500, 61]], &[], |g, v| g.twohot_mean(v[0], &symexp_bins(61, 3.0))),
    row("twohot_nll", &[&[2500, 61]], &[&[2500]], |g, v| g.twohot_nll(v[0], v[1], &symexp_bins(61, 3.0))),
];

const fn row(
    op: &'static str,
    params: &'static [&'static [usize]],
    inputs: &'static [&'static [usize]],
    call: fn(&mut Graph<f32>, &[Var]) -> Var,
) -> Row {
    Row { op, params, inputs, call }
}

/// The op alone, or with its backward pass; and the operations of a forward pass.
fn plan(row: &Row, backward: bool) -> (Plan<f32>, Params<f32>, f64) {
    let mut layout = Layout::new();
    let named = row.params.iter().enumerate().map(|(i, shape)| (format!("p{i}"), shape.to_vec()));
    layout.group("params", named.collect::<Vec<_>>());
    let layout = Arc::new(layout);
    let mut params = Params::new(layout.clone());
    let mut rng = Philox::new(1, stream::TEST, 0);
    // Between 0.1 and 0.9: a standard deviation, a discount or a probability may be asked for.
    let mut fill = |out: &mut [f32]| out.iter_mut().for_each(|x| *x = 0.1 + 0.8 * rng.uniform() as f32);
    (0..row.params.len()).for_each(|i| fill(params.value_mut(&format!("p{i}"))));
    let mut g = Graph::new(layout);
    let mut vars: Vec<Var> = (0..row.params.len()).map(|i| g.param(&format!("p{i}"))).collect();
    let inputs: Vec<Var> = row.inputs.iter().enumerate().map(|(i, shape)| g.input(&format!("x{i}"), shape)).collect();
    vars.extend(&inputs);
    let y = (row.call)(&mut g, &vars);
    let mut sweeps = Vec::new();
    if backward {
        let loss = g.mean(y);
        sweeps.push(Sweep::new(loss, "params"));
    }
    g.keep(y);
    let mut plan = Plan::new(g, &sweeps, Arc::new(Pool::new(1).expect("one thread")));
    inputs.into_iter().for_each(|x| fill(plan.input_mut(x)));
    let flops = plan.calls()[0].flops;
    (plan, params, flops)
}

fn ops(criterion: &mut Criterion) {
    let names: Vec<&str> = ROWS.iter().map(|row| row.op).collect();
    assert_eq!(names, OPS, "every op of the registry has a row, in its order");
    for row in ROWS {
        let mut group = criterion.benchmark_group(row.op);
        for (name, backward) in [("forward", false), ("forward and backward", true)] {
            let (mut plan, mut params, flops) = plan(row, backward);
            if !backward {
                group.throughput(Throughput::Elements(flops as u64));
            }
            group.bench_function(name, |bencher| bencher.iter(|| plan.run(&mut params, Clock::default())));
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = ops
}
criterion_main!(all);
