// The gates of a GRU cell: see src/ops/gru_cell.rs for the equations. One thread has one element of the hidden state.

// h_next, h [rows, d]; gates, xp, hp [rows, 3 d], in the order r, z, n.
__device__ __forceinline__ void
gru_cell_forward_at(int i, float *h_next, float *gates, const float *xp, const float *hp, const float *h, int rows,
                    int d) {
    int at = i / d * 3 * d + i % d;
    float r = sigmoid(xp[at] + hp[at]);                 // (G1)
    float z = sigmoid(xp[at + d] + hp[at + d]);         // (G2)
    float n = tanhf(xp[at + 2 * d] + r * hp[at + 2 * d]); // (G3)
    gates[at] = r;
    gates[at + d] = z;
    gates[at + 2 * d] = n;
    h_next[i] = (1.0f - z) * n + z * h[i]; // (G4)
}

extern "C" __global__ void __launch_bounds__(256)
gru_cell_forward(float *h_next, float *gates, const float *xp, const float *hp, const float *h, int rows, int d) {
    int i = thread_number();
    if (i < rows * d) gru_cell_forward_at(i, h_next, gates, xp, hp, h, rows, d);
}

// dxp, dhp, dh may be null.
__device__ __forceinline__ void
gru_cell_backward_at(int i, float *dxp, float *dhp, float *dh, const float *dh_next, const float *gates,
                     const float *hp, const float *h, int rows, int d) {
    int at = i / d * 3 * d + i % d;
    float r = gates[at], z = gates[at + d], n = gates[at + 2 * d], dout = dh_next[i];
    float dn = dout * (1.0f - z) * (1.0f - n * n);        // (G5)
    float dz = dout * (h[i] - n) * z * (1.0f - z);        // (G6)
    float dr = dn * hp[at + 2 * d] * r * (1.0f - r);      // (G7)
    add_to(dxp, at, dr);                                  // (G8)
    add_to(dxp, at + d, dz);
    add_to(dxp, at + 2 * d, dn);
    add_to(dhp, at, dr);
    add_to(dhp, at + d, dz);
    add_to(dhp, at + 2 * d, dn * r);
    add_to(dh, i, z * dout);
}

extern "C" __global__ void __launch_bounds__(256)
gru_cell_backward(float *dxp, float *dhp, float *dh, const float *dh_next, const float *gates, const float *hp,
                  const float *h, int rows, int d) {
    int i = thread_number();
    if (i < rows * d) gru_cell_backward_at(i, dxp, dhp, dh, dh_next, gates, hp, h, rows, d);
}
