// A distribution over fixed bins as the prediction of one number: see src/ops/twohot.rs for the equations. One warp has one row of k logits.

// (H2), from both ends inwards: symmetric probabilities cancel exactly.
extern "C" __global__ void __launch_bounds__(256)
twohot_mean_forward(float *mean, const float *a, const float *bins, int rows, int k) {
    int row = warp_number(), at = row * k;
    if (row >= rows) return;
    Softmax p(a + at, k); // (H1)
    auto term = [&](int i) { return p.of(a[at + i]) * bins[i]; };
    float sum = 0.0f;
    for (int i = lane_number(); i < k / 2; i += 32) sum += term(i) + term(k - 1 - i);
    sum = warp_sum(sum) + (k % 2 ? term(k / 2) : 0.0f);
    if (lane_number() == 0) mean[row] = sum;
}

extern "C" __global__ void __launch_bounds__(256)
twohot_mean_backward(float *da, const float *dmean, const float *mean, const float *a, const float *bins, int rows,
                     int k) {
    int row = warp_number(), at = row * k;
    if (row >= rows) return;
    Softmax p(a + at, k);
    for (int i = lane_number(); i < k; i += 32)
        da[at + i] += dmean[row] * p.of(a[at + i]) * (bins[i] - mean[row]); // (H4)
}

// The weight of the target on bin i.
struct Target {
    int low;
    float upper;

    __device__ __forceinline__ Target(float x, const float *bins, int k) : low(0) {
        // A NaN stays, as on the CPU: fminf and fmaxf would hide it.
        x = x < bins[0] ? bins[0] : x > bins[k - 1] ? bins[k - 1] : x;
        while (low < k - 2 && bins[low + 1] <= x) low++;
        upper = (x - bins[low]) / (bins[low + 1] - bins[low]);
    }
    __device__ __forceinline__ float weight(int i) const { return i == low ? 1.0f - upper : i == low + 1 ? upper : 0.0f; }
};

// (H3)
extern "C" __global__ void __launch_bounds__(256)
twohot_nll_forward(float *nll, const float *a, const float *target, const float *bins, int rows, int k) {
    int row = warp_number(), at = row * k;
    if (row >= rows) return;
    Softmax p(a + at, k);
    Target t(target[row], bins, k);
    float lse = logf(p.sum) + p.highest;
    if (lane_number() == 0) nll[row] = lse - (1.0f - t.upper) * a[at + t.low] - t.upper * a[at + t.low + 1];
}

extern "C" __global__ void __launch_bounds__(256)
twohot_nll_backward(float *da, const float *dnll, const float *a, const float *target, const float *bins, int rows,
                    int k) {
    int row = warp_number(), at = row * k;
    if (row >= rows) return;
    Softmax p(a + at, k);
    Target t(target[row], bins, k);
    for (int i = lane_number(); i < k; i += 32) da[at + i] += dnll[row] * (p.of(a[at + i]) - t.weight(i)); // (H5)
}
