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

// The order of a tile of a picture, whose lines lie `pitch` bytes apart, and a tile [side, side, 3] of the table, byte by byte: below 0, 0 or above.
// For all lanes of a warp, which compare 32 bytes at a time.
__device__ __forceinline__ int order_of_tiles(const unsigned char *seen, const unsigned char *known, int side, int pitch) {
    int line = 3 * side, bytes = side * line;
    for (int from = 0; from < bytes; from += 32) {
        int i = from + lane_number();
        int apart = i < bytes ? seen[i / line * pitch + i % line] - known[i] : 0;
        unsigned differ = __ballot_sync(0xffffffffu, apart != 0);
        if (differ) return __shfl_sync(0xffffffffu, apart, __ffs(differ) - 1);
    }
    return 0;
}

// The weight of each pixel in the loss: `weight` if the tile that it belongs to is one of `tiles` [known, side, side, 3], otherwise 1. See
// `ObjectTiles` in src/run/objects.rs. One warp has one tile of pixels [pictures, height, width, 3], and looks for it by halving the table, which is
// in ascending order.
extern "C" __global__ void __launch_bounds__(256)
weights_from_pixels(float *weights, const unsigned char *pixels, const unsigned char *tiles, int pictures, int height,
                    int width, int side, int known, float weight) {
    int tile = warp_number(), columns = width / side, rows = height / side;
    if (tile >= pictures * rows * columns) return;
    int left = tile % columns * side, top = tile / columns % rows * side;
    int corner = (tile / columns / rows * height + top) * width + left;
    int low = 0, high = known;
    bool object = false;
    while (low < high && !object) {
        int middle = (low + high) / 2;
        int order = order_of_tiles(pixels + 3 * corner, tiles + middle * side * side * 3, side, 3 * width);
        if (order < 0) high = middle;
        else if (order > 0) low = middle + 1;
        else object = true;
    }
    for (int i = lane_number(); i < side * side; i += 32)
        weights[corner + i / side * width + i % side] = object ? weight : 1.0f;
}
