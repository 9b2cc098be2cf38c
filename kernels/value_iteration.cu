// Value iteration on a map: see src/ops/value_iteration.rs for the equations. x [rows, side side 2]; y [rows, 4]; way, later [rows, 3 sweeps].

// (B3)
__device__ __forceinline__ float opened(float u) { return sigmoid(u + 2.0f); }

// The cell ahead of who looks up, right, down or left; -1 where the map ends.
__device__ __forceinline__ int cell_ahead(int cell, int heading, int side) {
    int i = cell / side + (heading == 2) - (heading == 0), j = cell % side + (heading == 1) - (heading == 3);
    return i < 0 || i >= side || j < 0 || j >= side ? -1 : i * side + j;
}

// The three of (B5) in a pose, a heading's cells in a row, from V_{t-1}.
struct Motions {
    float q[3];

    __device__ __forceinline__ Motions(int cell, int heading, int side, const float *last, const float *pays,
                                       const float *open, float a) {
        int cells = side * side, ahead = cell_ahead(cell, heading, side);
        q[0] = a * last[(heading + 3) % 4 * cells + cell];
        q[1] = a * last[(heading + 1) % 4 * cells + cell];
        q[2] = ahead < 0 ? 0.0f : pays[ahead] + open[ahead] * last[heading * cells + ahead]; // (B4)
    }

    // The first of the highest.
    __device__ __forceinline__ int best() const {
        int best = q[1] > q[0] ? 1 : 0;
        return q[2] > q[best] ? 2 : best;
    }
};

// One block has one row.
extern "C" __global__ void __launch_bounds__(256)
value_iteration_forward(float *y, float *way, float *later, const float *x, int rows, int side, int sweeps,
                        float discount) {
    extern __shared__ float memory[];
    int cells = side * side, poses = 4 * cells, words = (poses + 31) / 32, row = blockIdx.x;
    float *last = memory, *next = last + poses, *pays = next + poses, *open = pays + cells;
    // Two bits for each pose and sweep.
    unsigned *chosen = (unsigned *)(open + cells);
    x += row * 2 * cells;
    for (int i = threadIdx.x; i < poses; i += blockDim.x) last[i] = 0.0f;
    for (int i = threadIdx.x; i < cells; i += blockDim.x) {
        pays[i] = x[2 * i];
        open[i] = discount * opened(x[2 * i + 1]);
    }
    __syncthreads();
    for (int t = 1; t < sweeps; t++) {
        // Whole warps: each writes the bits of 32 poses.
        for (int i = threadIdx.x; i < 32 * words; i += blockDim.x) {
            int motion = 0;
            if (i < poses) {
                Motions to(i % cells, i / cells, side, last, pays, open, discount);
                motion = to.best();
                next[i] = to.q[motion]; // (B5)
            }
            unsigned right = __ballot_sync(0xffffffffu, motion == 1), ahead = __ballot_sync(0xffffffffu, motion == 2);
            if (i % 32 == 0) {
                chosen[2 * (t * words + i / 32)] = right;
                chosen[2 * (t * words + i / 32) + 1] = ahead;
            }
        }
        __syncthreads();
        float *done = next;
        next = last;
        last = done;
    }
    if (threadIdx.x >= 3) return;
    int cell = side / 2 * side + side / 2, heading = 0, motion = threadIdx.x;
    Motions first(cell, heading, side, last, pays, open, discount);
    float v = first.q[first.best()]; // (B6)
    if (motion == 0) y[row * 4] = v; // (B7)
    y[row * 4 + 1 + motion] = (first.q[motion] - v) / (1.0f - discount);
    way += (row * 3 + motion) * sweeps;
    later += (row * 3 + motion) * sweeps;
    for (int s = 0; s < sweeps; s++) {
        if (motion == 2) cell = cell_ahead(cell, heading, side);
        else heading = (heading + (motion == 0 ? 3 : 1)) % 4;
        way[s] = motion == 2 ? (float)(cell + 1) : 0.0f;
        int t = sweeps - 1 - s, pose = heading * cells + cell;
        if (t == 0) break;
        const unsigned *bits = chosen + 2 * (t * words + pose / 32);
        motion = bits[1] >> pose % 32 & 1 ? 2 : bits[0] >> pose % 32 & 1;
    }
    v = 0.0f;
    for (int s = sweeps - 1; s >= 0; s--) { // (B9)
        later[s] = v;
        int at = (int)way[s] - 1;
        v = at < 0 ? discount * v : pays[at] + open[at] * v;
    }
}

extern "C" __global__ void __launch_bounds__(256)
value_iteration_backward(float *dx, const float *dy, const float *x, const float *y, const float *way,
                         const float *later, int rows, int side, int sweeps, float discount) {
    int row = thread_number();
    if (row >= rows) return;
    dx += row * 2 * side * side;
    x += row * 2 * side * side;
    dy += row * 4;
    const float *lost = y + row * 4 + 1;
    float sum = 0.0f;
    for (int m = 0; m < 3; m++) sum += dy[1 + m] / (1.0f - discount);
    int best = lost[1] > lost[0] ? 1 : 0;
    if (lost[2] > lost[best]) best = 2;
    for (int m = 0; m < 3; m++) {
        float g = dy[1 + m] / (1.0f - discount) + (m == best ? dy[0] - sum : 0.0f); // (B8)
        for (int s = 0; s < sweeps; s++) { // (B9)
            int i = (row * 3 + m) * sweeps + s, at = (int)way[i] - 1;
            if (at < 0) {
                g *= discount;
                continue;
            }
            float o = opened(x[2 * at + 1]);
            dx[2 * at] += g;
            dx[2 * at + 1] += o * (1.0f - o) * discount * g * later[i];
            g *= discount * o;
        }
    }
}
