// Transposed convolution as an implicit product: see src/ops/conv_transpose2d.rs for the equations. The windows lie over the result, one for
// every input position: x [images, oh, ow, n]; weights [n, kernel, kernel, c]; b [c]; y [images, h, w, c].
// (D4) is activation_differentiate of kernels/activation.cu.

// (D1) (D2): every pixel gathers from the windows it lies in, so that nothing is added by two threads: see Phases.
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_forward(float *y, const float *x, const float *weights, const float *b, int images, int h, int w,
                         int c, int kernel, int stride, int pad, int oh, int ow, int n, int f) {
    Phases phases({h, w, c, kernel, stride, pad, oh, ow});
    Tile<true, false> tile;
    int rows = phases.rows(images), columns = phases.columns(), area = kernel * kernel;
    tile.add(rows, columns, 0, phases.needed(tile.first_column(columns)) * n, Operand(x, n, [=](int i, int d) {
                 int o = phases.window(i, d / n);
                 return o < 0 ? -1 : o * n + d % n;
             }),
             Operand(weights, c, [=](int j, int d) {
                 int e = phases.element(j, d / n);
                 return e < 0 ? -1 : (d % n * area + e) * c + j % c;
             }));
    tile.each(
        rows, columns, phases.run(), [=](int i, int j) { return b[j % c]; },
        [=](int i, int j, float a) {
            int at = phases.pixel(i, j);
            if (at >= 0) y[at] = activate(f, a); // (D3)
        });
}

// (D5)
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_backward_input(float *dx, const float *da, const float *weights, int images, int h, int w, int c,
                                int kernel, int stride, int pad, int oh, int ow, int n) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile<true, true> tile;
    int rows = images * oh * ow, patch = kernel * kernel * c;
    tile.add(rows, n, 0, patch, Operand(da, c, [=](int o, int e) { return windows.element(o, e); }),
             Operand(weights, patch, [=](int j, int e) { return j * patch + e; }));
    tile.each(
        rows, n, n, [=](int o, int j) { return dx[o * n + j]; }, [=](int o, int j, float a) { dx[o * n + j] = a; });
}

// (D6), or the parts of it: see Parts.
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_backward_weights(float *dw, float *partial, const float *x, const float *da, int images, int h, int w,
                                  int c, int kernel, int stride, int pad, int oh, int ow, int n, int each) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Parts parts = {dw, partial, images * oh * ow, each};
    Tile<false, false> tile;
    int patch = kernel * kernel * c;
    tile.add(n, patch, parts.from(), parts.to(), Operand(x, n, [=](int i, int o) { return o * n + i; }),
             Operand(da, c, [=](int e, int o) { return windows.element(o, e); }));
    parts.store(tile, n, patch);
}
