// The outer product of rows: see src/ops/outer.rs for the equations. a [rows, k]; x [rows, d]; y [rows, k d].

// (C1)
__device__ __forceinline__ void
outer_forward_at(int i, float *y, const float *a, const float *x, int rows, int k, int d) {
    y[i] = a[i / d] * x[i / (k * d) * d + i % d];
}

extern "C" __global__ void __launch_bounds__(256)
outer_forward(float *y, const float *a, const float *x, int rows, int k, int d) {
    int i = thread_number();
    if (i < rows * k * d) outer_forward_at(i, y, a, x, rows, k, d);
}

// (C2)
__device__ __forceinline__ void
outer_backward_x_at(int i, float *dx, const float *dy, const float *a, int rows, int k, int d) {
    int row = i / d;
    for (int j = 0; j < k; j++) dx[i] += a[row * k + j] * dy[(row * k + j) * d + i % d];
}

extern "C" __global__ void __launch_bounds__(256)
outer_backward_x(float *dx, const float *dy, const float *a, int rows, int k, int d) {
    int i = thread_number();
    if (i < rows * d) outer_backward_x_at(i, dx, dy, a, rows, k, d);
}

// (C3)
__device__ __forceinline__ void
outer_backward_a_at(int i, float *da, const float *dy, const float *x, int rows, int k, int d) {
    float sum = 0.0f;
    for (int j = 0; j < d; j++) sum += x[i / k * d + j] * dy[i * d + j];
    da[i] += sum;
}

extern "C" __global__ void __launch_bounds__(256)
outer_backward_a(float *da, const float *dy, const float *x, int rows, int k, int d) {
    int i = thread_number();
    if (i < rows * k) outer_backward_a_at(i, da, dy, x, rows, k, d);
}
