// A map that the agent stands in the middle of: see src/ops/ego_map.rs for the equations. x [rows, own]; state, y [rows, own + side side classes];
// seen [rows, view view classes]; control [rows, 4 + gates]: as many gates as classes, or, where erasing
// has its own, twice as many.

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
    bool apart; // erasing has gates of its own
    const float *seen, *control;
    float motion[4];

    __device__ __forceinline__ MapRow(MapShape shape, int row, int gates, const float *seen, const float *control)
        : shape(shape), apart(gates > shape.classes), seen(seen + row * shape.seen()),
          control(control + row * (4 + gates)) {
        const float *c = this->control;
        float highest = fmaxf(fmaxf(c[0], c[1]), fmaxf(c[2], c[3])), sum = 0.0f;
#pragma unroll
        for (int t = 0; t < 4; t++) sum += motion[t] = expf(c[t] - highest);
#pragma unroll
        for (int t = 0; t < 4; t++) motion[t] /= sum; // (E4)
    }

    // (E1); (E11) from K on.
    __device__ __forceinline__ float gate(int k) const { return sigmoid(control[4 + k] + 2.0f); }

    // (E2), with the gates from `first` on.
    __device__ __forceinline__ float firmness(int s, int first = 0) const {
        float w = 0.0f;
        for (int k = 0; k < shape.classes; k++) w += seen[s * shape.classes + k] * gate(first + k);
        return w;
    }

    // 1 - v: how much is left of what a cell in view held (E3) (E11).
    __device__ __forceinline__ float left(int s) const { return 1.0f - firmness(s, apart ? shape.classes : 0); }

    // How much stays of class k of a cell in view, if w of it is written.
    __device__ __forceinline__ float kept(int s, int k, float w) const {
        return apart ? left(s) * (1.0f - w * seen[s * shape.classes + k]) : 1.0f - w;
    }

    // (E3) (E11): class k of a cell, where it had m.
    __device__ __forceinline__ float written(int cell, int k, float m) const {
        int s = shape.seen_of(cell);
        if (s < 0) return m;
        float w = firmness(s);
        return kept(s, k, w) * m + w * seen[s * shape.classes + k];
    }

    // (E7), for class k of a cell; dy is of the map.
    __device__ __forceinline__ float dn(const float *dy, int cell, int k) const {
        float sum = 0.0f;
#pragma unroll
        for (int t = 0; t < 4; t++) {
            int to = shape.target(t, cell);
            if (to >= 0) sum += motion[t] * dy[to * shape.classes + k];
        }
        return sum;
    }

    // dw and dv (E8) (E12) of cell s in view, whose classes on the map are m; dv is 0 where one gate does both. dn of
    // class `own` goes to own_dn.
    __device__ __forceinline__ float2 dgates(const float *dy, const float *m, int s, int own, float &own_dn) const {
        int cell = shape.cell_of(s);
        float w = firmness(s), left = this->left(s);
        float2 sum = {0.0f, 0.0f};
        for (int k = 0; k < shape.classes; k++) {
            float dn = this->dn(dy, cell, k), z = seen[s * shape.classes + k];
            sum.x += dn * (apart ? z * (1.0f - left * m[k]) : z - m[k]);
            if (apart) sum.y -= dn * m[k] * (1.0f - w * z);
            if (k == own) own_dn = dn;
        }
        return sum;
    }
};

extern "C" __global__ void __launch_bounds__(256)
ego_map_forward(float *y, const float *x, const float *state, const float *seen, const float *control, int rows,
                int own, int gates, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * (own + side * side * classes)) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / width, at = i % width - own, k = at % classes;
    if (at < 0) {
        y[i] = x[row * own + own + at];
        return;
    }
    MapRow told(shape, row, gates, seen, control);
    const float *map = state + row * width + own;
    float sum = 0.0f;
#pragma unroll
    for (int t = 0; t < 4; t++) { // (E5)
        int from = shape.source(t, at / classes);
        if (from >= 0) sum += told.motion[t] * told.written(from, k, map[from * classes + k]);
    }
    y[i] = sum;
}

// dx and dstate may be null.
extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_map(float *dx, float *dstate, const float *dy, const float *seen, const float *control, int rows,
                     int own, int gates, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * (own + side * side * classes)) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / width, at = i % width - own, cell = at / classes;
    if (at < 0) {
        if (dx) dx[row * own + own + at] += dy[i]; // (E10)
        return;
    }
    if (!dstate) return;
    MapRow told(shape, row, gates, seen, control);
    int s = shape.seen_of(cell);
    float dn = told.dn(dy + row * width + own, cell, at % classes);
    dstate[i] += s < 0 ? dn : told.kept(s, at % classes, told.firmness(s)) * dn; // (E8) (E12)
}

extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_seen(float *dseen, const float *dy, const float *state, const float *seen, const float *control,
                      int rows, int own, int gates, int side, int view, int classes, int columns) {
    int i = thread_number();
    if (i >= rows * view * view * classes) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map(), row = i / shape.seen(), s = i / classes % (view * view);
    MapRow told(shape, row, gates, seen, control);
    const float *map = state + row * width + own + shape.cell_of(s) * classes;
    int k = i % classes;
    float own_dn = 0.0f;
    float2 d = told.dgates(dy + row * width + own, map, s, k, own_dn);
    if (told.apart) {
        dseen[i] += told.firmness(s) * (1.0f - told.left(s) * map[k]) * own_dn; // (E12)
        dseen[i] += told.gate(k) * d.x + told.gate(classes + k) * d.y;
    } else {
        dseen[i] += told.firmness(s) * own_dn + told.gate(k) * d.x; // (E9)
    }
}

// One warp has one row.
extern "C" __global__ void __launch_bounds__(256)
ego_map_backward_control(float *dcontrol, const float *dy, const float *state, const float *seen,
                         const float *control, int rows, int own, int gates, int side, int view, int classes, int columns) {
    int row = warp_number();
    if (row >= rows) return;
    MapShape shape = {side, view, classes, columns};
    int width = own + shape.map();
    MapRow told(shape, row, gates, seen, control);
    const float *map = state + row * width + own;
    dy += row * width + own;
    dcontrol += row * (4 + gates);
    // (E6)
    float dp[4] = {};
    for (int i = lane_number(); i < shape.map(); i += 32) {
        int k = i % classes;
#pragma unroll
        for (int t = 0; t < 4; t++) {
            int from = shape.source(t, i / classes);
            if (from >= 0) dp[t] += told.written(from, k, map[from * classes + k]) * dy[i];
        }
    }
    float mean = 0.0f;
#pragma unroll
    for (int t = 0; t < 4; t++) {
        dp[t] = warp_sum(dp[t]);
        mean += told.motion[t] * dp[t];
    }
    if (lane_number() == 0)
#pragma unroll
        for (int t = 0; t < 4; t++) dcontrol[t] += told.motion[t] * (dp[t] - mean);
    // (E9) (E12), 32 cells in view at a time.
    for (int from = 0; from < view * view; from += 32) {
        int s = from + lane_number();
        bool is = s < view * view;
        float unused = 0.0f;
        float2 d = {0.0f, 0.0f};
        if (is) d = told.dgates(dy, map + shape.cell_of(s) * classes, s, -1, unused);
        for (int k = 0; k < gates; k++) {
            float z = is ? told.seen[s * classes + k % classes] : 0.0f, g = told.gate(k);
            float sum = warp_sum(z * (k < classes ? d.x : d.y));
            if (lane_number() == 0) dcontrol[4 + k] += g * (1.0f - g) * sum;
        }
    }
}
