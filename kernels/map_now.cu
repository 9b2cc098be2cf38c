// A map with what is seen laid on it, or beside it: see src/ops/map_now.rs for the equations. state [rows, own + side side classes]; seen [rows, view view
// classes]; y [rows, side side classes], or twice as many numbers for each cell. Where view and map meet says MapShape of ego_map.cu. A thread has a number of
// the map, and what is seen there.

#include "ego_map.cu"

// (M3) (M5)
extern "C" __global__ void __launch_bounds__(256)
map_now_forward(float *y, const float *state, const float *seen, int rows, int own, int side, int view, int classes,
                int columns, int beside) {
    int i = thread_number();
    if (i >= rows * side * side * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.map(), at = i % shape.map(), k = at % classes, s = shape.seen_of(at / classes);
    float m = state[row * (own + shape.map()) + own + at];
    float z = s < 0 ? 0.0f : seen[row * shape.seen() + s * classes + k];
    if (beside) {
        y[2 * (i - k) + k] = m;
        y[2 * (i - k) + classes + k] = z;
    } else {
        y[i] = s < 0 ? m : z;
    }
}

// (M4) (M6). dstate or dseen may be null.
extern "C" __global__ void __launch_bounds__(256)
map_now_backward(float *dstate, float *dseen, const float *dy, int rows, int own, int side, int view, int classes,
                 int columns, int beside) {
    int i = thread_number();
    if (i >= rows * side * side * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.map(), at = i % shape.map(), k = at % classes, s = shape.seen_of(at / classes);
    if (dstate && (beside || s < 0)) {
        dstate[row * (own + shape.map()) + own + at] += dy[beside ? 2 * (i - k) + k : i];
    }
    if (dseen && s >= 0) {
        dseen[row * shape.seen() + s * classes + k] += dy[beside ? 2 * (i - k) + classes + k : i];
    }
}
