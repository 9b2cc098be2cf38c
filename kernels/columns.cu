// The first columns of rows: see src/ops/columns.rs for the equations. x [rows, all]; y [rows, width].

// (R1)
extern "C" __global__ void __launch_bounds__(256)
columns_forward(float *y, const float *x, int rows, int all, int width) {
    int i = thread_number();
    if (i < rows * width) y[i] = x[i / width * all + i % width];
}

// (R2)
extern "C" __global__ void __launch_bounds__(256)
columns_backward(float *dx, const float *dy, int rows, int all, int width) {
    int i = thread_number();
    if (i < rows * width) dx[i / width * all + i % width] += dy[i];
}
