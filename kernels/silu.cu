// The activation x sigmoid(x): see src/ops/silu.rs for the equations.

// (F1)
__device__ __forceinline__ void silu_forward_at(int i, float *y, const float *x, int n) { y[i] = x[i] * sigmoid(x[i]); }

extern "C" __global__ void __launch_bounds__(256) silu_forward(float *y, const float *x, int n) {
    int i = thread_number();
    if (i < n) silu_forward_at(i, y, x, n);
}

// (F2)
__device__ __forceinline__ void silu_backward_at(int i, float *dx, const float *dy, const float *x, int n) {
    float s = sigmoid(x[i]);
    dx[i] += dy[i] * s * (1.0f + x[i] * (1.0f - s));
}

extern "C" __global__ void __launch_bounds__(256) silu_backward(float *dx, const float *dy, const float *x, int n) {
    int i = thread_number();
    if (i < n) silu_backward_at(i, dx, dy, x, n);
}
