// Normalisation of every row, layer norm and RMS norm: see src/ops/norm.rs for the equations. One warp has one row of n numbers.

// One row, by one warp. Only layer norm is `centred`.
struct Row {
    float m, s;

    // (Z1), the squares in a second pass, so that a large mean costs no digits.
    __device__ __forceinline__ Row(const float *x, int n, int centred, float eps) : m(0.0f) {
        if (centred) {
            float sum = 0.0f;
            for (int i = lane_number(); i < n; i += 32) sum += x[i];
            m = warp_sum(sum) / n;
        }
        float squares = 0.0f;
        for (int i = lane_number(); i < n; i += 32) squares += (x[i] - m) * (x[i] - m);
        s = 1.0f / sqrtf(warp_sum(squares) / n + eps);
    }

    // (Z2)
    __device__ __forceinline__ float normalised(float x) const { return (x - m) * s; }
};

// y, x [rows, n]; scale, offset [n]. offset is null where it is not centred.
__device__ __forceinline__ void
norm_forward_at(int number, float *y, const float *x, const float *scale, const float *offset, int rows, int n,
                int centred, float eps) {
    int at = number * n;
    Row row(x + at, n, centred, eps);
    for (int i = lane_number(); i < n; i += 32)
        y[at + i] = row.normalised(x[at + i]) * scale[i] + (offset ? offset[i] : 0.0f); // (Z3)
}

extern "C" __global__ void __launch_bounds__(256)
norm_forward(float *y, const float *x, const float *scale, const float *offset, int rows, int n, int centred,
             float eps) {
    int number = warp_number();
    if (number < rows) norm_forward_at(number, y, x, scale, offset, rows, n, centred, eps);
}

__device__ __forceinline__ void
norm_backward_at(int number, float *dx, const float *dy, const float *x, const float *scale, int rows, int n,
                 int centred, float eps) {
    int at = number * n;
    Row row(x + at, n, centred, eps);
    float mean = 0.0f, along = 0.0f;
    for (int i = lane_number(); i < n; i += 32) {
        float dn = __fmul_rn(dy[at + i], scale[i]); // read twice, so never fused with a sum
        mean += dn;
        along += dn * row.normalised(x[at + i]);
    }
    mean = centred ? warp_sum(mean) / n : 0.0f;
    along = warp_sum(along) / n;
    for (int i = lane_number(); i < n; i += 32)
        dx[at + i] += row.s * (dy[at + i] * scale[i] - mean - row.normalised(x[at + i]) * along); // (Z4)
}

extern "C" __global__ void __launch_bounds__(256)
norm_backward(float *dx, const float *dy, const float *x, const float *scale, int rows, int n, int centred,
              float eps) {
    int number = warp_number();
    if (number < rows) norm_backward_at(number, dx, dy, x, scale, rows, n, centred, eps);
}

// (Z5) One block has 32 columns, one warp every 32nd row, whose mean and factor it computes again. dscale and doffset [n] may be null.
extern "C" __global__ void __launch_bounds__(1024)
norm_backward_weights(float *dscale, float *doffset, const float *dy, const float *x, int rows, int n, int centred,
                      float eps) {
    __shared__ float scales[32][32], offsets[32][32];
    int lane = lane_number(), warp = threadIdx.x / 32, j = blockIdx.x * 32 + lane;
    float dscale_j = 0.0f, doffset_j = 0.0f;
    for (int i = warp; i < rows; i += 32) {
        Row row(x + i * n, n, centred, eps);
        if (j < n) {
            dscale_j += dy[i * n + j] * row.normalised(x[i * n + j]);
            doffset_j += dy[i * n + j];
        }
    }
    scales[warp][lane] = dscale_j;
    offsets[warp][lane] = doffset_j;
    __syncthreads();
    if (warp > 0 || j >= n) return;
    for (int other = 1; other < 32; other++) {
        dscale_j += scales[other][lane];
        doffset_j += offsets[other][lane];
    }
    add_to(dscale, j, dscale_j);
    add_to(doffset, j, doffset_j);
}
