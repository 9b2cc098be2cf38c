// Noise as a tensor: see src/ops/noise.rs. One thread draws one block of four words. Ops that sample draw theirs themselves.

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
    double2 low = normal_pair(words.x, words.y), high = normal_pair(words.z, words.w);
    put(noise, block, 0, n, low.x);
    put(noise, block, 1, n, low.y);
    put(noise, block, 2, n, high.x);
    put(noise, block, 3, n, high.y);
}

// (X2)
extern "C" __global__ void __launch_bounds__(256)
noise_gumbel(float *noise, const unsigned long long *clock, int n, unsigned stream) {
    int block = thread_number();
    if (4 * block >= n) return;
    uint4 words = philox(clock, stream, block);
    put(noise, block, 0, n, gumbel_number(words.x));
    put(noise, block, 1, n, gumbel_number(words.y));
    put(noise, block, 2, n, gumbel_number(words.z));
    put(noise, block, 3, n, gumbel_number(words.w));
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
