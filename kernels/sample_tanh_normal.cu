// A sample of a normal distribution squashed by tanh: see src/ops/sample_tanh_normal.rs for the equations.

// a [rows, 2 n]; the others [rows, n]. c is action_mean_scale, raw is ln(e^init_std - 1). eps is null where it is drawn, and in the backward
// pass drawn again.
__device__ __forceinline__ void
sample_tanh_normal_forward_at(int i, float *mean, float *std, float *action, const float *a, const float *eps,
                              const unsigned long long *clock, unsigned stream, int first, int rows, int n, float c,
                              float raw, float min_std) {
    int at = i / n * 2 * n + i % n;
    float m = c * tanhf(a[at] / c);                // (T1)
    float s = softplus(a[at + n] + raw) + min_std; // (T2)
    mean[i] = m;
    std[i] = s;
    Noise noise{eps, clock, stream, first};
    action[i] = tanhf(m + s * noise.normal(i)); // (T3)
}

extern "C" __global__ void __launch_bounds__(256)
sample_tanh_normal_forward(float *mean, float *std, float *action, const float *a, const float *eps,
                           const unsigned long long *clock, unsigned stream, int first, int rows, int n, float c,
                           float raw, float min_std) {
    int i = thread_number();
    if (i < rows * n)
        sample_tanh_normal_forward_at(i, mean, std, action, a, eps, clock, stream, first, rows, n, c, raw, min_std);
}

__device__ __forceinline__ void
sample_tanh_normal_backward_at(int i, float *da, const float *daction, const float *mean, const float *action,
                               const float *a, const float *eps, const unsigned long long *clock, unsigned stream,
                               int first, int rows, int n, float c, float raw) {
    int at = i / n * 2 * n + i % n;
    float du = daction[i] * (1.0f - action[i] * action[i]); // (T4)
    float scaled = mean[i] / c;
    Noise noise{eps, clock, stream, first};
    da[at] += du * (1.0f - scaled * scaled);                       // (T5)
    da[at + n] += du * noise.normal(i) * sigmoid(a[at + n] + raw); // (T6)
}

extern "C" __global__ void __launch_bounds__(256)
sample_tanh_normal_backward(float *da, const float *daction, const float *mean, const float *action, const float *a,
                            const float *eps, const unsigned long long *clock, unsigned stream, int first, int rows,
                            int n, float c, float raw) {
    int i = thread_number();
    if (i < rows * n)
        sample_tanh_normal_backward_at(i, da, daction, mean, action, a, eps, clock, stream, first, rows, n, c, raw);
}
