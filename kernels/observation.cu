// Replayed bytes as the network sees them: see `World::encode` in src/run/world.rs.

// Pixels 0 .. 255 become -0.5 .. 0.5.
extern "C" __global__ void __launch_bounds__(256)
pixels_from_bytes(float *pixels, const unsigned char *bytes, int n) {
    int i = thread_number();
    if (i < n) pixels[i] = bytes[i] / 255.0f - 0.5f;
}
