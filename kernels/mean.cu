// Weighted mean of all elements: see src/ops/mean.rs for the equations.

// By one block, in double: each thread sums every 256th element in order, then a fixed tree. w may be null.
extern "C" __global__ void __launch_bounds__(256) mean_forward(float *m, const float *x, const float *w, int n) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < n; i += 256) sum += w ? w[i] * x[i] : x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) m[0] = (float)(sum / n); // (M1)
}

extern "C" __global__ void __launch_bounds__(256) mean_backward(float *dx, const float *dm, const float *w, int n) {
    int i = thread_number();
    if (i < n) dx[i] += dm[0] / n * (w ? w[i] : 1.0f); // (M2)
}
