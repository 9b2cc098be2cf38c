//! `dreamer-fast parity`: one whole training step against a golden file that independent implementations agree on.
//!
//! A golden file is a safetensors file whose metadata states the configuration, with `param/*` before the step, `in/*` (batch and noise),
//! `loss/*`, `grad/*` (before clipping), `new/*` after one step of Adam, and `out/*` (states). Layouts are those of this project, and
//! time-major.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use super::args::{ParityArgs, Precision};
use super::device::{Device, check_cpu};
#[cfg(feature = "cuda")]
use crate::autodiff::cuda_exec::CudaPlan;
use crate::autodiff::{Graph, Params, Plan, Sweep, Var};
use crate::base::{Error, Real, Result, files};
use crate::config::{self, ActorGrad, Config, Latent, ScalarDist, SymbolicLoss};
#[cfg(feature = "cuda")]
use crate::device::cuda::{self, kernels::Kernels};
use crate::device::{Pool, gemm};
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::dreamer::{Actions, Model, Observation};
use crate::ops::normal_nll::HALF_LN_TAU;
use crate::report::Table;
use crate::report::stdout::say;

/// Largest golden file that is read, in bytes.
const LIMIT: u64 = 4 << 30;

/// A gradient of rounded products may be this many times as far away as the gradient that f64 gives for weights rounded likewise.
const SENSITIVITY: f64 = 3.0;

/// Runs the command.
pub fn command(args: &ParityArgs) -> Result<ExitCode> {
    let pool = Arc::new(Pool::new(0)?);
    let device = Device::open_in(args.device, args.precision)?;
    let mut passed = true;
    for file in &args.files {
        let golden = Golden::read(file)?;
        let report = match &device {
            Device::Cpu => compare(&golden, args.precision.unwrap_or(Precision::F64), &pool)?,
            #[cfg(feature = "cuda")]
            Device::Cuda(kernels) => compare_on_device(&golden, &pool, kernels)?,
        };
        passed &= print(file, &report)?;
    }
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A golden file in memory.
pub struct Golden {
    path: String,
    config: serde_json::Map<String, Value>,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    /// Reads a file; an error names what is missing or damaged.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::read(path, LIMIT)?;
        let damaged = |cause: String| Error::file("read the golden file", path, cause);
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| damaged(e.to_string()))?;
        let text = metadata.metadata().as_ref().and_then(|m| m.get("config"));
        let text = text.ok_or_else(|| damaged("its metadata has no `config`".into()))?;
        let config = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => map,
            _ => return Err(damaged("its metadata `config` is not a JSON object".into())),
        };
        let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let data = view.data();
            let values: Vec<f64> = match view.dtype() {
                safetensors::Dtype::F64 => {
                    data.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes"))).collect()
                }
                safetensors::Dtype::F32 => {
                    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")).into()).collect()
                }
                other => return Err(damaged(format!("tensor {name} is {other:?}; F32 and F64 are read"))),
            };
            tensors.insert(name, (view.shape().to_vec(), values));
        }
        Ok(Golden { path: path.display().to_string(), config, tensors })
    }

    fn fail(&self, text: impl std::fmt::Display) -> Error {
        Error::new(format!("{}: {text}", self.path))
    }

    fn number(&self, key: &str) -> Result<f64> {
        let value = self.config.get(key).and_then(Value::as_f64);
        value.ok_or_else(|| self.fail(format_args!("its configuration has no number `{key}`")))
    }

    fn count(&self, key: &str) -> Result<usize> {
        let value = self.config.get(key).and_then(Value::as_u64).filter(|&n| n > 0);
        value
            .map(|n| n as usize)
            .ok_or_else(|| self.fail(format_args!("its configuration has no whole number `{key}`")))
    }

    fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        if self.config.contains_key(key) { self.number(key) } else { Ok(default) }
    }

    fn tensor(&self, name: &str) -> Result<&(Vec<usize>, Vec<f64>)> {
        self.tensors.get(name).ok_or_else(|| self.fail(format_args!("there is no tensor `{name}`")))
    }

    /// The model that the metadata states.
    pub fn model(&self) -> Result<Model> {
        let kind = self.config.get("kind").and_then(Value::as_str).unwrap_or_default().to_string();
        let units: Vec<usize> = self
            .config
            .get("mlp")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_u64).map(|n| n as usize).collect())
            .unwrap_or_default();
        let discrete = self.config.get("discrete").and_then(Value::as_bool).unwrap_or(false);
        let layers = |key: &str| -> Result<usize> {
            let value = self.config.get(key).and_then(Value::as_u64);
            value.map(|n| n as usize).ok_or_else(|| self.fail(format_args!("its configuration has no number `{key}`")))
        };
        let defaults = Config::default();
        let config = Config {
            batch_size: self.count("B")?,
            batch_length: self.count("T")?,
            horizon: self.count("H")?,
            deter_size: self.count("deter")?,
            stoch_size: self.count("stoch")?,
            hidden_size: self.count("hidden")?,
            num_units: self.count("units")?,
            cnn_depth: if kind == "image" { self.count("depth")? } else { defaults.cnn_depth },
            encoder_units: units.clone(),
            decoder_units: units,
            reward_layers: layers("reward_layers")?,
            value_layers: layers("value_layers")?,
            actor_layers: layers("actor_layers")?,
            min_std: self.number("min_std")?,
            free_nats: self.number("free_nats")?,
            discount: self.number("gamma")?,
            disclam: self.number("lam")?,
            model_lr: self.number("lr_model")?,
            actor_lr: self.number("lr_actor")?,
            value_lr: self.number("lr_value")?,
            grad_clip: self.number("clip")?,
            adam_eps: self.number("eps")?,
            kl_scale: self.number_or("kl_scale", 1.0)?,
            action_init_std: self.number_or("init_std", 5.0)?,
            action_mean_scale: self.number_or("mean_scale", 5.0)?,
            latent: Latent::Gaussian,
            actor_grad: ActorGrad::Dynamics,
            reward_dist: ScalarDist::Normal,
            value_dist: ScalarDist::Normal,
            symbolic_loss: SymbolicLoss::Normal,
            pcont: false,
            imag_starts: 0,
            slow_value: 0.0,
            object_weight: 1.0,
            ..defaults
        };
        if config.horizon < 2 {
            return Err(self.fail("H is 1: a return needs a horizon of at least 2"));
        }
        let (shape, _) = self.tensor("in/obs")?;
        let observation = match (kind.as_str(), shape.as_slice()) {
            ("image", &[_, _, height, width, channels]) => Observation::Image { height, width, channels },
            ("vector", &[_, _, size]) => Observation::Vector { size },
            _ => return Err(self.fail(format_args!("kind `{kind}` with observations of shape {shape:?}"))),
        };
        let a = self.count("A")?;
        let actions = if discrete { Actions::Discrete(a) } else { Actions::Continuous(a) };
        Model::new(&config, observation, actions)
    }
}

/// What was compared: one tensor.
#[derive(Debug, Clone)]
pub struct Row {
    /// `loss`, `out`, `grad` or `new`.
    pub kind: &'static str,
    /// Name of the tensor within its kind.
    pub name: String,
    /// Largest difference over the largest entry of what is wanted; infinite where something is not a number.
    pub error: f64,
    /// The largest error that passes, if it is judged.
    pub bound: Option<f64>,
}

impl Row {
    /// Whether the error is above the bound.
    pub fn fails(&self) -> bool {
        self.bound.is_some_and(|bound| self.error > bound)
    }

    fn judged_by(&self) -> String {
        self.bound.map_or("not judged".to_string(), |bound| format!("{bound:.0e}"))
    }
}

/// Largest difference over the largest entry of what is wanted.
fn relative_error<R: Real>(got: &[R], want: &[f64]) -> f64 {
    let largest = want.iter().fold(0.0_f64, |a, x| a.max(x.abs()));
    let mut apart = 0.0_f64;
    for (g, w) in got.iter().zip(want) {
        let d = (g.f64() - w).abs();
        // A NaN anywhere is an infinite error.
        apart = if d.is_nan() { f64::INFINITY } else { apart.max(d) };
    }
    // Not a number may be wanted, too: it is never met.
    let error = if largest == 0.0 { apart } else { apart / largest };
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Runs the step on the CPU in this precision and compares everything that the file holds.
///
/// # Errors
/// The file does not fit its own configuration; the CPU has no products of tf32.
pub fn compare(golden: &Golden, precision: Precision, pool: &Arc<Pool>) -> Result<Vec<Row>> {
    let products = match precision {
        Precision::F64 | Precision::F32 => config::Precision::F32,
        Precision::Tf32 => config::Precision::Tf32,
        Precision::Bf16 => config::Precision::Bf16,
    };
    check_cpu(products)?;
    let rows = match precision {
        Precision::F64 => compare_in::<f64>(golden, products, Real::of, pool)?,
        _ => compare_in::<f32>(golden, products, Real::of, pool)?,
    };
    judge(rows, golden, precision, pool)
}

/// The same by kernels, which compute in f32, with products in the precision that they were loaded in; the update of the parameters is the
/// CPU's.
///
/// # Errors
/// Those of [`CudaPlan::run`].
#[cfg(feature = "cuda")]
pub fn compare_on_device(golden: &Golden, pool: &Arc<Pool>, kernels: &Arc<Kernels>) -> Result<Vec<Row>> {
    let full = config::Precision::F32;
    let rows = compare_by::<f32>(golden, full, Real::of, pool, Plan::for_device, |step, params| {
        let mut device = CudaPlan::new(&step.plan, params, kernels.clone())?;
        step.gradients_by(params, 0, |plan, params, clock| device.run(plan, params, clock, true))
    })?;
    let precision = match kernels.precision() {
        cuda::Precision::F32 => Precision::F32,
        cuda::Precision::Tf32 => Precision::Tf32,
        cuda::Precision::Bf16 => Precision::Bf16,
    };
    judge(rows, golden, precision, pool)
}

/// Gives every row its bound.
fn judge(mut rows: Vec<Row>, golden: &Golden, precision: Precision, pool: &Arc<Pool>) -> Result<Vec<Row>> {
    rows.iter_mut().for_each(|row| row.bound = bound(row.kind, precision));
    let round: fn(f64) -> f64 = match precision {
        Precision::F64 | Precision::F32 => return Ok(rows),
        Precision::Tf32 => |x| f64::from(nearest_tf32(x as f32)),
        Precision::Bf16 => |x| f64::from(gemm::nearest_bf16(x as f32)),
    };
    // One of the roundings by itself, and everything else exact: what it moves a gradient by says how far all of them may.
    let moved = compare_in::<f64>(golden, config::Precision::F32, round, pool)?;
    for (row, moved) in rows.iter_mut().zip(moved) {
        row.bound = row.bound.map(|bound| bound.max(SENSITIVITY * moved.error));
    }
    Ok(rows)
}

/// The nearest number of 10 bits behind the point; ties go away from zero.
fn nearest_tf32(x: f32) -> f32 {
    f32::from_bits((x.to_bits() + 0x1000) & !0x1fff)
}

/// The same in the numbers of `R`, with matrix products of `products`, from parameters taken through `start`.
fn compare_in<R: Real>(
    golden: &Golden,
    products: config::Precision,
    start: impl Fn(f64) -> R,
    pool: &Arc<Pool>,
) -> Result<Vec<Row>> {
    compare_by::<R>(golden, products, start, pool, Plan::new, |step, params| {
        step.gradients(params, 0);
        Ok(())
    })
}

/// The same by a plan that `compile` makes and gradients that `gradients` computes.
fn compare_by<R: Real>(
    golden: &Golden,
    products: config::Precision,
    start: impl Fn(f64) -> R,
    pool: &Arc<Pool>,
    compile: impl FnOnce(Graph<R>, &[Sweep], Arc<Pool>) -> Plan<R>,
    gradients: impl FnOnce(&mut TrainStep<R>, &mut Params<R>) -> Result<()>,
) -> Result<Vec<Row>> {
    let mut model = golden.model()?;
    model.config.precision = products;
    let mut params = Params::<R>::new(Arc::new(model.layout()));
    let layout = params.layout.clone();
    for entry in layout.entries() {
        let (shape, values) = golden.tensor(&format!("param/{}", entry.name))?;
        if *shape != entry.shape {
            return Err(golden.fail(format_args!(
                "param/{} is {shape:?}, but this configuration makes it {:?}",
                entry.name, entry.shape
            )));
        }
        params.value_mut(&entry.name).iter_mut().zip(values).for_each(|(p, &x)| *p = start(x));
    }
    for name in golden.tensors.keys().filter_map(|n| n.strip_prefix("param/")) {
        if layout.entry(name).is_none() {
            return Err(golden.fail(format_args!("param/{name} is no parameter of this configuration")));
        }
    }

    let mut step = TrainStep::compiled(&model, &params, NoiseSource::Given, pool, compile);
    let fill = |step: &mut TrainStep<R>, var: Option<Var>, name: &str| -> Result<()> {
        let (shape, values) = golden.tensor(name)?;
        let input = step.plan.input_mut(var.expect("an input of the training step"));
        if input.len() != values.len() {
            return Err(golden.fail(format_args!("{name} is {shape:?}; {} numbers are needed", input.len())));
        }
        input.iter_mut().zip(values).for_each(|(i, &x)| *i = R::of(x));
        Ok(())
    };
    let batch = step.batch;
    fill(&mut step, Some(batch.obs), "in/obs")?;
    fill(&mut step, Some(batch.action), "in/action")?;
    fill(&mut step, Some(batch.reward), "in/reward")?;
    let noise = ["noise.post", "noise.prior", "noise.action"].map(|name| step.plan.input(name));
    for (var, name) in noise.into_iter().zip(["in/eps_post", "in/eps_prior", "in/eps_act"]) {
        fill(&mut step, var, name)?;
    }
    // A golden sequence begins in the zero state and lies within one episode.
    step.plan.input_mut(batch.keep).fill(R::ONE);
    gradients(&mut step, &mut params)?;

    let mut rows = Vec::new();
    // The file states two losses without the constant of the normal distribution.
    let constant = |elements: usize| elements as f64 * HALF_LN_TAU;
    for (name, var, constant) in [
        ("model", step.world.loss, 0.0),
        ("actor", step.behavior.actor_loss, 0.0),
        ("value", step.behavior.value_loss, 0.0),
        ("kl", step.world.kl, 0.0),
        ("image_sq", step.world.image, constant(model.observation.size())),
        ("reward_sq", step.world.reward, constant(1)),
    ] {
        let Some((_, want)) = golden.tensors.get(&format!("loss/{name}")) else { continue };
        if want.len() != 1 {
            return Err(golden.fail(format_args!("loss/{name} holds {} numbers, not one", want.len())));
        }
        let got = step.plan.scalar(var) - constant;
        let error = relative_error(&[got], want);
        rows.push(Row { kind: "loss", name: name.to_string(), error, bound: None });
    }
    let mut row = |kind: &'static str, name: &str, got: &[R]| -> Result<()> {
        let (shape, want) = golden.tensor(&format!("{kind}/{name}"))?;
        if want.len() != got.len() {
            return Err(golden.fail(format_args!("{kind}/{name} is {shape:?}; {} numbers are computed", got.len())));
        }
        rows.push(Row { kind, name: name.to_string(), error: relative_error(got, want), bound: None });
        Ok(())
    };
    let (state, imagined) = (step.world.observed.state, step.behavior.imagined);
    if golden.tensors.contains_key("out/post_stoch") {
        row("out", "post_stoch", step.plan.value(state.stoch))?;
        row("out", "post_deter", step.plan.value(state.deter))?;
    }
    if golden.tensors.contains_key("out/imag_feat") {
        let (s, d) = (model.stoch(), model.deter());
        let (stoch, deter) = (step.plan.value(imagined.stoch), step.plan.value(imagined.deter));
        let feat: Vec<R> = stoch.chunks(s).zip(deter.chunks(d)).flat_map(|(s, d)| [s, d].concat()).collect();
        row("out", "imag_feat", &feat)?;
    }
    for entry in layout.entries() {
        row("grad", &entry.name, params.grad(&entry.name))?;
    }
    step.update(&mut params);
    for entry in layout.entries() {
        row("new", &entry.name, params.value(&entry.name))?;
    }
    Ok(rows)
}

/// The bound of a kind of tensor, if it is judged.
fn bound(kind: &str, precision: Precision) -> Option<f64> {
    match (precision, kind) {
        (Precision::F64, _) => Some(1e-10),
        (Precision::F32, "loss") => Some(1e-5),
        (Precision::F32, "grad") => Some(1e-3),
        // Operands of bf16 are within 2^-9 of their numbers, and a training step is a chain of dozens of products. Gradients that
        // hang on single units (a ReLU that is nearly zero) are granted more: see `judge`.
        (Precision::Bf16, "loss") => Some(1e-2),
        (Precision::Bf16, "grad") => Some(2e-2),
        // Likewise with operands within 2^-11.
        (Precision::Tf32, "loss") => Some(1e-3),
        (Precision::Tf32, "grad") => Some(5e-3),
        // Adam's first step is the gradient's sign, so a gradient of nearly zero may move a weight either way.
        (Precision::F32 | Precision::Tf32 | Precision::Bf16, _) => None,
    }
}

/// Prints the errors of a file; returns whether all are within their bounds.
fn print(path: &Path, rows: &[Row]) -> Result<bool> {
    say!("{}", path.display());
    let mut table = Table::new(&["kind", "tensor", ">relative error", ">bound", ""]);
    let mut passed = true;
    for row in rows {
        let fails = row.fails();
        passed &= !fails;
        let verdict = if fails { "FAIL" } else { "" };
        table.row([row.kind.into(), row.name.clone(), format!("{:.2e}", row.error), row.judged_by(), verdict.into()]);
    }
    table.rule();
    for kind in ["loss", "out", "grad", "new"] {
        if let Some(worst) = rows.iter().filter(|r| r.kind == kind).max_by(|a, b| a.error.total_cmp(&b.error)) {
            let name = format!("worst: {}", worst.name);
            table.row([kind.into(), name, format!("{:.2e}", worst.error), worst.judged_by(), String::new()]);
        }
    }
    say!("{table}{}\n", if passed { "all within their bounds" } else { "FAILED: see the rows marked FAIL" });
    Ok(passed)
}
