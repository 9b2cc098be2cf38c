// Negative log-probability under a normal distribution of standard deviation 1: see src/ops/normal_nll.rs for the equations.

// One warp has one row: mu, x [rows, n], nll [rows]. constant is n ln(2 pi) / 2.
extern "C" __global__ void __launch_bounds__(256)
normal_nll_forward(float *nll, const float *mu, const float *x, int rows, int n, float constant) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f;
    for (int i = row * n + lane_number(); i < (row + 1) * n; i += 32) {
        float apart = mu[i] - x[i];
        sum += apart * apart;
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) nll[row] = 0.5f * sum + constant; // (P1)
}

extern "C" __global__ void __launch_bounds__(256)
normal_nll_backward(float *dmu, const float *dnll, const float *mu, const float *x, int rows, int n) {
    int i = thread_number();
    if (i < rows * n) dmu[i] += dnll[i / n] * (mu[i] - x[i]); // (P2)
}

// One warp has one row, whose squares are weighted: w [rows, n / channels] has one weight for `channels` neighbouring elements.
extern "C" __global__ void __launch_bounds__(256)
weighted_normal_nll_forward(float *nll, const float *mu, const float *x, const float *w, int rows, int n, int channels,
                            float constant) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f;
    for (int i = row * n + lane_number(); i < (row + 1) * n; i += 32) {
        float apart = mu[i] - x[i];
        sum += w[i / channels] * apart * apart;
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) nll[row] = 0.5f * sum + constant; // (P3)
}

extern "C" __global__ void __launch_bounds__(256)
weighted_normal_nll_backward(float *dmu, const float *dnll, const float *mu, const float *x, const float *w, int rows,
                             int n, int channels) {
    int i = thread_number();
    if (i < rows * n) dmu[i] += dnll[i / n] * w[i / channels] * (mu[i] - x[i]); // (P4)
}
