// A logarithm for numbers of either sign, and its inverse: see src/ops/symlog.rs for the equations.

// (Q1)
extern "C" __global__ void __launch_bounds__(256) symlog_forward(float *y, const float *x, int n) {
    int i = thread_number();
    if (i < n) y[i] = copysignf(log1pf(fabsf(x[i])), x[i]);
}

extern "C" __global__ void __launch_bounds__(256) symlog_backward(float *dx, const float *dy, const float *x, int n) {
    int i = thread_number();
    if (i < n) dx[i] += dy[i] / (1.0f + fabsf(x[i]));
}

// (Q2)
extern "C" __global__ void __launch_bounds__(256) symexp_forward(float *y, const float *x, int n) {
    int i = thread_number();
    if (i < n) y[i] = copysignf(expm1f(fabsf(x[i])), x[i]);
}

extern "C" __global__ void __launch_bounds__(256) symexp_backward(float *dx, const float *dy, const float *y, int n) {
    int i = thread_number();
    if (i < n) dx[i] += dy[i] * (1.0f + fabsf(y[i]));
}
