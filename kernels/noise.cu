// Noise drawn from Philox at (seed, stream, step, index): see src/ops/noise.rs and src/base/philox.rs. One thread draws one block of four words.

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

// Writes element `of` of a block of four.
__device__ __forceinline__ void put(float *noise, int block, int of, int n, double x) {
    if (4 * block + of < n) noise[4 * block + of] = (float)x;
}

// (X1)
extern "C" __global__ void __launch_bounds__(256)
noise_normal(float *noise, const unsigned long long *clock, int n, unsigned stream) {
    int block = thread_number();
    if (4 * block >= n) return;
    uint4 words = philox(clock, stream, block);
    double radius = sqrt(-2.0 * log(unit(words.x))), sin, cos;
    sincospi(2.0 * unit(words.y), &sin, &cos);
    put(noise, block, 0, n, radius * cos);
    put(noise, block, 1, n, radius * sin);
    radius = sqrt(-2.0 * log(unit(words.z)));
    sincospi(2.0 * unit(words.w), &sin, &cos);
    put(noise, block, 2, n, radius * cos);
    put(noise, block, 3, n, radius * sin);
}

// (X2)
extern "C" __global__ void __launch_bounds__(256)
noise_gumbel(float *noise, const unsigned long long *clock, int n, unsigned stream) {
    int block = thread_number();
    if (4 * block >= n) return;
    uint4 words = philox(clock, stream, block);
    put(noise, block, 0, n, -log(-log(unit(words.x))));
    put(noise, block, 1, n, -log(-log(unit(words.y))));
    put(noise, block, 2, n, -log(-log(unit(words.z))));
    put(noise, block, 3, n, -log(-log(unit(words.w))));
}

// The words themselves, for the test that they are those of the CPU, bit for bit. 4 blocks words.
extern "C" __global__ void __launch_bounds__(256)
noise_words(unsigned *words, const unsigned long long *clock, int blocks, unsigned stream) {
    int block = thread_number();
    if (block >= blocks) return;
    uint4 drawn = philox(clock, stream, block);
    words[4 * block] = drawn.x;
    words[4 * block + 1] = drawn.y;
    words[4 * block + 2] = drawn.z;
    words[4 * block + 3] = drawn.w;
}
