// Divergence between diagonal normal distributions: see src/ops/kl_gaussian.rs for the equations.

// One warp has one row: mq, sq, mp, sp [rows, s], kl [rows].
extern "C" __global__ void __launch_bounds__(256)
kl_gaussian_forward(float *kl, const float *mq, const float *sq, const float *mp, const float *sp, int rows, int s) {
    int row = warp_number();
    if (row >= rows) return;
    float sum = 0.0f;
    for (int i = row * s + lane_number(); i < (row + 1) * s; i += 32) {
        float apart = mq[i] - mp[i];
        sum += logf(sp[i] / sq[i]) + 0.5f * (sq[i] * sq[i] + apart * apart) / (sp[i] * sp[i]) - 0.5f; // (K1)
    }
    sum = warp_sum(sum);
    if (lane_number() == 0) kl[row] = sum;
}

// One thread has one element. Each of the gradients may be null.
extern "C" __global__ void __launch_bounds__(256)
kl_gaussian_backward(float *dmq, float *dsq, float *dmp, float *dsp, const float *dkl, const float *mq,
                     const float *sq, const float *mp, const float *sp, int rows, int s) {
    int i = thread_number();
    if (i >= rows * s) return;
    float d = dkl[i / s], apart = mq[i] - mp[i], precision = 1.0f / (sp[i] * sp[i]);
    add_to(dmq, i, d * apart * precision); // (K2)
    add_to(dmp, i, -(d * apart * precision));
    add_to(dsq, i, d * (sq[i] * precision - 1.0f / sq[i]));                                  // (K3)
    add_to(dsp, i, d * (1.0f - (sq[i] * sq[i] + apart * apart) * precision) / sp[i]);        // (K4)
}
