// Two-dimensional convolution as an implicit product: see src/ops/conv2d.rs for the equations. The windows are read where they lie.
// (V3) is activation_differentiate of kernels/activation.cu.

// x [images, h, w, c]; weights [kernel, kernel, c, n]; b [n]; y [images, oh, ow, n].
extern "C" __global__ void __launch_bounds__(256)
conv2d_forward(float *y, const float *x, const float *weights, const float *b, int images, int h, int w, int c,
               int kernel, int stride, int pad, int oh, int ow, int n, int f) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int rows = images * oh * ow;
    // (V1)
    tile.add<true, false>(
        rows, n, kernel * kernel * c,
        [=](int o, int e) {
            int at = windows.element(o, e);
            return at < 0 ? 0.0f : x[at];
        },
        [=](int e, int j) { return weights[e * n + j]; });
    tile.each(rows, n, [=](int o, int j, float sum) { y[o * n + j] = activate(f, sum + b[j]); }); // (V2)
}

// (V4): every pixel gathers from the windows it lies in, so that nothing is added by two threads.
extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_input(float *dx, const float *da, const float *weights, int images, int h, int w, int c, int kernel,
                      int stride, int pad, int oh, int ow, int n) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int rows = images * h * w;
    tile.add<true, true>(
        rows, c, kernel * kernel * n,
        [=](int i, int d) {
            int o = windows.window(i, d / n);
            return o < 0 ? 0.0f : da[o * n + d % n];
        },
        [=](int d, int j) { return weights[(d / n * c + j) * n + d % n]; });
    tile.each(rows, c, [=](int i, int j, float sum) { dx[i * c + j] += sum; });
}

// (V5)
extern "C" __global__ void __launch_bounds__(256)
conv2d_backward_weights(float *dw, const float *x, const float *da, int images, int h, int w, int c, int kernel,
                        int stride, int pad, int oh, int ow, int n) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int patch = kernel * kernel * c;
    tile.add<false, false>(
        patch, n, images * oh * ow,
        [=](int e, int o) {
            int at = windows.element(o, e);
            return at < 0 ? 0.0f : x[at];
        },
        [=](int o, int j) { return da[o * n + j]; });
    tile.each(patch, n, [=](int e, int j, float sum) { dw[e * n + j] += sum; });
}
