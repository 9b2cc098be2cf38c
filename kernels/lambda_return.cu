// The lambda-return: see src/ops/lambda_return.rs for the equations. One thread has one column of all l steps; r, v, p, returns [l, n].

// p may be null: then every discount is `constant`.
extern "C" __global__ void __launch_bounds__(256)
lambda_return_forward(float *returns, const float *r, const float *v, const float *p, int l, int n, float lambda,
                      float constant) {
    int i = thread_number();
    if (i >= n) return;
    float next = v[(l - 1) * n + i];
    for (int at = (l - 1) * n + i; at >= 0; at -= n) {
        next = r[at] + (p ? p[at] : constant) * ((1.0f - lambda) * v[at] + lambda * next); // (R1)
        returns[at] = next;
    }
}

// dr, dv, dp may be null.
extern "C" __global__ void __launch_bounds__(256)
lambda_return_backward(float *dr, float *dv, float *dp, const float *dreturns, const float *returns, const float *v,
                       const float *p, int l, int n, float lambda, float constant) {
    int i = thread_number();
    if (i >= n) return;
    float g = 0.0f, before = 0.0f;
    for (int t = 0, at = i; t < l; t++, at += n) {
        bool last = t + 1 == l;
        float discount = p ? p[at] : constant;
        g = dreturns[at] + lambda * before * g; // (R2)
        before = discount;
        add_to(dr, at, g);                                           // (R3)
        add_to(dv, at, discount * (last ? 1.0f : 1.0f - lambda) * g); // (R4)
        if (dp) dp[at] += g * ((1.0f - lambda) * v[at] + lambda * (last ? v[at] : returns[at + n])); // (R5)
    }
}
