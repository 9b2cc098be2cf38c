// Activations: see src/ops/activation.rs for the equations.

// (A1)
__device__ __forceinline__ void activation_forward_at(int i, float *y, const float *x, int n, int f) {
    y[i] = activate(f, x[i]);
}

extern "C" __global__ void __launch_bounds__(256) activation_forward(float *y, const float *x, int n, int f) {
    int i = thread_number();
    if (i < n) activation_forward_at(i, y, x, n, f);
}

// (A2)
__device__ __forceinline__ void
activation_backward_at(int i, float *dx, const float *dy, const float *y, int n, int f) {
    dx[i] += dy[i] * slope(f, y[i]);
}

extern "C" __global__ void __launch_bounds__(256)
activation_backward(float *dx, const float *dy, const float *y, int n, int f) {
    int i = thread_number();
    if (i < n) activation_backward_at(i, dx, dy, y, n, f);
}

// (L3), (V3), (D4): dy becomes the gradient before an activation that is an epilogue.
__device__ __forceinline__ void activation_differentiate_at(int i, float *dy, const float *y, int n, int f) {
    dy[i] *= slope(f, y[i]);
}

extern "C" __global__ void __launch_bounds__(256) activation_differentiate(float *dy, const float *y, int n, int f) {
    int i = thread_number();
    if (i < n) activation_differentiate_at(i, dy, y, n, f);
}
