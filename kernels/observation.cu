// Replayed bytes as the network sees them: see `World::encode` and `World::weights` in src/run/world.rs.

// Pixels 0 .. 255 become -0.5 .. 0.5.
extern "C" __global__ void __launch_bounds__(256)
pixels_from_bytes(float *pixels, const unsigned char *bytes, int n) {
    int i = thread_number();
    if (i < n) pixels[i] = bytes[i] / 255.0f - 0.5f;
}

// Symbols [cells, variables] become one-hot planes [cells, width], one thread for each element: variable v of a cell has classes[v] planes,
// and width is their sum.
extern "C" __global__ void __launch_bounds__(256)
planes_from_symbols(float *planes, const unsigned char *symbols, const unsigned *classes, int cells, int variables,
                    int width) {
    int i = thread_number();
    if (i >= cells * width) return;
    unsigned of = i % width;
    int variable = 0;
    while (of >= classes[variable]) of -= classes[variable++];
    planes[i] = symbols[i / width * variables + variable] == of ? 1.0f : 0.0f;
}

// The weight of each cell in the loss: `weight` if its first symbol lies in first .. last, the types of objects, otherwise 1.
extern "C" __global__ void __launch_bounds__(256)
weights_from_symbols(float *weights, const unsigned char *symbols, int cells, int variables, unsigned first,
                     unsigned last, float weight) {
    int i = thread_number();
    if (i >= cells) return;
    unsigned type = symbols[i * variables];
    weights[i] = first <= type && type <= last ? weight : 1.0f;
}
