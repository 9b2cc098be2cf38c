// Linear layer over a list of inputs: see src/ops/linear.rs for the equations. One block has one tile of the result.
// (L3) is activation_differentiate of kernels/activation.cu.

// y, add [rows, n]; x_i [rows, k_i]; w_i [k_i, n]; b [n]. b and add may be null; an input of width 0 is not there.
extern "C" __global__ void __launch_bounds__(256)
linear_forward(float *y, const float *x0, const float *x1, const float *x2, const float *x3, const float *add,
               const float *w0, const float *w1, const float *w2, const float *w3, const float *b, int rows, int n,
               int k0, int k1, int k2, int k3, int f) {
    Tile tile;
    // (L1)
    for (int part = 0; part < 4; part++) {
        const float *x = part == 0 ? x0 : part == 1 ? x1 : part == 2 ? x2 : x3;
        const float *w = part == 0 ? w0 : part == 1 ? w1 : part == 2 ? w2 : w3;
        int k = part == 0 ? k0 : part == 1 ? k1 : part == 2 ? k2 : k3;
        if (k == 0) break;
        tile.add<true, false>(
            rows, n, k, [=](int i, int d) { return x[i * k + d]; }, [=](int d, int j) { return w[d * n + j]; });
    }
    tile.each(rows, n, [=](int i, int j, float a) {
        if (b) a += b[j];
        if (add) a += add[i * n + j];
        y[i * n + j] = activate(f, a); // (L2)
    });
}

// (L4) dx [rows, k] += da [rows, n] w^T
extern "C" __global__ void __launch_bounds__(256)
linear_backward_input(float *dx, const float *da, const float *w, int rows, int n, int k) {
    Tile tile;
    tile.add<true, true>(
        rows, k, n, [=](int i, int d) { return da[i * n + d]; }, [=](int d, int j) { return w[j * n + d]; });
    tile.each(rows, k, [=](int i, int j, float sum) { dx[i * k + j] += sum; });
}

// (L5) dw [k, n] += x^T [k, rows] da
extern "C" __global__ void __launch_bounds__(256)
linear_backward_weights(float *dw, const float *x, const float *da, int rows, int n, int k) {
    Tile tile;
    tile.add<false, false>(
        k, n, rows, [=](int i, int d) { return x[d * k + i]; }, [=](int d, int j) { return da[d * n + j]; });
    tile.each(k, n, [=](int i, int j, float sum) { dw[i * n + j] += sum; });
}

// (L5) db [n] += sum over the rows of da. One block has 32 columns, one warp every eighth row.
extern "C" __global__ void __launch_bounds__(256)
linear_backward_bias(float *db, const float *da, int rows, int n) {
    __shared__ float sums[8][32];
    int lane = lane_number(), warp = threadIdx.x / 32, j = blockIdx.x * 32 + lane;
    float sum = 0.0f;
    if (j < n) for (int i = warp; i < rows; i += 8) sum += da[i * n + j];
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && j < n) {
        for (int other = 1; other < 8; other++) sum += sums[other][lane];
        db[j] += sum;
    }
}
