//! How many kernels does a training step launch? The captured graphs of full-size steps are counted; nothing of them runs.
//!
//! `cargo test --test kernels launches -- --nocapture` prints what they are made of.

use std::collections::BTreeMap;
use std::sync::Arc;

use dreamer_fast::autodiff::cuda_exec::CudaPlan;
use dreamer_fast::autodiff::{Params, Plan};
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::step::{NoiseSource, TrainStep};
use dreamer_fast::run::args::BenchConfig;
use dreamer_fast::run::bench::work;

use crate::Rig;

/// Most kernel launches of a training step of the sizes that `bench` measures.
const MOST: usize = 400;

#[test]
fn a_full_step_has_few_launches() {
    let Some(rig) = Rig::new() else { return };
    let pool = Arc::new(Pool::new(1).unwrap());
    for (name, config) in
        [("official", BenchConfig::Official), ("small", BenchConfig::Small), ("grid", BenchConfig::Grid)]
    {
        let model = work::model(config).unwrap();
        let params = Params::<f32>::new(Arc::new(model.layout()));
        let step = TrainStep::compiled(&model, &params, NoiseSource::Drawn, &pool, Plan::for_device);
        let count = |rolled: bool| {
            let make = if rolled { CudaPlan::new } else { CudaPlan::step_by_step };
            let mut device = make(&step.plan, &params, rig.kernels.clone()).unwrap();
            device.capture(&step.plan, &params, |_| Ok(())).unwrap();
            let launches = device.launches().unwrap().expect("captured above");
            let mut parts: BTreeMap<(String, &str), usize> = BTreeMap::new();
            for (scope, kernel) in device.account(&step.plan) {
                *parts.entry((scope.to_string(), kernel)).or_default() += 1;
            }
            assert_eq!(launches, parts.values().sum::<usize>(), "{name}: the account and the graph");
            assert_eq!(device.notes(), [] as [String; 0], "{name}");
            (launches, parts)
        };
        let (each, _) = count(false);
        let (launches, parts) = count(true);
        println!("{name}: {launches} launches; {each} where every step of a scan launches its ops");
        for ((scope, kernel), n) in parts {
            println!("{name:9} {scope:14} {kernel:28} {n:4}");
        }
        assert!(launches <= MOST, "{name}: {launches} launches");
    }
}
