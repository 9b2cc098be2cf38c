// Linear layer over a list of inputs: see src/ops/linear.rs for the equations. One block has one tile of the result.
// (L3) is activation_differentiate of kernels/activation.cu.

// y, add [rows, n]; x_i [rows, k_i]; w_i [k_i, n]; b [n]. b and add may be null; an input of width 0 is not there.
extern "C" __global__ void __launch_bounds__(256)
linear_forward(float *y, const float *x0, const float *x1, const float *x2, const float *x3, const float *add,
               const float *w0, const float *w1, const float *w2, const float *w3, const float *b, int rows, int n,
               int k0, int k1, int k2, int k3, int f) {
    Tile<true, false> tile;
    // (L1)
#pragma unroll 1
    for (int part = 0; part < 4; part++) {
        const float *x = part == 0 ? x0 : part == 1 ? x1 : part == 2 ? x2 : x3;
        const float *w = part == 0 ? w0 : part == 1 ? w1 : part == 2 ? w2 : w3;
        int k = part == 0 ? k0 : part == 1 ? k1 : part == 2 ? k2 : k3;
        if (k == 0) break;
        tile.add(rows, n, 0, k, Operand(x, k, [=](int i, int d) { return i * k + d; }),
                 Operand(w, n, [=](int j, int d) { return d * n + j; }));
    }
    tile.each(
        rows, n, n, [=](int i, int j) { return (b ? b[j] : 0.0f) + (add ? add[i * n + j] : 0.0f); },
        [=](int i, int j, float a) { y[i * n + j] = activate(f, a); }); // (L2)
}

// (L4) dx [rows, k] += da [rows, n] w^T
extern "C" __global__ void __launch_bounds__(256)
linear_backward_input(float *dx, const float *da, const float *w, int rows, int n, int k) {
    Tile<true, true> tile;
    tile.add(rows, k, 0, n, Operand(da, n, [=](int i, int d) { return i * n + d; }),
             Operand(w, n, [=](int j, int d) { return j * n + d; }));
    tile.each(
        rows, k, k, [=](int i, int j) { return dx[i * k + j]; }, [=](int i, int j, float a) { dx[i * k + j] = a; });
}

// (L5) dw [k, n] += x^T [k, rows] da, or the parts of it: see Parts.
extern "C" __global__ void __launch_bounds__(256)
linear_backward_weights(float *dw, float *partial, const float *x, const float *da, int rows, int n, int k,
                        int each) {
    Parts parts = {dw, partial, rows, each};
    Tile<false, false> tile;
    tile.add(k, n, parts.from(), parts.to(), Operand(x, k, [=](int i, int d) { return d * k + i; }),
             Operand(da, n, [=](int j, int d) { return d * n + j; }));
    parts.store(tile, k, n);
}

// (L5) d [n] += the sum of the rows of x [rows, n], or the parts of it. One block has 32 columns, one warp every eighth row.
extern "C" __global__ void __launch_bounds__(256)
add_rows(float *d, float *partial, const float *x, int rows, int n, int each) {
    __shared__ float sums[8][32];
    Parts parts = {d, partial, rows, each};
    int lane = lane_number(), warp = threadIdx.x / 32, j = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (j < n) for (int i = parts.from() + warp; i < parts.to(); i += 8) sum += x[i * n + j];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && j < n) {
        for (int other = 1; other < 8; other++) sum += sums[other][lane];
        float *to = parts.at(n, j);
        *to = partial ? sum : *to + sum;
    }
}
