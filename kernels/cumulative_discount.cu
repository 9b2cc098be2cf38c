// How much each imagined step counts: see src/ops/cumulative_discount.rs for the equations. One thread has one column; p, w [l, n], start [n].

// start may be null: then it is 1.
extern "C" __global__ void __launch_bounds__(256)
cumulative_discount_forward(float *w, const float *p, const float *start, int l, int n) {
    int i = thread_number();
    if (i >= n) return;
    float product = start ? start[i] : 1.0f;
    w[i] = product;
    for (int at = i + n; at < l * n; at += n) {
        product *= p[at - n]; // (W1)
        if (fabsf(product) < 5.4210109e-20f) product = 0.0f; // 2^-64
        w[at] = product;
    }
}

// dp, dstart may be null.
extern "C" __global__ void __launch_bounds__(256)
cumulative_discount_backward(float *dp, float *dstart, const float *dw, const float *w, const float *p, int l, int n) {
    int i = thread_number();
    if (i >= n) return;
    float g = 0.0f;
    for (int at = (l - 1) * n + i; at >= 0; at -= n) {
        add_to(dp, at, w[at] * g); // (W3), g is still that of the step after
        g = dw[at] + p[at] * g;    // (W2)
    }
    add_to(dstart, i, g); // (W3)
}
