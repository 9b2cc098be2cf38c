//! `dreamer-fast bench`: how long the parts of a training step take, on sizes that other implementations are measured on, too; how fast
//! worlds step, and how fast the policy acts in them.
//!
//! The work of a training step is that of the peers in `benches/peers`: the same sizes and losses, noise and batch given, optimizer
//! steps included.

mod act;
mod env;
mod flops;
mod measure;
pub mod work;

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use self::measure::{Measured, measure, peak_memory};
use super::args::{BenchArgs, BenchConfig, BenchMode};
use super::device::Device;
use crate::autodiff::Params;
use crate::base::Result;
use crate::device::{Pool, simd};
use crate::dreamer::init::init;
use crate::report::stdout::say;

/// What was measured beside the time, for people and for programs.
struct Report {
    /// What was measured, in words.
    title: String,
    /// Rates that follow from the time, in words.
    rates: String,
    /// Keys that only this mode has.
    keys: Vec<(&'static str, Value)>,
}

/// Runs the command.
pub fn command(args: &BenchArgs) -> Result<ExitCode> {
    let pool = Arc::new(Pool::new(args.threads)?);
    let (device, (measured, report)) = match args.mode {
        BenchMode::Env => (Device::Cpu, env::bench(args, &pool)?),
        BenchMode::Act => (Device::Cpu, act::bench(args, &pool)?),
        _ => {
            let device = Device::with_products(args.device, args.precision)?;
            let measured = training(args, &pool, &device)?;
            (device, measured)
        }
    };
    let on = match &device {
        Device::Cpu => format!("{}, {:?}", device.describe(pool.threads()).replace("CPU ", ""), simd::level()),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => device.describe(pool.threads()),
    };
    let memory = peak_memory();
    if args.json {
        let mut line = json!({
            "impl": "dreamer-fast", "mode": args.mode.name(), "ms": round(measured.ms), "min": round(measured.min),
            "max": round(measured.max), "n": measured.n, "clean": measured.clean, "wall": round(measured.wall_ms),
            "cpu_ms": measured.cpu_ms.map(round), "threads": pool.threads(), "rss_mb": memory,
            "simd": format!("{:?}", simd::level()), "device": device.describe(pool.threads()), "emulated": device.emulated(),
        });
        let object = line.as_object_mut().expect("an object was just made");
        object.extend(report.keys.into_iter().map(|(key, value)| (key.to_string(), value)));
        say!("{line}");
    } else {
        say!("{}; {on}", report.title);
        if device.emulated() {
            say!("The device is emulated: these are the times of an interpreter, and say nothing about any GPU.");
        }
        say!("{}", measured.in_words());
        say!("{}   peak memory {memory} MB", report.rates);
    }
    Ok(ExitCode::SUCCESS)
}

/// A part of a training step.
fn training(args: &BenchArgs, pool: &Arc<Pool>, device: &Device) -> Result<(Measured, Report)> {
    let config = args.config.unwrap_or(BenchConfig::Grid);
    let mut model = work::model(config)?;
    model.config.precision = args.precision;
    let mut params = Params::new(Arc::new(model.layout()));
    init(&model, &mut params, 0);
    let mut work = work::work(&model, args.mode, params, pool, device, args.eager)?;
    // With a device, the host's processor time is not the time of the work.
    let threads = if matches!(device, Device::Cpu) { pool.threads() } else { usize::MAX };
    let measured = measure(&mut work, args.blocks, threads)?;
    let flops = flops::flops(&model, args.mode);
    let rate = flops / 1e6 / measured.ms;
    let report = Report {
        title: format!("{} {}, {}", config.name(), args.mode.name(), args.precision),
        rates: format!("{:.3} GFLOP   {rate:.1} GFLOP/s", flops / 1e9),
        keys: vec![
            ("config", config.name().into()),
            ("precision", args.precision.word().into()),
            ("gflop", round(flops / 1e9).into()),
            ("gflops", round(rate).into()),
        ],
    };
    Ok((measured, report))
}

/// Four digits after the point.
fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}
