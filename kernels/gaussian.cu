// A diagonal normal distribution and a sample of it: see src/ops/gaussian.rs for the equations.

// a [rows, 2 s]; mean, std, sample, eps [rows, s]. Without a sample, sample and eps are null.
extern "C" __global__ void __launch_bounds__(256)
gaussian_forward(float *mean, float *std, float *sample, const float *a, const float *eps, int rows, int s,
                 float min_std) {
    int i = thread_number();
    if (i >= rows * s) return;
    int at = i / s * 2 * s + i % s;
    float m = a[at];                          // (N1)
    float d = softplus(a[at + s]) + min_std;  // (N2)
    mean[i] = m;
    std[i] = d;
    if (sample) sample[i] = m + d * eps[i];   // (N3)
}

// dmean, dstd, dsample may be null, and eps with dsample.
extern "C" __global__ void __launch_bounds__(256)
gaussian_backward(float *da, const float *dmean, const float *dstd, const float *dsample, const float *a,
                  const float *eps, int rows, int s) {
    int i = thread_number();
    if (i >= rows * s) return;
    int at = i / s * 2 * s + i % s;
    float through = dsample ? dsample[i] : 0.0f;
    da[at] += (dmean ? dmean[i] : 0.0f) + through; // (N4)
    float total = (dstd ? dstd[i] : 0.0f) + (dsample ? through * eps[i] : 0.0f);
    da[at + s] += total * sigmoid(a[at + s]); // (N5)
}
