// The gates of a GRU cell whose projections were normalised: see src/ops/norm_gru_cell.rs for the equations. One thread has one element of
// the hidden state.

// h_next, h [rows, d]; gates, a [rows, 3 d], in the order r, c, u.
__device__ __forceinline__ void
norm_gru_cell_forward_at(int i, float *h_next, float *gates, const float *a, const float *h, int rows, int d) {
    int at = i / d * 3 * d + i % d;
    float r = sigmoid(a[at]);                // (J1)
    float c = tanhf(r * a[at + d]);          // (J2)
    float u = sigmoid(a[at + 2 * d] - 1.0f); // (J3)
    gates[at] = r;
    gates[at + d] = c;
    gates[at + 2 * d] = u;
    h_next[i] = u * c + (1.0f - u) * h[i]; // (J4)
}

extern "C" __global__ void __launch_bounds__(256)
norm_gru_cell_forward(float *h_next, float *gates, const float *a, const float *h, int rows, int d) {
    int i = thread_number();
    if (i < rows * d) norm_gru_cell_forward_at(i, h_next, gates, a, h, rows, d);
}

// da, dh may be null.
__device__ __forceinline__ void
norm_gru_cell_backward_at(int i, float *da, float *dh, const float *dh_next, const float *gates, const float *a,
                          const float *h, int rows, int d) {
    int at = i / d * 3 * d + i % d;
    float r = gates[at], c = gates[at + d], u = gates[at + 2 * d], dout = dh_next[i];
    float dc = dout * u * (1.0f - c * c);                           // (J5)
    add_to(da, at, dc * a[at + d] * r * (1.0f - r));                // (J6)
    add_to(da, at + d, dc * r);
    add_to(da, at + 2 * d, dout * (c - h[i]) * u * (1.0f - u)); // (J7)
    add_to(dh, i, dout * (1.0f - u));
}

extern "C" __global__ void __launch_bounds__(256)
norm_gru_cell_backward(float *da, float *dh, const float *dh_next, const float *gates, const float *a, const float *h,
                       int rows, int d) {
    int i = thread_number();
    if (i < rows * d) norm_gru_cell_backward_at(i, da, dh, dh_next, gates, a, h, rows, d);
}
