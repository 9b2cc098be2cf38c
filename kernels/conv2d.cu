// Two-dimensional convolution as an implicit product: see src/ops/conv2d.rs for the equations. The windows are read where they lie.
// (V3) is activation_differentiate of kernels/activation.cu.

// x [images, h, w, c]; weights [kernel, kernel, c, n]; b [n]; y [images, oh, ow, n].
extern "C" __global__ void __launch_bounds__(256)
conv2d_forward(float *y, const float *x, const float *weights, const float *b, int images, int h, int w, int c,
               int kernel, int stride, int pad, int oh, int ow, int n, int f) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile<true, false> tile;
    int rows = images * oh * ow;
    // (V1)
    tile.add(rows, n, 0, kernel * kernel * c, Operand(x, c, [=](int o, int e) { return windows.element(o, e); }),
             Operand(weights, n, [=](int j, int e) { return e * n + j; }));
    tile.each(
        rows, n, n, [=](int o, int j) { return b[j]; }, [=](int o, int j, float a) { y[o * n + j] = activate(f, a); }); // (V2)
}

// (V4): every pixel gathers from the windows it lies in, so that nothing is added by two threads: see Phases.
extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input(float *dx, const float *da, const float *weights, int images, int h, int w, int c, int kernel,
                      int stride, int pad, int oh, int ow, int n) {
    Phases phases({h, w, c, kernel, stride, pad, oh, ow});
    Tile<true, true> tile;
    int rows = phases.rows(images), columns = phases.columns();
    tile.add(rows, columns, 0, phases.needed(tile.first_column(columns)) * n, Operand(da, n, [=](int i, int d) {
                 int o = phases.window(i, d / n);
                 return o < 0 ? -1 : o * n + d % n;
             }),
             Operand(weights, n, [=](int j, int d) {
                 int e = phases.element(j, d / n);
                 return e < 0 ? -1 : (e * c + j % c) * n + d % n;
             }));
    tile.each(
        rows, columns, phases.run(),
        [=](int i, int j) {
            int at = phases.pixel(i, j);
            return at < 0 ? 0.0f : dx[at];
        },
        [=](int i, int j, float a) {
            int at = phases.pixel(i, j);
            if (at >= 0) dx[at] = a;
        });
}

// (V5), or the parts of it: see Parts.
extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weights(float *dw, float *partial, const float *x, const float *da, int images, int h, int w, int c,
                        int kernel, int stride, int pad, int oh, int ow, int n, int each) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Parts parts = {dw, partial, images * oh * ow, each};
    Tile<false, false> tile;
    int patch = kernel * kernel * c;
    tile.add(patch, n, parts.from(), parts.to(), Operand(x, c, [=](int e, int o) { return windows.element(o, e); }),
             Operand(da, n, [=](int j, int o) { return o * n + j; }));
    parts.store(tile, patch, n);
}
