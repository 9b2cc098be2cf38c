// Entropy of categorical variables: see src/ops/categorical_entropy.rs for the equations.

// p ln p, 0 at p = 0
__device__ __forceinline__ float p_ln_p(float p) { return p > 0.0f ? p * logf(p) : 0.0f; }

// One warp has one row of `variables` variables of k classes: a [rows, variables, k], h [rows].
extern "C" __global__ void __launch_bounds__(256)
categorical_entropy_forward(float *h, const float *a, int rows, int variables, int k) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f;
    for (int at = row * variables * k; at < (row + 1) * variables * k; at += k) {
        Softmax p(a + at, k);
        for (int i = at + lane_number(); i < at + k; i += 32) sum += p_ln_p(p.of(a[i]));
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) h[row] = -sum; // (E1)
}

// One warp has one variable.
extern "C" __global__ void __launch_bounds__(256)
categorical_entropy_backward(float *da, const float *dh, const float *a, int rows, int variables, int k) {
    int variable = warp_number(), at = variable * k;
    if (variable >= rows * variables) return;
    Softmax p(a + at, k);
    float h = 0.0f;
    for (int i = at + lane_number(); i < at + k; i += 32) h += p_ln_p(p.of(a[i]));
    h = -warp_sum(h);
    for (int i = at + lane_number(); i < at + k; i += 32) {
        float pi = p.of(a[i]);
        da[i] += -(dh[variable / variables] * (p_ln_p(pi) + pi * h)); // (E2)
    }
}
