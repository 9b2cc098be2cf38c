// Small elementwise functions: see src/ops/pointwise.rs for the equations.

// (E1), one term: y = c x, or y += c x where `more`.
__device__ __forceinline__ void sum_forward_at(int i, float *y, const float *x, int n, float c, int more) {
    y[i] = more ? y[i] + c * x[i] : c * x[i];
}

extern "C" __global__ void __launch_bounds__(256) sum_forward(float *y, const float *x, int n, float c, int more) {
    int i = thread_number();
    if (i < n) sum_forward_at(i, y, x, n, c, more);
}

__device__ __forceinline__ void sum_backward_at(int i, float *dx, const float *dy, int n, float c) {
    dx[i] += c * dy[i];
}

extern "C" __global__ void __launch_bounds__(256) sum_backward(float *dx, const float *dy, int n, float c) {
    int i = thread_number();
    if (i < n) sum_backward_at(i, dx, dy, n, c);
}

// (E2)
extern "C" __global__ void __launch_bounds__(256) mul_forward(float *y, const float *a, const float *b, int n) {
    int i = thread_number();
    if (i < n) y[i] = a[i] * b[i];
}

// da and db may be null.
extern "C" __global__ void __launch_bounds__(256)
mul_backward(float *da, float *db, const float *dy, const float *a, const float *b, int n) {
    int i = thread_number();
    if (i >= n) return;
    add_to(da, i, b[i] * dy[i]);
    add_to(db, i, a[i] * dy[i]);
}

// (E3)
extern "C" __global__ void __launch_bounds__(256) floor_forward(float *y, const float *x, int n, float c) {
    int i = thread_number();
    if (i < n) y[i] = max_or_nan(x[i], c);
}

extern "C" __global__ void __launch_bounds__(256)
floor_backward(float *dx, const float *dy, const float *x, int n, float c) {
    int i = thread_number();
    if (i < n && x[i] >= c) dx[i] += dy[i];
}

// (E4); where m is 0, x may be anything, even NaN.
__device__ __forceinline__ void mask_forward_at(int i, float *y, const float *x, const float *m, int rows, int n) {
    float keep = m[i / n];
    y[i] = keep == 0.0f ? 0.0f : keep * x[i];
}

extern "C" __global__ void __launch_bounds__(256)
mask_forward(float *y, const float *x, const float *m, int rows, int n) {
    int i = thread_number();
    if (i < rows * n) mask_forward_at(i, y, x, m, rows, n);
}

__device__ __forceinline__ void mask_backward_at(int i, float *dx, const float *dy, const float *m, int rows, int n) {
    dx[i] += m[i / n] * dy[i];
}

extern "C" __global__ void __launch_bounds__(256)
mask_backward(float *dx, const float *dy, const float *m, int rows, int n) {
    int i = thread_number();
    if (i < rows * n) mask_backward_at(i, dx, dy, m, rows, n);
}

// Every element becomes c.
__device__ __forceinline__ void fill_at(int i, float *y, int n, float c) { y[i] = c; }

extern "C" __global__ void __launch_bounds__(256) fill(float *y, int n, float c) {
    int i = thread_number();
    if (i < n) fill_at(i, y, n, c);
}

// Each element goes this share of the way to another: the slow copy of a value head (`follow_value` in src/dreamer/init.rs).
extern "C" __global__ void __launch_bounds__(256) follow(float *slow, const float *fast, int n, float rate) {
    int i = thread_number();
    if (i < n) slow[i] = rate == 1.0f ? fast[i] : slow[i] + rate * (fast[i] - slow[i]);
}
