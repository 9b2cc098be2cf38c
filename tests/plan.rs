//! Is the machine honest? Memory that is shared is never mixed up, and results depend on nothing but the parameters, the batch and the clock:
//! not on threads, pieces, placement, or what memory held before.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, System};
use std::cell::Cell;
use std::sync::Arc;

use dreamer_fast::autodiff::audit::{Tenancy, Touch};
use dreamer_fast::autodiff::{Clock, Graph, Layout, Params, Plan, Sweep};
use dreamer_fast::base::philox::stream;
use dreamer_fast::base::{Philox, Real};
use dreamer_fast::config::Config;
use dreamer_fast::device::Pool;
use dreamer_fast::dreamer::checks::{self, WholeLoss, parameters, training_step, training_step_by, whole_losses};
use dreamer_fast::dreamer::step::TrainStep;
use dreamer_fast::dreamer::{Actions, Model, Observation};
use dreamer_fast::ops::Activation;
use dreamer_fast::ops::registry::cases;

/// Counts what the current thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all work is done by the system's allocator; counting touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn pool(threads: usize) -> Arc<Pool> {
    Arc::new(Pool::new(threads).unwrap())
}

type Compile = fn(Graph<f32>, &[Sweep], Arc<Pool>) -> Plan<f32>;

/// The tiny models of the gradient checks, and one whose regions are large enough to be cut by the plan's own rule.
fn models() -> Vec<WholeLoss> {
    let config = Config {
        batch_size: 16,
        batch_length: 5,
        horizon: 4,
        deter_size: 64,
        stoch_size: 16,
        hidden_size: 64,
        num_units: 72,
        encoder_units: vec![80],
        decoder_units: vec![80],
        ..Config::default()
    };
    let large = Model::new(&config, Observation::Vector { size: 50 }, Actions::Discrete(5)).unwrap();
    whole_losses().into_iter().chain([WholeLoss { name: "large enough to be cut", model: large }]).collect()
}

/// Everything that three training steps compute, as bits: losses, gradients, norms, and the parameters with their moments.
fn three_steps<R: Real>(step: &mut TrainStep<R>, mut params: Params<R>) -> Vec<u64> {
    let mut bits = Vec::new();
    for _ in 0..3 {
        step.gradients(&mut params, 9);
        bits.extend(step.metrics().map(|(_, value)| value.to_bits()));
        bits.extend(params.grad.all().iter().map(|x| x.f64().to_bits()));
        bits.extend(step.norms.map(f64::to_bits));
        step.update(&mut params);
    }
    for arena in [&params.value, &params.adam_m, &params.adam_v] {
        bits.extend(arena.all().iter().map(|x| x.f64().to_bits()));
    }
    assert!(bits.iter().all(|&b| f64::from_bits(b).is_finite()), "a training step computes numbers");
    bits
}

fn bits_with(model: &Model, threads: usize, change: impl FnOnce(&mut TrainStep<f32>)) -> Vec<u64> {
    let params = parameters::<f32>(model);
    let mut step = training_step(model, &params, &pool(threads));
    change(&mut step);
    three_steps(&mut step, params)
}

#[test]
fn threads_change_no_bit() {
    for case in models() {
        let one = bits_with(&case.model, 1, |_| {});
        for threads in [2, 4, 8] {
            assert!(bits_with(&case.model, threads, |_| {}) == one, "{}: {threads} threads differ from one", case.name);
            // Tiny models are one piece unless told otherwise.
            let cut = bits_with(&case.model, threads, |step| step.plan.set_chunk(1));
            assert!(cut == one, "{}: {threads} threads on single rows differ from one thread", case.name);
        }
    }
}

#[test]
fn the_size_of_pieces_changes_no_bit() {
    for case in models() {
        let chosen = bits_with(&case.model, 1, |_| {});
        for chunk in [1, 2, 5, usize::MAX] {
            let forced = bits_with(&case.model, 1, |step| step.plan.set_chunk(chunk));
            assert!(forced == chosen, "{}: pieces of {chunk} rows differ from the plan's own", case.name);
        }
    }
}

#[test]
fn the_same_step_twice_is_the_same() {
    for case in models() {
        let mut params = parameters::<f32>(&case.model);
        let mut step = training_step(&case.model, &params, &pool(2));
        let mut run = || {
            step.gradients(&mut params, 9);
            let metrics = step.metrics().map(|(_, value)| value.to_bits());
            metrics.chain(params.grad.all().iter().map(|x| u64::from(x.to_bits()))).collect::<Vec<u64>>()
        };
        assert!(run() == run(), "{}", case.name);
    }
}

#[test]
fn sharing_memory_changes_no_bit() {
    for case in models() {
        let model = &case.model;
        let bits = |compile: Compile| {
            let params = parameters::<f32>(model);
            let mut step = training_step_by(model, &params, &pool(1), compile);
            let (shared, apart) = step.plan.sharing();
            (three_steps(&mut step, params), shared, apart)
        };
        let (shared, small, _) = bits(Plan::new);
        let (apart, large, all) = bits(Plan::apart);
        assert_eq!(large, all, "{}: apart means that nothing is shared", case.name);
        assert!(small < large, "{}: there is something to be mixed up", case.name);
        assert!(shared == apart, "{}: tensors that share memory are mixed up", case.name);
    }
}

#[test]
fn what_memory_held_before_changes_no_bit() {
    for case in models() {
        let clean = bits_with(&case.model, 1, |_| {});
        let poisoned = bits_with(&case.model, 1, |step| step.plan.poison());
        assert!(clean == poisoned, "{}: something is read that was never written", case.name);
    }
}

/// Walks through a plan with a tag for every element of the work arena: whoever reads finds what it takes it for.
fn walk(touches: &[(usize, Vec<Touch>)], plan: &Plan<f32>) -> Result<(), String> {
    let mut held: Vec<Option<Tenancy>> = vec![None; plan.reach()];
    for (tenant, range, filled) in plan.kept() {
        if filled {
            held[range].fill(Some(tenant));
        }
    }
    for (number, (rows, stage)) in touches.iter().enumerate() {
        for (i, touch) in stage.iter().enumerate() {
            let overlaps = |other: &&Touch| other.range.start < touch.range.end && touch.range.start < other.range.end;
            // In its own memory a worker runs one piece after the other, and only the order of steps counts.
            for other in stage[..i].iter().filter(|_| !touch.local).filter(overlaps) {
                // Pieces of a stage run at the same time, so within it a place of the work arena has one tenant,
                if other.tenant != touch.tenant {
                    return Err(format!("stage {number}: {other:?} and {touch:?} share a place"));
                }
                // and what is written is touched by the same rows of every step.
                let same_rows = other.range == touch.range && other.row == touch.row && touch.row > 0;
                if *rows != 1 && (other.write || touch.write) && !same_rows {
                    return Err(format!("stage {number}: {other:?} and {touch:?} meet across rows"));
                }
            }
            if touch.local && (*rows == 0 || touch.row == 0) {
                return Err(format!("stage {number}: {touch:?} is not touched by rows"));
            }
            if touch.read && held[touch.range.clone()].iter().any(|tag| *tag != Some(touch.tenant)) {
                return Err(format!("stage {number}: {touch:?} does not find its tensor"));
            }
            if touch.write {
                held[touch.range.clone()].fill(Some(touch.tenant));
            }
        }
    }
    for (tenant, range, _) in plan.kept() {
        if held[range].iter().any(|tag| *tag != Some(tenant)) {
            return Err(format!("tensor {tenant:?} does not outlive the run"));
        }
    }
    Ok(())
}

#[test]
fn tensors_alive_together_have_disjoint_places() {
    for case in models() {
        let step = training_step(&case.model, &parameters::<f32>(&case.model), &pool(1));
        let touches = step.plan.touches();
        let count: usize = touches.iter().map(|(_, stage)| stage.len()).sum();
        assert!(count > 500, "{}: only {count} touches", case.name);
        walk(&touches, &step.plan).unwrap_or_else(|fault| panic!("{}: {fault}", case.name));
    }
}

/// The walk itself can fail: one write that lands one element too far is noticed.
#[test]
fn a_misplaced_tensor_is_noticed() {
    let model = &whole_losses()[3].model;
    let step = training_step(model, &parameters::<f32>(model), &pool(1));
    let touches = step.plan.touches();
    let (mut noticed, mut tried) = (0, 0);
    for (i, (_, stage)) in touches.iter().enumerate() {
        let Some(at) = stage.iter().position(|touch| touch.write && !touch.read && touch.range.end < 1000) else {
            continue;
        };
        let mut wrong = touches.clone();
        let range = &mut wrong[i].1[at].range;
        *range = range.start + 1..range.end + 1;
        tried += 1;
        noticed += usize::from(walk(&wrong, &step.plan).is_err());
    }
    assert!(tried > 5 && noticed == tried, "{noticed} of {tried} misplaced tensors were noticed");
}

/// Rows of one tensor that meet rows of another size, or others of the same size, are not worked on in one region: piece by piece gives what
/// all at once gives, forward and backward.
#[test]
fn rows_that_meet_out_of_step_wait_for_each_other() {
    let run = |chunk: usize| {
        let mut layout = Layout::new();
        layout.group("given", [("x".to_string(), vec![6, 4])]);
        let mut params = Params::<f32>::new(Arc::new(layout));
        let mut rng = Philox::new(37, stream::TEST, 0);
        params.value_mut("x").iter_mut().for_each(|x| *x = rng.normal() as f32);
        let mut graph = Graph::new(params.layout.clone());
        let x = graph.param("x");
        let y = graph.activation(x, Activation::Tanh);
        // Six rows again, but row r of z reads a half of row 3 + r / 2 of y.
        let half = graph.rows(y, 3, 6);
        let half = graph.reshape(half, &[6, 2]);
        let z = graph.activation(half, Activation::Tanh);
        let (all, some) = (graph.mean(y), graph.mean(z));
        let loss = graph.sum(&[(all, 1.0), (some, 1.0)]);
        graph.keep(loss);
        let mut plan = Plan::new(graph, &[Sweep::new(loss, "given")], pool(1));
        plan.set_chunk(chunk);
        plan.poison();
        walk(&plan.touches(), &plan).unwrap();
        plan.run(&mut params, Clock::default());
        (plan.scalar(loss).to_bits(), params.grad("x").iter().map(|g| g.to_bits()).collect::<Vec<_>>())
    };
    assert!(run(1) == run(6));
}

/// Parts of a weight gradient write disjoint elements, all of them, and nothing else; their order does not matter.
#[test]
fn pieces_of_weight_gradients_keep_to_their_parts() {
    let mut checked = std::collections::BTreeSet::new();
    for case in cases() {
        let mut layout = Layout::new();
        layout.group("checked", case.params.clone());
        let mut params = Params::<f64>::new(Arc::new(layout));
        let mut rng = Philox::new(31, stream::TEST, 0);
        params.value.all_mut().iter_mut().for_each(|x| *x = rng.normal());
        let mut graph = Graph::new(params.layout.clone());
        let loss = (case.build)(&mut graph);
        let plan = Plan::new(graph, &[Sweep::new(loss, "checked")], pool(1));
        checked.extend(plan.audit_parts(&params).unwrap_or_else(|fault| panic!("{}: {fault}", case.name)));
    }
    for case in models() {
        let params = parameters::<f32>(&case.model);
        let step = training_step(&case.model, &params, &pool(1));
        checked.extend(step.plan.audit_parts(&params).unwrap_or_else(|fault| panic!("{}: {fault}", case.name)));
    }
    assert!(
        checked.iter().any(|&(op, parts)| op == "linear" && parts > 2),
        "parts of layers were checked: {checked:?}"
    );
}

/// The claim, exactly: on one thread, from its second run on, `Plan::run` allocates nothing. (With more threads, rayon's queues may grow.)
#[test]
fn nothing_allocates_after_planning() {
    for case in models() {
        let mut params = parameters::<f32>(&case.model);
        let mut step = training_step(&case.model, &params, &pool(1));
        let mut count = |n: u64| {
            let before = ALLOCATIONS.with(Cell::get);
            step.plan.run(&mut params, Clock { seed: 9, step: n });
            ALLOCATIONS.with(Cell::get) - before
        };
        let first = count(0);
        assert_eq!((first, count(1)), (0, 0), "{}: allocations of the first and second run", case.name);
    }
    let before = ALLOCATIONS.with(Cell::get);
    drop(std::hint::black_box(vec![1_u8; 100]));
    assert_eq!(ALLOCATIONS.with(Cell::get), before + 1, "allocations are counted");
}

/// What `checks` compares is a training step like any other.
#[test]
fn a_step_compiled_apart_computes_the_same_scalars() {
    let model = &whole_losses()[0].model;
    let scalars = checks::scalars(model, &pool(1));
    let mut params = parameters::<f64>(model);
    let mut step = training_step_by(model, &params, &pool(1), Plan::apart);
    step.gradients(&mut params, 9);
    assert!(step.metrics().all(|(name, value)| scalars[name] == value));
}
