// Transposed convolution as an implicit product: see src/ops/conv_transpose2d.rs for the equations. The windows lie over the result, one for
// every input position: x [images, oh, ow, n]; weights [n, kernel, kernel, c]; b [c]; y [images, h, w, c].
// (D4) is activation_differentiate of kernels/activation.cu.

// (D1) (D2): every pixel gathers from the windows it lies in, so that nothing is added by two threads.
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_forward(float *y, const float *x, const float *weights, const float *b, int images, int h, int w,
                         int c, int kernel, int stride, int pad, int oh, int ow, int n, int f) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int rows = images * h * w, area = kernel * kernel;
    tile.add<true, false>(
        rows, c, area * n,
        [=](int i, int d) {
            int o = windows.window(i, d / n);
            return o < 0 ? 0.0f : x[o * n + d % n];
        },
        [=](int d, int j) { return weights[(d % n * area + d / n) * c + j]; });
    tile.each(rows, c, [=](int i, int j, float sum) { y[i * c + j] = activate(f, sum + b[j]); }); // (D3)
}

// (D5)
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_backward_input(float *dx, const float *da, const float *weights, int images, int h, int w, int c,
                                int kernel, int stride, int pad, int oh, int ow, int n) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int rows = images * oh * ow, patch = kernel * kernel * c;
    tile.add<true, true>(
        rows, n, patch,
        [=](int o, int e) {
            int at = windows.element(o, e);
            return at < 0 ? 0.0f : da[at];
        },
        [=](int e, int j) { return weights[j * patch + e]; });
    tile.each(rows, n, [=](int o, int j, float sum) { dx[o * n + j] += sum; });
}

// (D6)
extern "C" __global__ void __launch_bounds__(256)
conv_transpose2d_backward_weights(float *dw, const float *x, const float *da, int images, int h, int w, int c,
                                  int kernel, int stride, int pad, int oh, int ow, int n) {
    Windows windows = {h, w, c, kernel, stride, pad, oh, ow};
    Tile tile;
    int patch = kernel * kernel * c;
    tile.add<false, false>(
        n, patch, images * oh * ow, [=](int i, int o) { return x[o * n + i]; },
        [=](int o, int e) {
            int at = windows.element(o, e);
            return at < 0 ? 0.0f : da[at];
        });
    tile.each(n, patch, [=](int i, int e, float sum) { dw[i * patch + e] += sum; });
}
