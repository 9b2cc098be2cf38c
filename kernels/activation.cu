// Activations: see src/ops/activation.rs for the equations.

// (A1)
extern "C" __global__ void __launch_bounds__(256) activation_forward(float *y, const float *x, int n, int f) {
    int i = thread_number();
    if (i < n) y[i] = activate(f, x[i]);
}

// (A2)
extern "C" __global__ void __launch_bounds__(256)
activation_backward(float *dx, const float *dy, const float *y, int n, int f) {
    int i = thread_number();
    if (i < n) dx[i] += dy[i] * slope(f, y[i]);
}

// (L3), (V3), (D4): dy becomes the gradient before an activation that is an epilogue.
extern "C" __global__ void __launch_bounds__(256) activation_differentiate(float *dy, const float *y, int n, int f) {
    int i = thread_number();
    if (i < n) dy[i] *= slope(f, y[i]);
}
