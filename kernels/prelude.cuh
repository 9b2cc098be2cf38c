// What every kernel may use. It stands in front of each source, and with it what a product is made of: stage.cuh, mma.cuh, tile.cuh.
//
// Threads are numbered in x alone. A kernel states its threads in `__launch_bounds__`; build.rs hands the number to the launch, and makes the
// parameters the fields of a Rust struct. A pointer may be null only where the kernel says so. Gradients are always added to.
// A tensor has fewer than 2^31 - 2^16 elements: launches and the executor see to it, so that indices are ints, those of the threads beyond the
// last element included.
// No sum depends on an order that is not fixed here: there is no atomic addition of floats.

// Number of this thread in the grid, and of its warp.
__device__ __forceinline__ int thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ int warp_number() { return thread_number() / 32; }
__device__ __forceinline__ int lane_number() { return threadIdx.x % 32; }

// Adds to a gradient that somebody wants. x is rounded first, even if it is a product: whether a compiler would fuse the two depends on what
// else is around, and a body that several kernels share shall have the same bits in all of them.
__device__ __forceinline__ void add_to(float *d, int i, float x) {
    if (d) d[i] = __fadd_rn(d[i], x);
}

// ---- Reductions in a fixed tree: every lane gets the result.

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

// A NaN wins, as it does on the CPU: fmaxf would hide it. Written as a comparison it becomes a branch.
__device__ __forceinline__ float max_or_nan(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

__device__ __forceinline__ float warp_max(float x) {
    for (int step = 16; step > 0; step /= 2) x = max_or_nan(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

// The sum over a block of 256 threads, for thread 0. To be called once in a kernel.
template <class T>
__device__ __forceinline__ T block_sum(T x) {
    __shared__ T sums[8];
    x = warp_sum(x);
    if (lane_number() == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    T total = 0;
    if (threadIdx.x == 0) for (int i = 0; i < 8; i++) total += sums[i];
    return total;
}

// ---- Functions of one number.

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float softplus(float x) { return max_or_nan(x, 0.0f) + log1pf(expf(-fabsf(x))); }

// In the order of `ops::Activation`.
enum Activation { IDENTITY, RELU, ELU, TANH, SIGMOID, SOFTPLUS };

// (A1) y = f(x)
__device__ __forceinline__ float activate(int f, float x) {
    switch (f) {
        case RELU: return max_or_nan(x, 0.0f);
        case ELU: return x > 0.0f ? x : expm1f(x);
        case TANH: return tanhf(x);
        case SIGMOID: return sigmoid(x);
        case SOFTPLUS: return softplus(x);
        default: return x;
    }
}

// (A2) f'(x), from y
__device__ __forceinline__ float slope(int f, float y) {
    switch (f) {
        case RELU: return y > 0.0f ? 1.0f : 0.0f;
        case ELU: return y > 0.0f ? 1.0f : y + 1.0f;
        case TANH: return 1.0f - y * y;
        case SIGMOID: return y * (1.0f - y);
        case SOFTPLUS: return 1.0f - expf(-y);
        default: return 1.0f;
    }
}

// ---- Noise drawn from Philox at (seed, stream, step, index): see src/ops/noise.rs and src/base/philox.rs.

// Ten rounds of Philox4x32 at an address. clock = (seed, step).
__device__ __forceinline__ uint4 philox(const unsigned long long *clock, unsigned stream, unsigned index) {
    unsigned long long seed = clock[0], step = clock[1];
    uint4 c = make_uint4(index, stream, (unsigned)step, (unsigned)(step >> 32));
    unsigned key0 = (unsigned)seed, key1 = (unsigned)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        unsigned low0 = 0xD2511F53u * c.x, high0 = __umulhi(0xD2511F53u, c.x);
        unsigned low1 = 0xCD9E8D57u * c.z, high1 = __umulhi(0xCD9E8D57u, c.z);
        c = make_uint4(high1 ^ c.y ^ key0, low1, high0 ^ c.w ^ key1, low0);
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return c;
}

// A word as a uniform number in (0, 1), never 0 or 1. In double, as on the CPU: float would round the largest to 1.
__device__ __forceinline__ double unit(unsigned word) { return ((word >> 8) + 0.5) / 16777216.0; }

// Two words as two normal numbers, by Box and Muller.
__device__ __forceinline__ double2 normal_pair(unsigned a, unsigned b) {
    double radius = sqrt(-2.0 * log(unit(a))), sin, cos;
    sincospi(2.0 * unit(b), &sin, &cos);
    return make_double2(radius * cos, radius * sin);
}

// A word as a Gumbel number.
__device__ __forceinline__ double gumbel_number(unsigned word) { return -log(-log(unit(word))); }

// The noise of an op that samples: a tensor, or, if that is null, what `noise_normal` or `noise_gumbel` would write, from element `first` of
// the stream on.
struct Noise {
    const float *given;
    const unsigned long long *clock;
    unsigned stream;
    int first;

    // (X1)
    __device__ __forceinline__ float normal(int i) const {
        if (given) return given[i];
        uint4 words = philox(clock, stream, (first + i) / 4);
        int of = (first + i) % 4;
        double2 pair = normal_pair(of < 2 ? words.x : words.z, of < 2 ? words.y : words.w);
        return (float)(of % 2 ? pair.y : pair.x);
    }

    // (X2)
    __device__ __forceinline__ float gumbel(int i) const {
        if (given) return given[i];
        uint4 words = philox(clock, stream, (first + i) / 4);
        int of = (first + i) % 4;
        return (float)gumbel_number(of == 0 ? words.x : of == 1 ? words.y : of == 2 ? words.z : words.w);
    }
};

// ---- The softmax of one variable of k logits, by one warp.

struct Softmax {
    float highest, sum, scale;

    __device__ __forceinline__ Softmax(const float *a, int k) : highest(a[0]), sum(0.0f) {
        for (int i = lane_number(); i < k; i += 32) highest = max_or_nan(highest, a[i]);
        highest = warp_max(highest);
        for (int i = lane_number(); i < k; i += 32) sum += expf(a[i] - highest);
        sum = warp_sum(sum);
        scale = 1.0f / sum;
    }

    // Probability of a class with this logit.
    __device__ __forceinline__ float of(float a) const { return expf(a - highest) * scale; }

    // Its logarithm, also where the probability is too small for a number.
    __device__ __forceinline__ float ln_of(float a) const { return a - highest - logf(sum); }
};

// ---- The windows of a convolution over images [images, h, w, c]: [images, oh, ow] of them, each [kernel, kernel, c].

struct Windows {
    int h, w, c, kernel, stride, pad, oh, ow;

    // Where element e of window o lies in the images, or -1 in the padding.
    __device__ __forceinline__ int element(int o, int e) const {
        int x = o % ow, y = o / ow % oh, image = o / ow / oh;
        int channel = e % c, q = e / c % kernel, p = e / c / kernel;
        x = x * stride + q - pad, y = y * stride + p - pad;
        return x >= 0 && x < w && y >= 0 && y < h ? ((image * h + y) * w + x) * c + channel : -1;
    }
};

// The pixels that windows [kernel, kernel, c] lie over, by phases: those of a whole stride stand in one row, [images, down, across, stride,
// stride, c]. They all lie in the same taps x taps windows at most, and at none of these places is a zero that only the stride puts there.
struct Phases {
    Windows windows;
    int taps, top, down, across;

    __device__ __forceinline__ explicit Phases(const Windows &of)
        : windows(of), taps((of.kernel + of.stride - 1) / of.stride), top(of.pad / of.stride),
          down((of.h - 1 + of.pad) / of.stride - top + 1), across((of.w - 1 + of.pad) / of.stride - top + 1) {}

    // Rows for so many images, columns of a row, and columns that are neighbours in memory.
    __device__ __forceinline__ int rows(int images) const { return images * down * across; }
    __device__ __forceinline__ int run() const { return windows.stride * windows.c; }
    __device__ __forceinline__ int columns() const { return windows.stride * run(); }

    // Taps that columns from this one on can need: their phases begin lower, so that fewer taps lie within the kernel.
    __device__ __forceinline__ int needed(int column) const {
        return max(windows.kernel - column / run() + windows.stride - 1, 0) / windows.stride * taps;
    }

    // The window that a row has at tap i taps + j, or -1 if there is none.
    __device__ __forceinline__ int window(int row, int tap) const {
        int x = row % across + top - tap % taps, y = row / across % down + top - tap / taps, image = row / across / down;
        return x >= 0 && x < windows.ow && y >= 0 && y < windows.oh ? (image * windows.oh + y) * windows.ow + x : -1;
    }

    // Which element p kernel + q of that window lies over a column's pixel, or -1 if it ends before.
    __device__ __forceinline__ int element(int column, int tap) const {
        int phase = column / windows.c, stride = windows.stride, kernel = windows.kernel;
        int p = tap / taps * stride + phase / stride, q = tap % taps * stride + phase % stride;
        return p < kernel && q < kernel ? p * kernel + q : -1;
    }

    // Where a column of a row lies in the images, or -1 in the padding.
    __device__ __forceinline__ int pixel(int row, int column) const {
        int phase = column / windows.c, stride = windows.stride;
        int x = (row % across + top) * stride + phase % stride - windows.pad;
        int y = (row / across % down + top) * stride + phase / stride - windows.pad;
        if (x < 0 || x >= windows.w || y < 0 || y >= windows.h) return -1;
        return ((row / across / down * windows.h + y) * windows.w + x) * windows.c + column % windows.c;
    }
};
