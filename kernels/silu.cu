// The activation x sigmoid(x): see src/ops/silu.rs for the equations.

// (F1)
extern "C" __global__ void __launch_bounds__(256) silu_forward(float *y, const float *x, int n) {
    int i = thread_number();
    if (i < n) y[i] = x[i] * sigmoid(x[i]);
}

// (F2)
extern "C" __global__ void __launch_bounds__(256) silu_backward(float *dx, const float *dy, const float *x, int n) {
    int i = thread_number();
    if (i >= n) return;
    float s = sigmoid(x[i]);
    dx[i] += dy[i] * s * (1.0f + x[i] * (1.0f - s));
}
