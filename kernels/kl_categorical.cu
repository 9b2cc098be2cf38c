// Divergence between products of categorical distributions: see src/ops/kl_categorical.rs for the equations.

// (C1) The mixed probability of a class from its softmax; share = u / k.
__device__ __forceinline__ float mixed(float soft, float u, float share) { return (1.0f - u) * soft + share; }

// One warp has one row of `variables` variables of k classes. a_q, a_p [rows, variables, k], kl [rows]; u is unimix.
extern "C" __global__ void __launch_bounds__(256)
kl_categorical_forward(float *kl, const float *a_q, const float *a_p, int rows, int variables, int k, float u) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f, share = u / k;
    for (int at = row * variables * k; at < (row + 1) * variables * k; at += k) {
        Softmax soft_q(a_q + at, k), soft_p(a_p + at, k);
        for (int i = at + lane_number(); i < at + k; i += 32) {
            float q = mixed(soft_q.of(a_q[i]), u, share), p = mixed(soft_p.of(a_p[i]), u, share);
            sum += q > 0.0f ? q * (logf(q) - logf(p)) : 0.0f; // (C2)
        }
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) kl[row] = sum;
}

// One warp has one variable. da_q and da_p may be null.
extern "C" __global__ void __launch_bounds__(256)
kl_categorical_backward(float *da_q, float *da_p, const float *dkl, const float *a_q, const float *a_p, int rows,
                        int variables, int k, float u) {
    int variable = warp_number(), at = variable * k;
    if (variable >= rows * variables) return;
    Softmax soft_q(a_q + at, k), soft_p(a_p + at, k);
    float share = u / k, d = dkl[variable / variables] * (1.0f - u), mean_q = 0.0f, mean_p = 0.0f;
    auto slope_q = [=](float q, float p) { return q > 0.0f ? d * (logf(q) - logf(p) + 1.0f) : 0.0f; };
    auto slope_p = [=](float q, float p) { return -(d * q / p); };
    for (int i = at + lane_number(); i < at + k; i += 32) {
        float big_q = soft_q.of(a_q[i]), big_p = soft_p.of(a_p[i]);
        float q = mixed(big_q, u, share), p = mixed(big_p, u, share);
        mean_q += big_q * slope_q(q, p);
        mean_p += big_p * slope_p(q, p);
    }
    mean_q = warp_sum(mean_q), mean_p = warp_sum(mean_p);
    for (int i = at + lane_number(); i < at + k; i += 32) {
        float big_q = soft_q.of(a_q[i]), big_p = soft_p.of(a_p[i]);
        float q = mixed(big_q, u, share), p = mixed(big_p, u, share);
        add_to(da_q, i, big_q * (slope_q(q, p) - mean_q)); // (C3)
        add_to(da_p, i, big_p * (slope_p(q, p) - mean_p)); // (C4)
    }
}
