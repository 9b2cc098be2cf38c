// A diagonal normal distribution and a sample of it: see src/ops/gaussian.rs for the equations.

// a [rows, 2 s]; mean, std, sample, eps [rows, s]. Without a sample, sample is null. eps is null where it is drawn, and in the backward pass
// drawn again.
__device__ __forceinline__ void
gaussian_forward_at(int i, float *mean, float *std, float *sample, const float *a, const float *eps,
                    const unsigned long long *clock, unsigned stream, int first, int rows, int s, float min_std) {
    int at = i / s * 2 * s + i % s;
    float m = a[at];                         // (N1)
    float d = softplus(a[at + s]) + min_std; // (N2)
    mean[i] = m;
    std[i] = d;
    Noise noise{eps, clock, stream, first};
    if (sample) sample[i] = m + d * noise.normal(i); // (N3)
}

extern "C" __global__ void __launch_bounds__(256)
gaussian_forward(float *mean, float *std, float *sample, const float *a, const float *eps,
                 const unsigned long long *clock, unsigned stream, int first, int rows, int s, float min_std) {
    int i = thread_number();
    if (i < rows * s) gaussian_forward_at(i, mean, std, sample, a, eps, clock, stream, first, rows, s, min_std);
}

// dmean, dstd, dsample may be null.
__device__ __forceinline__ void
gaussian_backward_at(int i, float *da, const float *dmean, const float *dstd, const float *dsample, const float *a,
                     const float *eps, const unsigned long long *clock, unsigned stream, int first, int rows, int s) {
    int at = i / s * 2 * s + i % s;
    Noise noise{eps, clock, stream, first};
    float through = dsample ? dsample[i] : 0.0f;
    da[at] += (dmean ? dmean[i] : 0.0f) + through; // (N4)
    float total = dstd ? dstd[i] : 0.0f;
    if (dsample) total = fmaf(through, noise.normal(i), total);
    da[at + s] += total * sigmoid(a[at + s]); // (N5)
}

extern "C" __global__ void __launch_bounds__(256)
gaussian_backward(float *da, const float *dmean, const float *dstd, const float *dsample, const float *a,
                  const float *eps, const unsigned long long *clock, unsigned stream, int first, int rows, int s) {
    int i = thread_number();
    if (i < rows * s) gaussian_backward_at(i, da, dmean, dstd, dsample, a, eps, clock, stream, first, rows, s);
}
