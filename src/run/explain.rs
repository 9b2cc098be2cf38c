//! `dreamer-fast explain`: the machine from inside. `--plan` prints a compiled plan call by call; `--op` is in [`super::rooms`].

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::args::ExplainArgs;
use super::rooms;
use super::world::World;
use crate::autodiff::describe::{CallInfo, StageInfo, StepInfo, TensorInfo};
use crate::autodiff::{Params, Plan};
use crate::base::{Error, Failure, Result};
use crate::config::{Resolved, nearest};
use crate::device::Pool;
use crate::dreamer::model::GROUPS;
use crate::dreamer::step::{NoiseSource, TrainStep};
use crate::report::stdout;

/// Names of the plans that can be explained.
const PLANS: &[&str] = &["train_step"];

/// Runs the command.
///
/// # Errors
/// An op or a plan that does not exist, settings that do not go together.
pub fn command(args: &ExplainArgs) -> std::result::Result<ExitCode, Failure> {
    let settings = args.settings.resolve().map_err(Failure::Usage)?;
    let text = match (&args.op, &args.plan) {
        (Some(op), _) => rooms::explain(rooms::find(op).map_err(Failure::Usage)?, op)?,
        (None, Some(plan)) if PLANS.contains(&plan.as_str()) => {
            train_step(&settings, &World::new(&settings.config).map_err(Failure::Usage)?)?
        }
        (None, plan) => {
            let name = plan.as_deref().unwrap_or_default();
            let hint = nearest(name, PLANS).map(|near| format!("; did you mean {near}?")).unwrap_or_else(|| ".".into());
            let refusal = Error::new(format!("there is no plan {name}{hint} Plans: {}.", PLANS.join(", ")));
            return Err(Failure::Usage(refusal));
        }
    };
    stdout::write(text)?;
    Ok(ExitCode::SUCCESS)
}

/// The plan of a training step of these settings.
fn train_step(settings: &Resolved, world: &World) -> Result<String> {
    let model = &world.model;
    let params = Params::<f32>::new(Arc::new(model.layout()));
    let step = TrainStep::new(model, &params, NoiseSource::Drawn, &Arc::new(Pool::new(1)?));
    let counts: Vec<String> = GROUPS.iter().map(|group| format!("{group} {}", params.layout.count(group))).collect();
    let mut text = format!(
        "train_step of {} (preset {}): parameters {}\n\
         A tensor reads name[shape]@offset: its first element in the work arena; parameters, which have arenas of their own, have no\n\
         offset. A region runs all its calls on one piece of the rows after another, each piece on any worker, with no barrier between.\n",
        settings.config.task,
        settings.preset,
        counts.join(", ")
    );
    text += &plan(&step.plan);
    Ok(text)
}

fn plan(plan: &Plan<f32>) -> String {
    let calls = plan.calls();
    let mut text = String::new();
    for (number, stage) in plan.stages().iter().enumerate() {
        match stage {
            StageInfo::Region { rows, chunk, steps } => {
                let pieces = rows.div_ceil(*chunk);
                line(&mut text, format_args!("\nstage {number}: Region rows={rows} chunk={chunk} pieces={pieces}"));
                for step in steps {
                    match step {
                        StepInfo::Forward { call } => line(&mut text, format_args!("{}", forward(&calls[*call]))),
                        StepInfo::Seed { group } => line(&mut text, format_args!("  -- backward sweep to {group} --")),
                        StepInfo::Backward { call, into, .. } => {
                            line(&mut text, format_args!("{}", backward(&calls[*call], into)));
                        }
                        StepInfo::Zero { offset, len } => {
                            line(&mut text, format_args!("        clear             {len} elements@{offset}"));
                        }
                    }
                }
            }
            StageInfo::Weights(jobs) => {
                let pieces: usize = jobs.iter().map(|job| job.pieces).sum();
                line(&mut text, format_args!("\nstage {number}: Weights layers={} pieces={pieces}", jobs.len()));
                for job in jobs {
                    line(
                        &mut text,
                        format_args!(
                            "        {:17} d {}: {} rows in {} product{}, {} pieces",
                            job.op,
                            job.params.join(", "),
                            job.rows,
                            job.products,
                            if job.products == 1 { "" } else { "s" },
                            job.pieces
                        ),
                    );
                }
            }
        }
    }
    totals(plan, &calls) + &text
}

/// What the whole plan takes.
fn totals(plan: &Plan<f32>, calls: &[CallInfo]) -> String {
    let (shared, apart) = plan.sharing();
    let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{} calls in {} stages; {} in the forward passes",
            calls.len(),
            plan.stages().len(),
            flops(plan.cost().flops)
        ),
    );
    line(
        &mut text,
        format_args!(
            "work arena {:.1} MiB; {:.1} MiB if no two tensors shared memory; all buffers of the plan {:.1} MiB",
            mib(shared),
            mib(apart),
            mib(plan.bytes())
        ),
    );
    text
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a string takes all that is written to it");
}

fn forward(call: &CallInfo) -> String {
    let list = |tensors: &[TensorInfo]| tensors.iter().map(tensor).collect::<Vec<_>>().join(" ");
    format!(
        "  {:5} {:17} {:12} {} -> {}  {}",
        call.index,
        call.op,
        call.scope,
        list(&call.inputs),
        list(&call.outputs),
        flops(call.flops)
    )
}

fn backward(call: &CallInfo, into: &[(usize, usize)]) -> String {
    let gradients: Vec<String> = into
        .iter()
        .map(|&(input, offset)| {
            let name = call.inputs[input].name.clone().unwrap_or_else(|| format!("input {input}"));
            format!("d {name}{:?}@{offset}", call.inputs[input].shape).replace(", ", ",")
        })
        .collect();
    let gradients = if gradients.is_empty() { "its weights only".to_string() } else { gradients.join(" ") };
    format!("  {:5} {:17} {:12} backward into {gradients}", call.index, call.op, call.scope)
}

fn tensor(info: &TensorInfo) -> String {
    let at = info.offset.map_or(String::new(), |offset| format!("@{offset}"));
    format!("{}{:?}{at}", info.name.as_deref().unwrap_or_default(), info.shape).replace(", ", ",")
}

fn flops(flops: f64) -> String {
    match flops {
        f if f >= 1e9 => format!("{:.2} Gflop", f / 1e9),
        f if f >= 1e6 => format!("{:.2} Mflop", f / 1e6),
        f if f >= 1e3 => format!("{:.1} kflop", f / 1e3),
        f => format!("{f:.0} flop"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Request, resolve};

    #[test]
    fn the_plan_names_every_parameter_and_every_sweep() {
        let request = Request { preset: Some("debug".into()), ..Request::default() };
        let settings = resolve(&request).unwrap();
        let text = train_step(&settings, &World::new(&settings.config).unwrap()).unwrap();
        let layout = World::new(&settings.config).unwrap().model.layout();
        for group in GROUPS {
            assert!(text.contains(&format!("-- backward sweep to {group} --")), "{group}");
            for entry in layout.group_entries(group) {
                let shape = format!("{}[", entry.name);
                assert!(text.contains(&shape), "no call reads {}", entry.name);
                let trained = text.lines().any(|l| l.contains(" d ") && l.contains(&entry.name));
                assert!(trained, "no gradient of {}", entry.name);
            }
        }
        // Every call runs forward once, in the order of the trace.
        let calls: Vec<usize> = text
            .lines()
            .filter(|l| l.contains(" -> "))
            .map(|l| l.split_whitespace().next().expect("a word").parse().expect("the number of a call"))
            .collect();
        assert!(calls.len() > 100 && calls.iter().copied().eq(0..calls.len()), "{calls:?}");
        assert!(text.contains(": Region rows=") && text.contains(": Weights layers="));
    }
}
