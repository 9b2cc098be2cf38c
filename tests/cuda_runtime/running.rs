//! Do copies, launches, streams, graphs and errors do what they say?

use std::sync::LazyLock;

use dreamer_fast::base::{Philox, Result};
use dreamer_fast::device::cuda::{Arg, Buffer, Context, Device, Graph, Kernel, Pinned, Shape, Stream};

use crate::Rig;

const SOURCE: &str = r#"
extern "C" __global__ void add(float *out, const float *a, const float *b, unsigned int n) {
    unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = a[i] + b[i];
}
extern "C" __global__ void step(float *x, unsigned int *t, float rate, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = x[i] * rate + (float)*t;
}
extern "C" __global__ void tick(unsigned int *t) { *t += 1; }
extern "C" __global__ void overrun(float *out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i <= n) out[i] = 1.0f;
}
extern "C" __global__ void reverse(unsigned int *x) {
    extern __shared__ unsigned int held[];
    held[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = held[blockDim.x - 1 - threadIdx.x];
}
extern "C" __global__ void pack(unsigned long long *out, unsigned int a, unsigned long long b, float c, int d) {
    out[0] = a;
    out[1] = b;
    out[2] = (unsigned long long)c;
    out[3] = (unsigned long long)(long long)d;
}
"#;

/// Odd sizes, below and above a warp, a block and several blocks.
const SIZES: [usize; 6] = [1, 31, 33, 257, 1000, 4099];

static NUMBERS: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let mut random = Philox::new(7, 0, 0);
    (0..10_000).map(|_| random.normal() as f32).collect()
});

fn numbers(from: usize, n: usize) -> &'static [f32] {
    &NUMBERS[from..from + n]
}

#[test]
fn what_is_copied_comes_back() {
    let Some(Rig { context, stream, .. }) = &Rig::new() else { return };
    for n in SIZES {
        let mut a = Buffer::<f32>::new(context, n).unwrap();
        a.upload(stream, numbers(0, n)).unwrap();
        assert_eq!(a.to_vec(stream).unwrap(), numbers(0, n));
        let mut b = Buffer::<f32>::zeroed(stream, n).unwrap();
        assert!(b.to_vec(stream).unwrap().iter().all(|x| x.to_bits() == 0));
        b.copy_from(stream, &a).unwrap();
        a.zero(stream).unwrap();
        b.upload_at(stream, n / 2, &[7.0]).unwrap();
        let mut want = numbers(0, n).to_vec();
        want[n / 2] = 7.0;
        assert_eq!(b.to_vec(stream).unwrap(), want);
        let mut tail = vec![0.0; n - n / 2];
        b.download_at(stream, n / 2, &mut tail).unwrap();
        assert_eq!(tail, want[n / 2..]);
    }
    let mut bytes = Buffer::<u8>::zeroed(stream, 5).unwrap();
    bytes.upload_at(stream, 1, &[1, 2, 3]).unwrap();
    assert_eq!(bytes.to_vec(stream).unwrap(), [0, 1, 2, 3, 0]);
    assert_eq!(bytes.at(3) - bytes.address(), 3);
    let empty = Buffer::<u32>::zeroed(stream, 0).unwrap();
    assert!(empty.is_empty() && empty.to_vec(stream).unwrap().is_empty());
}

/// From page-locked memory the device reads when the copy's turn comes, so the values must be kept until then: `values`
/// waits.
#[test]
fn page_locked_values_wait_for_their_copy() {
    let Some(Rig { context, stream, .. }) = &Rig::new() else { return };
    let mut pinned = Pinned::<u32>::new(context, 3).unwrap();
    let mut buffers = [(); 4].map(|()| Buffer::<u32>::zeroed(stream, 3).unwrap());
    for (i, buffer) in buffers.iter_mut().enumerate() {
        pinned.values().unwrap().copy_from_slice(&[i as u32; 3]);
        buffer.upload_pinned(stream, &mut pinned).unwrap();
    }
    drop(pinned);
    for (i, buffer) in buffers.iter().enumerate() {
        assert_eq!(buffer.to_vec(stream).unwrap(), [i as u32; 3]);
    }
}

fn add(rig: &Rig, kernel: &Kernel, n: usize) -> Result<Vec<f32>> {
    let (a, b) = (numbers(0, n), numbers(n, n));
    let mut buffers = [(); 3].map(|()| Buffer::<f32>::new(&rig.context, n).unwrap());
    buffers[1].upload(&rig.stream, a)?;
    buffers[2].upload(&rig.stream, b)?;
    let [out, a, b] = &buffers;
    let args = [Arg::Ptr(out.address()), Arg::Ptr(a.address()), Arg::Ptr(b.address()), Arg::U32(n as u32)];
    rig.stream.launch(kernel, Shape::rows(n, 128), &args)?;
    out.to_vec(&rig.stream)
}

#[test]
fn a_kernel_adds() {
    let Some(rig) = &Rig::new() else { return };
    let kernel = rig.kernel(SOURCE, "add");
    for n in SIZES {
        for order in 0..3 {
            rig.order(order);
            let want: Vec<f32> = numbers(0, n).iter().zip(numbers(n, n)).map(|(a, b)| a + b).collect();
            assert_eq!(add(rig, &kernel, n).unwrap(), want, "{n} elements, order {order}");
        }
    }
}

#[test]
fn arguments_arrive_as_they_are_passed() {
    let Some(rig) = &Rig::new() else { return };
    let kernel = rig.kernel(SOURCE, "pack");
    let out = Buffer::<u64>::zeroed(&rig.stream, 4).unwrap();
    let args = [Arg::Ptr(out.address()), Arg::U32(u32::MAX), Arg::U64(1 << 40), Arg::F32(3.5), Arg::I32(-2)];
    rig.stream.launch(&kernel, Shape::new(1, 1), &args).unwrap();
    assert_eq!(out.to_vec(&rig.stream).unwrap(), [u64::from(u32::MAX), 1 << 40, 3, -2_i64 as u64]);
    // Too few and too narrow.
    for wrong in [&args[..4], &[args[0], args[1], Arg::U32(1), args[3], args[4]]] {
        let launch = std::panic::AssertUnwindSafe(|| rig.stream.launch(&kernel, Shape::new(1, 1), wrong));
        let message = std::panic::catch_unwind(launch).unwrap_err().downcast::<String>().unwrap();
        assert!(message.contains("pack takes parameters of [8, 4, 8, 4, 4] bytes"), "{message}");
    }
}

/// One stream copies, another computes. With an event the sum is right for every order; without, order 0 shows that it is
/// not.
#[test]
fn an_event_orders_two_streams() {
    let Some(rig) = &Rig::new() else { return };
    let kernel = rig.kernel(SOURCE, "add");
    let copies = rig.context.stream().unwrap();
    let n = 1000;
    let run = |with_event: bool| {
        let mut a = Buffer::<f32>::zeroed(&rig.stream, n).unwrap();
        let out = Buffer::<f32>::zeroed(&rig.stream, n).unwrap();
        rig.stream.synchronize().unwrap();
        let mut pinned = Pinned::<f32>::new(&rig.context, n).unwrap();
        pinned.values().unwrap().copy_from_slice(numbers(0, n));
        a.upload_pinned(&copies, &mut pinned).unwrap();
        let copied = copies.record().unwrap();
        if with_event {
            rig.stream.wait(&copied).unwrap();
        }
        let args = [Arg::Ptr(out.address()), Arg::Ptr(a.address()), Arg::Ptr(a.address()), Arg::U32(n as u32)];
        rig.stream.launch(&kernel, Shape::rows(n, 64), &args).unwrap();
        out.to_vec(&rig.stream).unwrap()
    };
    let want: Vec<f32> = numbers(0, n).iter().map(|x| x + x).collect();
    for order in 0..5 {
        rig.order(order);
        assert_eq!(run(true), want, "order {order}");
    }
    rig.order(0);
    assert_eq!(run(false), vec![0.0; n]);
}

/// A step whose effect depends on a counter in device memory, run `eager` times one by one and `replays` times from a graph.
fn steps(rig: &Rig, eager: usize, replays: usize) -> Result<(Vec<f32>, Option<usize>)> {
    let n = 333;
    let (step, tick) = (rig.kernel(SOURCE, "step"), rig.kernel(SOURCE, "tick"));
    let mut x = Buffer::<f32>::new(&rig.context, n)?;
    x.upload(&rig.stream, numbers(0, n))?;
    let t = Buffer::<u32>::zeroed(&rig.stream, 1)?;
    let side: Stream = rig.context.stream()?;
    let mut copy = Buffer::<f32>::zeroed(&rig.stream, n)?;
    let mut once = || {
        rig.stream.launch(&tick, Shape::new(1, 1), &[Arg::Ptr(t.address())])?;
        let args = [Arg::Ptr(x.address()), Arg::Ptr(t.address()), Arg::F32(0.5), Arg::I32(n as i32)];
        rig.stream.launch(&step, Shape::rows(n, 96), &args)?;
        // Another stream takes part by events.
        side.wait(&rig.stream.record()?)?;
        copy.copy_from(&side, &x)?;
        rig.stream.wait(&side.record()?)
    };
    for _ in 0..eager {
        once()?;
    }
    let mut launches = None;
    if replays > 0 {
        let graph: Graph = rig.stream.capture(once)?;
        launches = Some(graph.launches()?);
        graph.upload()?;
        for _ in 0..replays {
            graph.launch()?;
        }
    }
    let values = copy.to_vec(&rig.stream)?;
    assert_eq!(values, x.to_vec(&rig.stream)?);
    assert_eq!(t.to_vec(&rig.stream)?, [(eager + replays) as u32]);
    Ok((values, launches))
}

#[test]
fn a_replayed_graph_is_what_was_captured() {
    let Some(rig) = &Rig::new() else { return };
    let (want, _) = steps(rig, 6, 0).unwrap();
    for order in 0..4 {
        rig.order(order);
        let (values, launches) = steps(rig, 1, 5).unwrap();
        assert_eq!(launches, Some(2), "the copy is no launch");
        let same = values.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "order {order}");
    }
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let Some(rig) = &Rig::new() else { return };
    let mut buffer = Buffer::<u32>::zeroed(&rig.stream, 4).unwrap();
    rig.stream.synchronize().unwrap();
    let mut error = |work: &mut dyn FnMut(&mut Buffer<u32>) -> Result<()>| {
        let error = rig.stream.capture(|| work(&mut buffer)).err().unwrap().to_string();
        // The stream works again afterwards.
        assert!(!rig.stream.is_capturing().unwrap());
        buffer.upload(&rig.stream, &[1, 2, 3, 4]).unwrap();
        assert_eq!(buffer.to_vec(&rig.stream).unwrap(), [1, 2, 3, 4]);
        error
    };
    assert!(error(&mut |buffer| buffer.upload(&rig.stream, &[5])).contains("cannot capture an upload"));
    assert!(error(&mut |buffer| buffer.to_vec(&rig.stream).map(drop)).contains("cannot capture a download"));
    assert!(error(&mut |_| rig.stream.synchronize()).contains("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"));
    assert!(
        error(&mut |_| Buffer::<u32>::new(&rig.context, 4).map(drop)).contains("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED")
    );
    let side = rig.context.stream().unwrap();
    let unjoined = error(&mut |buffer| {
        side.wait(&rig.stream.record()?)?;
        buffer.zero(&side)
    });
    assert!(unjoined.contains("CUDA_ERROR_STREAM_CAPTURE_UNJOINED"), "{unjoined}");
}

#[test]
fn full_memory_is_said_and_survived() {
    let Some(rig) = &Rig::new() else { return };
    let before = rig.context.free_memory().unwrap();
    let error = Buffer::<f32>::new(&rig.context, 1 << 32).unwrap_err().to_string();
    assert!(error.contains("cannot allocate 17179869184 bytes on emulated sm_90: CUDA_ERROR_OUT_OF_MEMORY"), "{error}");
    assert!(error.contains("8.0 GiB in all") && error.contains("batch_size"), "{error}");
    let small = Buffer::<f32>::zeroed(&rig.stream, 1000).unwrap();
    assert_eq!(rig.context.free_memory().unwrap(), before - 4000);
    drop(small);
    assert_eq!(rig.context.free_memory().unwrap(), before);
}

/// One element too far: the error says which kernel, where in it, and on which line. The context is broken from then on,
/// and a new one works.
#[test]
fn a_fault_is_told_with_its_place() {
    let Some(mut rig) = Rig::new() else { return };
    let overrun = rig.kernel(SOURCE, "overrun");
    let out = Buffer::<f32>::zeroed(&rig.stream, 40).unwrap();
    rig.stream.launch(&overrun, Shape::rows(41, 64), &[Arg::Ptr(out.address()), Arg::I32(40)]).unwrap();
    let error = rig.stream.synchronize().unwrap_err().to_string();
    for part in ["CUDA_ERROR_ILLEGAL_ADDRESS", "overrun, block (0, 0, 0), warp 1, lane 8, test.cu:13"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let later = rig.context.synchronize().unwrap_err().to_string();
    assert!(later.contains("lane 8"), "{later}");
    drop((overrun, out));
    // All that belongs to the broken context must be gone before a new one is made.
    let Rig { context, stream, compiler, _turn } = rig;
    drop((context, stream));
    let context = Context::new(Device::Emulated).unwrap();
    let stream = context.stream().unwrap();
    rig = Rig { context, stream, compiler, _turn };
    let kernel = rig.kernel(SOURCE, "add");
    assert_eq!(add(&rig, &kernel, 33).unwrap().len(), 33);
}

#[test]
fn impossible_launches_are_refused() {
    let Some(rig) = &Rig::new() else { return };
    let kernel = rig.kernel(SOURCE, "reverse");
    let x = Buffer::<u32>::zeroed(&rig.stream, 1024).unwrap();
    let launch = |shape| rig.stream.launch(&kernel, shape, &[Arg::Ptr(x.address())]);
    let too_large = launch(Shape::new(1, 2048)).unwrap_err().to_string();
    assert!(too_large.contains("cannot launch reverse with 1 x 1 x 1 blocks of 2048 x 1 x 1 threads"), "{too_large}");
    assert!(too_large.contains("CUDA_ERROR_INVALID_VALUE"), "{too_large}");
    assert!(launch(Shape::new(0, 32)).unwrap_err().to_string().contains("a grid of [0, 1, 1] blocks"));

    // Above 48 KiB shared memory has to be asked for.
    let shape = Shape::new(1, 1024).shared(100 * 1024);
    assert!(launch(shape).unwrap_err().to_string().contains("102400 bytes of dynamic shared memory"));
    kernel.allow_shared(100 * 1024).unwrap();
    launch(shape).unwrap();
    rig.stream.synchronize().unwrap();
    assert!(kernel.allow_shared(rig.context.info().shared_per_block + 1).is_err());

    // Blocks that wait for each other must all be resident.
    let each = kernel.blocks_per_multiprocessor(1024, 100 * 1024).unwrap();
    assert_eq!(each, 2);
    let most = each * rig.context.info().multiprocessors;
    let too_many = Shape::new(most + 1, 1024).shared(100 * 1024);
    let error = rig.stream.launch_cooperative(&kernel, too_many, &[Arg::Ptr(x.address())]).unwrap_err().to_string();
    assert!(error.contains("CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE"), "{error}");
    let one = Shape::new(1, 1024).shared(4096);
    rig.stream.launch_cooperative(&kernel, one, &[Arg::Ptr(x.address())]).unwrap();
    rig.stream.synchronize().unwrap();
    let resources = kernel.resources().unwrap();
    assert_eq!((resources.shared, resources.local, resources.threads), (0, 0, 1024));
}

#[test]
fn counters_count_and_reset() {
    let Some(rig) = &Rig::new() else { return };
    let emulator = *rig.context.emulator().unwrap();
    assert_eq!(emulator.counters(), "{}");
    let kernel = rig.kernel(SOURCE, "add");
    for _ in 0..3 {
        add(rig, &kernel, 256).unwrap();
    }
    let counters: serde_json::Value = serde_json::from_str(&emulator.counters()).unwrap();
    let add = &counters["add"];
    assert_eq!(add["launches"], 3);
    assert_eq!(add["global_load_bytes"], 3 * 2 * 4 * 256);
    assert_eq!(add["global_store_bytes"], 3 * 4 * 256);
    assert_eq!(add["global_sectors"], add["ideal_sectors"]);
    emulator.reset();
    assert_eq!(emulator.counters(), "{}");
}

/// A context may be used from any thread.
#[test]
fn another_thread_may_launch() {
    let Some(rig) = &Rig::new() else { return };
    let kernel = rig.kernel(SOURCE, "tick");
    let t = Buffer::<u32>::zeroed(&rig.stream, 1).unwrap();
    std::thread::scope(|scope| {
        let launched = scope.spawn(|| rig.stream.launch(&kernel, Shape::new(1, 1), &[Arg::Ptr(t.address())]));
        launched.join().unwrap().unwrap();
    });
    assert_eq!(t.to_vec(&rig.stream).unwrap(), [1]);
}
