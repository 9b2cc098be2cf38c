//! Faults planted in a kernel or in its launch: each is caught on the way that every launch takes.

use dreamer_fast::device::cuda::kernels::{
    ActivationForward, Entry, Fill, In, LinearForward, MOST_ELEMENTS, Out, Rollout, SOURCES,
};
use dreamer_fast::device::cuda::{Buffer, Kernel, Shape};

use crate::{Rig, compiler};

/// An output one element short: the fault names the kernel and its line.
#[test]
fn a_short_output_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let n = 300;
    let mut x = Buffer::<f32>::new(&rig.context, n).unwrap();
    x.upload(rig.stream(), &vec![0.5; n]).unwrap();
    let y = Buffer::<f32>::new(&rig.context, n - 1).unwrap();
    ActivationForward { y: Out::at(y.address()), x: In::at(x.address()), n, f: 0 }.threads(&rig.kernels, n).unwrap();
    let error = rig.stream().synchronize().unwrap_err().to_string();
    for part in ["CUDA_ERROR_ILLEGAL_ADDRESS", "activation_forward, block (1, 0, 0)", "kernels/activation.cu:5"] {
        assert!(error.contains(part), "{part}: {error}");
    }
}

/// Threads beyond the last element have numbers that an int holds, so a size near 2^31 is refused.
#[test]
fn a_size_that_an_int_barely_holds_is_refused() {
    let fill = |n| Fill { y: Out::none(), n, c: 0.0 }.args();
    assert!(fill(MOST_ELEMENTS).is_ok() && MOST_ELEMENTS + 20_000 < i32::MAX as usize);
    for n in [MOST_ELEMENTS + 1, i32::MAX as usize, 1 << 31, usize::MAX] {
        let error = fill(n).unwrap_err().to_string();
        assert!(error.contains(&format!("n is {n}, more than a kernel takes")), "{error}");
    }
}

/// The kernel `name` of a source of which one string was replaced.
fn altered(rig: &Rig, source: &str, name: &str, from: &str, to: &str) -> Kernel {
    let source = SOURCES.iter().find(|other| other.name == source).unwrap();
    assert!(source.text.contains(from), "{from}");
    let text = source.text.replace(from, to);
    let compiler = compiler().expect("the rig has one").with_cache(None);
    let image = compiler.compile("planted.cu", &text, rig.context.target(), &[]).unwrap();
    rig.context.load(&image).unwrap().kernel(name).unwrap()
}

/// `linear_forward` on 70 x 40 numbers from a source of which one string was replaced, in warp orders 0 to 3: the first fault.
fn planted(rig: &Rig, from: &str, to: &str) -> Option<String> {
    let kernel = altered(rig, "kernels/linear.cu", "linear_forward", from, to);
    let (rows, n, k) = (70, 40, 50);
    let filled = |len: usize| {
        let mut buffer = Buffer::<f32>::new(&rig.context, len).unwrap();
        buffer.upload(rig.stream(), &vec![0.5; len]).unwrap();
        buffer
    };
    let (x, w, y) = (filled(rows * k), filled(k * n), filled(rows * n));
    let (none, x, w) = (In::none(), In::at(x.address()), In::at(w.address()));
    let launch = LinearForward {
        y: Out::at(y.address()),
        x0: x,
        x1: none,
        x2: none,
        x3: none,
        add: none,
        w0: w,
        w1: none,
        w2: none,
        w3: none,
        b: none,
        rows,
        n,
        k0: k,
        k1: 0,
        k2: 0,
        k3: 0,
        f: 0,
    };
    (0..4).find_map(|order| {
        rig.context.emulator().unwrap().order(order);
        let shape = Shape::new(2, LinearForward::THREADS);
        rig.stream().launch(&kernel, shape, &launch.args().unwrap()).unwrap();
        rig.stream().synchronize().err().map(|error| error.to_string())
    })
}

#[test]
fn a_sound_product_has_no_fault() {
    let Some(rig) = Rig::new() else { return };
    assert_eq!(planted(&rig, "// (L1)", ""), None);
}

/// Where a step of a product waits for its operands.
const WAIT: &str = "            wait_for_copies<AHEAD - 1>();\n            __syncthreads();\n";

#[test]
fn a_removed_barrier_is_caught() {
    let Some(rig) = Rig::new() else { return };
    // The barrier between the copies of all threads and the first read of them.
    let error = planted(&rig, WAIT, "            wait_for_copies<AHEAD - 1>();\n").expect("a race");
    assert!(error.contains("linear_forward") && error.contains("kernels/tile.cuh"), "{error}");
    println!("{error}");
}

#[test]
fn a_removed_wait_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let error = planted(&rig, WAIT, "            __syncthreads();\n").expect("a copy under way");
    assert!(
        error.contains("linear_forward") && error.contains("cp.async under way that it has not waited for"),
        "{error}"
    );
    println!("{error}");
}

#[test]
fn a_wait_for_too_few_copies_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let error = planted(&rig, WAIT, "            wait_for_copies<AHEAD>();\n            __syncthreads();\n");
    let error = error.expect("a copy under way");
    assert!(error.contains("cp.async under way that it has not waited for"), "{error}");
}

#[test]
fn a_barrier_in_divergent_code_is_caught() {
    let Some(rig) = Rig::new() else { return };
    let to = format!("{WAIT}            if (threadIdx.x % 32 < 5) __syncthreads();\n");
    let error = planted(&rig, WAIT, &to).expect("a fault");
    assert!(error.contains("linear_forward") && error.contains("barrier"), "{error}");
    println!("{error}");
}

/// A rollout of two launches, y = x w and z = y, from a source of which one string was replaced, in warp orders 0 to 3: the first fault.
fn planted_in_rollout(rig: &Rig, from: &str, to: &str) -> Option<String> {
    let kernel = altered(rig, "kernels/rollout.cu", "rollout", from, to);
    let (rows, tile, k, n) = (10, 8, 50, 40);
    let [mut x, mut w, y, z] =
        [rows * k, k * n, rows * n, rows * n].map(|len| Buffer::<f32>::new(&rig.context, len).unwrap());
    x.upload(rig.stream(), &vec![0.5; rows * k]).unwrap();
    w.upload(rig.stream(), &vec![0.5; k * n]).unwrap();
    let mut table = Buffer::<u64>::new(&rig.context, 40).unwrap();
    let mut words = vec![0; 40];
    // LINEAR_FORWARD: y, x0 to x3, add, w0 to w3, b, rows, n, k0 to k3, f. Then SUM_FORWARD: y, x, n, c, more.
    words[2..4].copy_from_slice(&[y.address(), x.address()]);
    words[8] = w.address();
    words[13..16].copy_from_slice(&[rows as u64, n as u64, k as u64]);
    words[20..26].copy_from_slice(&[
        9,
        n as u64,
        z.address(),
        y.address(),
        (rows * n) as u64,
        1.0_f32.to_bits().into(),
    ]);
    table.upload(rig.stream(), &words).unwrap();
    let launch = Rollout { table: In::at(table.address()), launches: 2, rows, tile };
    let shape = Shape::new(2, Rollout::THREADS).shared((4 * tile * 64) as u32);
    let fault = (0..4).find_map(|order| {
        rig.context.emulator().unwrap().order(order);
        rig.stream().launch(&kernel, shape, &launch.args().unwrap()).unwrap();
        rig.stream().synchronize().err().map(|error| error.to_string())
    });
    if fault.is_none() {
        assert_eq!(z.to_vec(rig.stream()).unwrap(), vec![12.5; rows * n]);
    }
    fault
}

#[test]
fn faults_in_a_rollout_are_caught() {
    let between = "        }\n        __syncthreads();\n    }\n}\n\n// Transposes";
    let staged = "    __syncthreads();\n    for (int unit";
    for (from, to, words) in [
        (between, between.to_string(), None),
        (between, between.replace("__syncthreads();", ""), Some("nobody has written")),
        (staged, staged.replace("__syncthreads();", ""), Some("rollout.cu")),
        (between, between.replace("__sync", "if (threadIdx.x % 32 < 5) __sync"), Some("barrier")),
    ] {
        let Some(rig) = Rig::new() else { return };
        let fault = planted_in_rollout(&rig, from, &to);
        println!("{fault:?}");
        match (fault, words) {
            (None, None) => {}
            (Some(fault), Some(words)) => assert!(fault.contains("rollout, block") && fault.contains(words), "{fault}"),
            (fault, _) => panic!("{words:?}: {fault:?}"),
        }
    }
}
