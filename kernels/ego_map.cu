// A map that the agent stands in the middle of: see src/ops/ego_map.rs for the equations. x [rows, own]; state, y [rows, own + side side classes];
// seen [rows, view view classes]; control [rows, 4 + classes].

// Where view and map meet.
struct MapShape {
    int side, view, classes, columns;

    __device__ __forceinline__ int map() const { return side * side * classes; }
    __device__ __forceinline__ int seen() const { return view * view * classes; }
    __device__ __forceinline__ int top() const { return side / 2 + 1 - view; }
    __device__ __forceinline__ int left() const { return side / 2 - view / 2; }

    // The cell in view of a cell on the map; -1 where it is not in view.
    __device__ __forceinline__ int seen_of(int cell) const {
        int i = cell / side - top(), j = cell % side - left();
        if (i < 0 || i >= view || j < 0 || j >= view) return -1;
        return columns ? j * view + i : i * view + j;
    }

    // The cell on the map of a cell in view.
    __device__ __forceinline__ int cell_of(int cell) const {
        int i = columns ? cell % view : cell / view, j = columns ? cell / view : cell % view;
        return (top() + i) * side + left() + j;
    }

    // (E5): the cell that motion t brings to `cell`; -1 where there is none.
    __device__ __forceinline__ int source(int t, int cell) const {
        int i = cell / side, j = cell % side;
        if (t == 1) return (side - 1 - j) * side + i;
        if (t == 2) return j * side + side - 1 - i;
        return t == 3 ? (i > 0 ? cell - side : -1) : cell;
    }

    // The cell that motion t brings `cell` to; -1 where there is none.
    __device__ __forceinline__ int target(int t, int cell) const {
        int i = cell / side, j = cell % side;
        if (t == 1) return j * side + side - 1 - i;
        if (t == 2) return (side - 1 - j) * side + i;
        return t == 3 ? (i + 1 < side ? cell + side : -1) : cell;
    }
};

// What one row of seen and control says.
struct MapRow {
    MapShape shape;
    const float *seen, *control;
    float motion[4];

    __device__ __forceinline__ MapRow(MapShape shape, int row, const float *seen, const float *control)
        : shape(shape), seen(seen + row * shape.seen()), control(control + row * (4 + shape.classes)) {
        const float *c = this->control;
        float highest = fmaxf(fmaxf(c[0], c[1]), fmaxf(c[2], c[3])), sum = 0.0f;
        for (int t = 0; t < 4; t++) sum += motion[t] = expf(c[t] - highest);
        for (int t = 0; t < 4; t++) motion[t] /= sum; // (E4)
    }

    // (E1)
    __device__ __forceinline__ float gate(int k) const { return sigmoid(control[4 + k] + 2.0f); }

    // (E2)
    __device__ __forceinline__ float firmness(int s) const {
        float w = 0.0f;
        for (int k = 0; k < shape.classes; k++) w += seen[s * shape.classes + k] * gate(k);
        return w;
    }

    // (E3): class k of a cell, where it had m.
    __device__ __forceinline__ float written(int cell, int k, float m) const {
        int s = shape.seen_of(cell);
        if (s < 0) return m;
        float w = firmness(s);
        return (1.0f - w) * m + w * seen[s * shape.classes + k];
    }

    // (E7), for class k of a cell; dy is of the map.
    __device__ __forceinline__ float dn(const float *dy, int cell, int k) const {
        float sum = 0.0f;
        for (int t = 0; t < 4; t++) {
            int to = shape.target(t, cell);
            if (to >= 0) sum += motion[t] * dy[to * shape.classes + k];
        }
        return sum;
    }
};

extern "C" __global__ void __launch_bounds__(256)
ego_map_forward(float *y, const float *x, const float *state, const float *seen, const float *control, int rows,
                int own, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * (own + side * side * classes)) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / width, at = i % width - own, k = at % classes;
    if (at < 0) {
        y[i] = x[row * own + own + at];
        return;
    }
    MapRow told(shape, row, seen, control);
    const float *map = state + row * width + own;
    float sum = 0.0f;
    for (int t = 0; t < 4; t++) { // (E5)
        int from = shape.source(t, at / classes);
        if (from >= 0) sum += told.motion[t] * told.written(from, k, map[from * classes + k]);
    }
    y[i] = sum;
}

// dx and dstate may be null.
extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_map(float *dx, float *dstate, const float *dy, const float *seen, const float *control, int rows,
                     int own, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * (own + side * side * classes)) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / width, at = i % width - own, cell = at / classes;
    if (at < 0) {
        if (dx) dx[row * own + own + at] += dy[i]; // (E10)
        return;
    }
    if (!dstate) return;
    MapRow told(shape, row, seen, control);
    int s = shape.seen_of(cell);
    float dn = told.dn(dy + row * width + own, cell, at % classes);
    dstate[i] += s < 0 ? dn : (1.0f - told.firmness(s)) * dn; // (E8)
}

extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_seen(float *dseen, const float *dy, const float *state, const float *seen, const float *control,
                      int rows, int own, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * view * view * classes) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / shape.seen(), s = i / classes % (view * view), cell = shape.cell_of(s);
    MapRow told(shape, row, seen, control);
    const float *map = state + row * width + own + cell * classes, *z = told.seen + s * classes;
    float dw = 0.0f, own_dn = 0.0f;
    for (int k = 0; k < classes; k++) { // (E8)
        float dn = told.dn(dy + row * width + own, cell, k);
        dw += dn * (z[k] - map[k]);
        if (k == i % classes) own_dn = dn;
    }
    dseen[i] += told.firmness(s) * own_dn + told.gate(i % classes) * dw; // (E9)
}

// One warp has one row.
extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_control(float *dcontrol, const float *dy, const float *state, const float *seen,
                         const float *control, int rows, int own, int side, int view, int classes, int columns) {
    int row = warp_number();
    if (row >= rows) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map();
    MapRow told(shape, row, seen, control);
    const float *map = state + row * width + own;
    dy += row * width + own;
    dcontrol += row * (4 + classes);
    // (E6)
    float dp[4] = {};
    for (int i = lane_number(); i < shape.map(); i += 32) {
        int k = i % classes;
        for (int t = 0; t < 4; t++) {
            int from = shape.source(t, i / classes);
            if (from >= 0) dp[t] += told.written(from, k, map[from * classes + k]) * dy[i];
        }
    }
    float mean = 0.0f;
    for (int t = 0; t < 4; t++) {
        dp[t] = warp_sum(dp[t]);
        mean += told.motion[t] * dp[t];
    }
    if (lane_number() == 0)
        for (int t = 0; t < 4; t++) dcontrol[t] += told.motion[t] * (dp[t] - mean);
    // (E9), 32 cells in view at a time.
    for (int from = 0; from < view * view; from += 32) {
        int s = from + lane_number();
        bool is = s < view * view;
        float dw = 0.0f;
        for (int k = 0; is && k < classes; k++) {
            int cell = shape.cell_of(s);
            dw += told.dn(dy, cell, k) * (told.seen[s * classes + k] - map[cell * classes + k]);
        }
        for (int k = 0; k < classes; k++) {
            float sum = warp_sum(is ? told.seen[s * classes + k] * dw : 0.0f), g = told.gate(k);
            if (lane_number() == 0) dcontrol[4 + k] += g * (1.0f - g) * sum;
        }
    }
}
