// Negative log-probability under a Bernoulli distribution: see src/ops/bernoulli_nll.rs for the equations.

// All tensors [rows].
extern "C" __global__ void __launch_bounds__(256)
bernoulli_nll_forward(float *nll, const float *a, const float *t, int rows) {
    int i = thread_number();
    if (i < rows) nll[i] = softplus(a[i]) - t[i] * a[i]; // (B1)
}

extern "C" __global__ void __launch_bounds__(256)
bernoulli_nll_backward(float *da, const float *dnll, const float *a, const float *t, int rows) {
    int i = thread_number();
    if (i < rows) da[i] += dnll[i] * (sigmoid(a[i]) - t[i]); // (B2)
}
