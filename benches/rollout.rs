//! The scans of the world model, forward, as `dreamer-fast bench` runs them: `cargo bench --bench rollout [-- NAME]`.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use dreamer_fast::autodiff::Params;
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::init::init;
use dreamer_fast::run::args::{BenchConfig, BenchMode};
use dreamer_fast::run::bench::work::{model, work};
use dreamer_fast::run::device::Device;

fn rollout(criterion: &mut Criterion) {
    let pool = Arc::new(Pool::new(0).expect("threads start"));
    for config in [BenchConfig::Grid, BenchConfig::Small] {
        let model = model(config).expect("the sizes fit together");
        for mode in [BenchMode::Observe, BenchMode::Imagine] {
            let mut params = Params::new(Arc::new(model.layout()));
            init(&model, &mut params, 0);
            let work = work(&model, mode, params, &pool, &Device::Cpu, false);
            let mut work = work.expect("the CPU has no errors");
            criterion.bench_function(&format!("{} {}", config.name(), mode.name()), |bencher| bencher.iter(&mut work));
        }
    }
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10);
    targets = rollout
}
criterion_main!(all);
