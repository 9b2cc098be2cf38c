// One-hot samples by the Gumbel maximum: see src/ops/sample_onehot.rs for the equations. One warp has one variable of k classes.

// All tensors [variables, k]; u is unimix. gumbel is null where it is drawn.
__device__ __forceinline__ void
sample_onehot_forward_at(int variable, float *sample, float *p, const float *a, const float *gumbel,
                         const unsigned long long *clock, unsigned stream, int first, int variables, int k, float u) {
    int at = variable * k;
    Softmax q(a + at, k); // (O1)
    Noise noise{gumbel, clock, stream, first};
    int best = k;
    float highest = 0.0f;
    for (int i = lane_number(); i < k; i += 32) {
        float mixed = q.of(a[at + i]);
        if (u > 0.0f) mixed = (1.0f - u) * mixed + u / k; // (O2)
        p[at + i] = mixed;
        // ln q and a differ by a constant, which moves no maximum.
        float score = (u > 0.0f ? logf(mixed) : a[at + i]) + noise.gumbel(at + i);
        // As on the CPU no number is greater than a NaN, and a NaN than no number: the first class keeps its place with one, others do not win.
        if (isnan(score)) score = __int_as_float(i == 0 ? 0x7f800000 : 0xff800000);
        if (best == k || score > highest) best = i, highest = score;
    }
    // (O3), of equal scores the first
    for (int step = 16; step > 0; step /= 2) {
        float score = __shfl_xor_sync(0xffffffffu, highest, step);
        int other = __shfl_xor_sync(0xffffffffu, best, step);
        bool better = other < k && (best == k || score > highest || (score == highest && other < best));
        if (better) best = other, highest = score;
    }
    for (int i = lane_number(); i < k; i += 32) sample[at + i] = i == best ? 1.0f : 0.0f;
}

extern "C" __global__ void __launch_bounds__(256)
sample_onehot_forward(float *sample, float *p, const float *a, const float *gumbel, const unsigned long long *clock,
                      unsigned stream, int first, int variables, int k, float u) {
    int variable = warp_number();
    if (variable < variables)
        sample_onehot_forward_at(variable, sample, p, a, gumbel, clock, stream, first, variables, k, u);
}

// dsample and dp may be null.
__device__ __forceinline__ void
sample_onehot_backward_at(int variable, float *da, const float *dsample, const float *dp, const float *p, int variables,
                          int k, float u) {
    int at = variable * k;
    auto dq = [=](int i) { // (O4)
        return ((dsample ? dsample[at + i] : 0.0f) + (dp ? dp[at + i] : 0.0f)) * (1.0f - u);
    };
    auto q = [=](int i) { return (p[at + i] - u / k) / (1.0f - u); };
    float mean = 0.0f;
    for (int i = lane_number(); i < k; i += 32) mean += q(i) * dq(i);
    mean = warp_sum(mean);
    for (int i = lane_number(); i < k; i += 32) da[at + i] += q(i) * (dq(i) - mean); // (O5)
}

extern "C" __global__ void __launch_bounds__(256)
sample_onehot_backward(float *da, const float *dsample, const float *dp, const float *p, int variables, int k,
                       float u) {
    int variable = warp_number();
    if (variable < variables) sample_onehot_backward_at(variable, da, dsample, dp, p, variables, k, u);
}
