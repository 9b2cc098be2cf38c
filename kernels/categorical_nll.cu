// Negative log-probability of one-hot targets: see src/ops/categorical_nll.rs for the equations.

// A cell has `kinds` variables side by side, whose numbers of classes stand in `classes`; `width` is their sum. One warp has one row of
// cells: a, t [rows, cells, width]; w [rows, cells] may be null; nll [rows].
extern "C" __global__ void __launch_bounds__(256)
categorical_nll_forward(float *nll, const float *a, const float *t, const float *w, const float *classes, int rows,
                        int cells, int kinds, int width) {
    int row = warp_number();
    if (row >= rows) return;
    float total = 0.0f;
    // Each lane has cells of its own: variables are short.
    for (int cell = row * cells + lane_number(); cell < (row + 1) * cells; cell += 32) {
        float weight = w ? w[cell] : 1.0f;
        int at = cell * width;
        for (int kind = 0; kind < kinds; kind++) {
            int k = (int)classes[kind];
            float highest = a[at], sum = 0.0f, chosen = 0.0f;
            for (int i = at; i < at + k; i++) highest = max_or_nan(highest, a[i]);
            for (int i = at; i < at + k; i++) {
                sum += expf(a[i] - highest);
                chosen += t[i] * (a[i] - highest);
            }
            total += weight * (logf(sum) - chosen); // (Y1)
            at += k;
        }
    }
    total = warp_sum(total);
    if (lane_number() == 0) nll[row] = total;
}

// One thread has one cell.
extern "C" __global__ void __launch_bounds__(256)
categorical_nll_backward(float *da, const float *dnll, const float *a, const float *t, const float *w,
                         const float *classes, int rows, int cells, int kinds, int width) {
    int cell = thread_number();
    if (cell >= rows * cells) return;
    float d = dnll[cell / cells] * (w ? w[cell] : 1.0f);
    int at = cell * width;
    for (int kind = 0; kind < kinds; kind++) {
        int k = (int)classes[kind];
        float highest = a[at], sum = 0.0f;
        for (int i = at; i < at + k; i++) highest = max_or_nan(highest, a[i]);
        for (int i = at; i < at + k; i++) sum += expf(a[i] - highest);
        for (int i = at; i < at + k; i++) da[i] += d * (expf(a[i] - highest) / sum - t[i]); // (Y2)
        at += k;
    }
}
