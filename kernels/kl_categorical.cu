// Divergence between products of categorical distributions: see src/ops/kl_categorical.rs for the equations.

// (C1) A class of a softmax, with the share u / k of the uniform distribution: its probabilities before and after, and the logarithm.
struct Mixed {
    float soft, prob, ln;

    __device__ __forceinline__ Mixed(const Softmax &softmax, float a, float u, float share)
        : soft(softmax.of(a)), prob((1.0f - u) * soft + share), ln(u > 0.0f ? logf(prob) : softmax.ln_of(a)) {}
};

// One warp has one row of `variables` variables of k classes. a_q, a_p [rows, variables, k], kl [rows]; u is unimix.
extern "C" __global__ void __launch_bounds__(256)
kl_categorical_forward(float *kl, const float *a_q, const float *a_p, int rows, int variables, int k, float u) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f, share = u / k;
    for (int at = row * variables * k; at < (row + 1) * variables * k; at += k) {
        Softmax soft_q(a_q + at, k), soft_p(a_p + at, k);
        for (int i = at + lane_number(); i < at + k; i += 32) {
            Mixed q(soft_q, a_q[i], u, share), p(soft_p, a_p[i], u, share);
            sum += q.prob * (q.ln - p.ln); // (C2)
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
    float share = u / k, d = dkl[variable / variables] * (1.0f - u), sum_q = 0.0f, sum_p = 0.0f;
    auto flow_q = [=](const Mixed &q, const Mixed &p) { return d * q.soft * (q.ln - p.ln + 1.0f); };
    auto flow_p = [=](const Mixed &q, const Mixed &p) { return -(d * q.prob * (u > 0.0f ? p.soft / p.prob : 1.0f)); };
    for (int i = at + lane_number(); i < at + k; i += 32) {
        Mixed q(soft_q, a_q[i], u, share), p(soft_p, a_p[i], u, share);
        sum_q += flow_q(q, p);
        sum_p += flow_p(q, p);
    }
    sum_q = warp_sum(sum_q), sum_p = warp_sum(sum_p);
    for (int i = at + lane_number(); i < at + k; i += 32) {
        Mixed q(soft_q, a_q[i], u, share), p(soft_p, a_p[i], u, share);
        add_to(da_q, i, flow_q(q, p) - q.soft * sum_q); // (C3)
        add_to(da_p, i, flow_p(q, p) - p.soft * sum_p); // (C4)
    }
}
