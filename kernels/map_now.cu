// A map with what is seen laid on it: see src/ops/map_now.rs for the equations. state [rows, own + side side classes]; seen [rows, view view classes];
// y [rows, side side classes]. Where view and map meet says MapShape of ego_map.cu.

#include "ego_map.cu"

// (M3)
extern "C" __global__ void __launch_bounds__(256)
map_now_forward(float *y, const float *state, const float *seen, int rows, int own, int side, int view, int classes,
                int columns) {
    int i = thread_number();
    if (i >= rows * side * side * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.map(), at = i % shape.map(), k = at % classes, s = shape.seen_of(at / classes);
    y[i] = s < 0 ? state[row * (own + shape.map()) + own + at] : seen[row * shape.seen() + s * classes + k];
}

// (M4). dstate or dseen may be null.
extern "C" __global__ void __launch_bounds__(256)
map_now_backward(float *dstate, float *dseen, const float *dy, int rows, int own, int side, int view, int classes,
                 int columns) {
    int i = thread_number();
    if (i >= rows * side * side * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.map(), at = i % shape.map(), k = at % classes, s = shape.seen_of(at / classes);
    if (s < 0) {
        if (dstate) dstate[row * (own + shape.map()) + own + at] += dy[i];
    } else if (dseen) {
        dseen[row * shape.seen() + s * classes + k] += dy[i];
    }
}
