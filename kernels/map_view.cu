// What a map holds of the cells in view: see src/ops/map_view.rs for the equations. state [rows, own + side side classes]; y [rows, view view classes].
// Where view and map meet says MapShape of ego_map.cu.

#include "ego_map.cu"

// (M1)
extern "C" __global__ void __launch_bounds__(256)
map_view_forward(float *y, const float *state, int rows, int own, int side, int view, int classes, int columns,
                 float scale) {
    int i = thread_number();
    if (i >= rows * view * view * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.seen(), cell = shape.cell_of(i / classes % (view * view));
    y[i] = scale * state[row * (own + shape.map()) + own + cell * classes + i % classes];
}

// (M2)
extern "C" __global__ void __launch_bounds__(256)
map_view_backward(float *dstate, const float *dy, int rows, int own, int side, int view, int classes, int columns,
                  float scale) {
    int i = thread_number();
    if (i >= rows * view * view * classes) return;
    MapShape shape = {side, view, classes, columns};
    int row = i / shape.seen(), cell = shape.cell_of(i / classes % (view * view));
    dstate[row * (own + shape.map()) + own + cell * classes + i % classes] += scale * dy[i];
}
