// A share u of the uniform distribution in categorical variables: see src/ops/unimix.rs for the equations. One warp has one variable of k
// classes; all tensors [variables, k].

// (U1)
__device__ __forceinline__ void unimix_forward_at(int variable, float *y, const float *a, int variables, int k, float u) {
    int at = variable * k;
    Softmax q(a + at, k);
    for (int i = at + lane_number(); i < at + k; i += 32) y[i] = logf((1.0f - u) * q.of(a[i]) + u / k);
}

extern "C" __global__ void __launch_bounds__(256)
unimix_forward(float *y, const float *a, int variables, int k, float u) {
    int variable = warp_number();
    if (variable < variables) unimix_forward_at(variable, y, a, variables, k, u);
}

// (U2)
__device__ __forceinline__ void
unimix_backward_at(int variable, float *da, const float *dy, const float *a, int variables, int k, float u) {
    int at = variable * k;
    Softmax q(a + at, k);
    auto g = [=](int i) { return dy[i] / ((1.0f - u) * q.of(a[i]) + u / k); };
    float mean = 0.0f;
    for (int i = at + lane_number(); i < at + k; i += 32) mean += q.of(a[i]) * g(i);
    mean = warp_sum(mean);
    for (int i = at + lane_number(); i < at + k; i += 32) da[i] += (1.0f - u) * q.of(a[i]) * (g(i) - mean);
}

extern "C" __global__ void __launch_bounds__(256)
unimix_backward(float *da, const float *dy, const float *a, int variables, int k, float u) {
    int variable = warp_number();
    if (variable < variables) unimix_backward_at(variable, da, dy, a, variables, k, u);
}
