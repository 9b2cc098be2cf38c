// Global-norm clipping and Adam over one group of parameters: see src/ops/adam.rs for the equations.
//
// What changes from update to update is in device memory, so that a captured update can be replayed: schedule = (learning rate, b1, b2, b1^t, b2^t),
// factors = (scale of the gradient, learning rate, 1 / (1 - b1^t), 1 / (1 - b2^t)).

// (U1), first half: the sum of squares of 16384 elements for each block.
extern "C" __global__ void __launch_bounds__(256) adam_squares(double *sums, const float *g, int n) {
    int first = blockIdx.x * 16384, end = min(first + 16384, n);
    double sum = 0.0;
    for (int i = first + threadIdx.x; i < end; i += 256) sum += (double)g[i] * g[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// (U1), second half, by one block; and what the update needs of it. Moves the powers of the schedule on to this update's t.
extern "C" __global__ void __launch_bounds__(256)
adam_norm(float *norm, float *factors, double *schedule, const double *sums, int blocks, float clip) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < blocks; i += 256) sum += sums[i];
    sum = block_sum(sum);
    if (threadIdx.x > 0) return;
    double root = sqrt(sum), power1 = schedule[3] * schedule[1], power2 = schedule[4] * schedule[2];
    schedule[3] = power1;
    schedule[4] = power2;
    norm[0] = (float)root;
    factors[0] = (float)(clip / (root > clip || isnan(root) ? root : clip)); // (U2)
    factors[1] = (float)schedule[0];
    factors[2] = (float)(1.0 / (1.0 - power1));
    factors[3] = (float)(1.0 / (1.0 - power2));
}

// (U2) to (U4); rest1 = 1 - b1, rest2 = 1 - b2.
extern "C" __global__ void __launch_bounds__(256)
adam_update(float *p, float *m, float *v, const float *g, const float *factors, int n, float b1, float rest1, float b2,
            float rest2, float eps) {
    int i = thread_number();
    if (i >= n) return;
    float scaled = g[i] * factors[0];                   // (U2)
    float first = b1 * m[i] + rest1 * scaled;           // (U3)
    float second = b2 * v[i] + rest2 * scaled * scaled;
    m[i] = first;
    v[i] = second;
    p[i] -= factors[1] * (first * factors[2]) / (sqrtf(second * factors[3]) + eps); // (U4)
}

// (U4), the decay: p keeps this share.
extern "C" __global__ void __launch_bounds__(256) adam_decay(float *p, int n, float keep) {
    int i = thread_number();
    if (i < n) p[i] *= keep;
}
