// A matrix product: one tile of C = A B, TILE_ROWS x TILE_COLUMNS elements, by a block of 256 threads.
//
// A [m, k] and B [k, n] are functions of their indices, so that a transpose or the windows of an image need no copy. The operands come in
// pieces of DEPTH along k (stage.cuh): while one is multiplied, the next ones are under way. Every sum runs in ascending k, whatever the tile.
//
// A warp has WARP_ROWS x 32 elements of C, a lane ROWS x 8 of them:
//
//   f32    multiplied by ordinary units, from shared memory
//   tf32   by tensor cores; operands are rounded as they leave shared memory
//   bf16   by tensor cores; a piece is rounded in shared memory once, then read by ldmatrix
//
// Products of all three are summed in f32.

// A_ALONG_K: elements of A that follow each other in k are neighbours in memory. Likewise B_ALONG_K.
template <bool A_ALONG_K, bool B_ALONG_K>
struct Tile {
    static constexpr int WARPS_ACROSS = TILE_COLUMNS / 32, WARP_ROWS = TILE_ROWS * WARPS_ACROSS / 8, ROWS = WARP_ROWS / 8;
    // Pieces in shared memory, and how far ahead of its use one is asked for. In bf16 a piece is free again as soon as it is rounded.
    static constexpr int STAGES = PRECISION == BF16 ? 2 : 3, AHEAD = PRECISION == BF16 ? STAGES : STAGES - 1;
    // Rows and columns of a lane that lie side by side: as its loads from shared memory, or the fragments, have them.
    static constexpr int SIDE_ROWS = PRECISION != F32 || A_ALONG_K ? 1 : ROWS < 4 ? ROWS : 4;
    static constexpr int SIDE_COLUMNS = PRECISION != F32 ? 2 : B_ALONG_K ? 1 : 4;

    float sum[ROWS][8] = {};

    // Row of a warp's tile that lanes 4 line to 4 line + 3 have as their r-th; column that this lane has as its c-th.
    static __device__ __forceinline__ int row(int r, int line) {
        return r / SIDE_ROWS * (8 * SIDE_ROWS) + line * SIDE_ROWS + r % SIDE_ROWS;
    }
    static __device__ __forceinline__ int column(int c) {
        return c / SIDE_COLUMNS * (4 * SIDE_COLUMNS) + lane_number() % 4 * SIDE_COLUMNS + c % SIDE_COLUMNS;
    }

    // Where the warp's tile begins in the block's.
    static __device__ __forceinline__ int warp_row() { return threadIdx.x / 32 / WARPS_ACROSS * WARP_ROWS; }
    static __device__ __forceinline__ int warp_column() { return threadIdx.x / 32 % WARPS_ACROSS * 32; }

    // Two operands' pieces for each stage; in bf16 two more, of half the size.
    static constexpr int BOTH = PIECE_A + PIECE_B;
    static __device__ __forceinline__ float *memory() {
        __shared__ __align__(128) float memory[STAGES * BOTH + (PRECISION == BF16 ? BOTH / 2 : 0)];
        return memory;
    }

    // Where the block's tile of a result with n columns begins. Tiles of the same rows follow each other, so that these rows of A are
    // read from memory once and then from the cache; B is mostly small enough to stay there.
    static __device__ __forceinline__ int across(int n) { return (n + TILE_COLUMNS - 1) / TILE_COLUMNS; }
    static __device__ __forceinline__ int first_row(int n) { return blockIdx.x / across(n) * TILE_ROWS; }
    static __device__ __forceinline__ int first_column(int n) { return blockIdx.x % across(n) * TILE_COLUMNS; }

    // Adds A B, summed over k in [from, to).
    template <class A, class B>
    __device__ __forceinline__ void add(int m, int n, int from, int to, const Operand<A> &a, const Operand<B> &b) {
        float *stages = memory();
        unsigned short *rounded = (unsigned short *)(stages + STAGES * BOTH);
        int row = first_row(n), column = first_column(n);
        auto ask = [&](int step) {
            float *stage = stages + step % STAGES * BOTH;
            int k = from + step * DEPTH;
            if (k < to) {
                fetch<A_ALONG_K, TILE_ROWS>(stage, a, row, m, k, to);
                fetch<B_ALONG_K, TILE_COLUMNS>(stage + PIECE_A, b, column, n, k, to);
            }
            commit_copies();
        };
        // Nobody reads what an earlier product left in shared memory.
        __syncthreads();
#pragma unroll
        for (int step = 0; step < AHEAD; step++) ask(step);
        for (int step = 0; from + step * DEPTH < to; step++) {
            const float *stage = stages + step % STAGES * BOTH;
            // This step's piece is there, the copies of all threads included, and all have multiplied the step before.
            wait_for_copies<AHEAD - 1>();
            __syncthreads();
            if constexpr (PRECISION == BF16) {
                round_piece<A_ALONG_K, TILE_ROWS>(rounded, stage);
                round_piece<B_ALONG_K, TILE_COLUMNS>(rounded + PIECE_A, stage + PIECE_A);
                __syncthreads();
            }
            ask(step + AHEAD);
            if constexpr (PRECISION == F32) multiply(stage, stage + PIECE_A);
            if constexpr (PRECISION == TF32) multiply_tf32(stage, stage + PIECE_A);
            if constexpr (PRECISION == BF16) multiply_bf16(rounded, rounded + PIECE_A);
        }
    }

    __device__ __forceinline__ void multiply(const float *a, const float *b) {
        // An operand that lies along k is read two depths at a time, the other one some rows or columns. Not all depths are unrolled: with
        // more loads under way, a lane would need more registers.
        constexpr int DEPTHS = A_ALONG_K || B_ALONG_K ? 2 : 1, UNROLL = A_ALONG_K || B_ALONG_K ? 1 : 4;
        int line = lane_number() / 4;
#pragma unroll UNROLL
        for (int k = 0; k < DEPTH; k += DEPTHS) {
            float x[ROWS][DEPTHS], w[8][DEPTHS];
#pragma unroll
            for (int r = 0; r < ROWS; r += SIDE_ROWS) {
                int i = warp_row() + row(r, line);
                read<A_ALONG_K, TILE_ROWS, SIDE_ROWS>(x, r, a, i, k);
            }
#pragma unroll
            for (int c = 0; c < 8; c += SIDE_COLUMNS) {
                int j = warp_column() + column(c);
                read<B_ALONG_K, TILE_COLUMNS, SIDE_COLUMNS>(w, c, b, j, k);
            }
#pragma unroll
            for (int d = 0; d < DEPTHS; d++)
#pragma unroll
                for (int r = 0; r < ROWS; r++)
#pragma unroll
                    for (int c = 0; c < 8; c++) sum[r][c] += x[r][d] * w[c][d];
        }
    }

    // Rows i to i + SIDE - 1 of a piece, at the depths from k on.
    template <bool ALONG_K, int LENGTH, int SIDE, int COUNT, int DEPTHS>
    static __device__ __forceinline__ void read(float (&x)[COUNT][DEPTHS], int r, const float *piece, int i, int k) {
        if constexpr (ALONG_K) {
            auto some = *(const Floats<DEPTHS> *)(piece + place<true, LENGTH>(i, k));
#pragma unroll
            for (int d = 0; d < DEPTHS; d++) x[r][d] = some.at[d];
        } else {
#pragma unroll
            for (int d = 0; d < DEPTHS; d++) {
                auto some = *(const Floats<SIDE> *)(piece + place<false, LENGTH>(i, k + d));
#pragma unroll
                for (int s = 0; s < SIDE; s++) x[r + s][d] = some.at[s];
            }
        }
    }

    __device__ __forceinline__ void multiply_tf32(const float *a, const float *b) {
        int g = lane_number() / 4, t = lane_number() % 4;
#pragma unroll 1
        for (int k = 0; k < DEPTH; k += 8) {
            unsigned right[4][2];
#pragma unroll
            for (int c = 0; c < 4; c++)
#pragma unroll
                for (int q = 0; q < 2; q++)
                    right[c][q] = to_tf32(b[place<B_ALONG_K, TILE_COLUMNS>(warp_column() + c * 8 + g, k + q * 4 + t)]);
#pragma unroll
            for (int r = 0; r < ROWS; r += 2) {
                unsigned left[4];
#pragma unroll
                for (int q = 0; q < 4; q++)
                    left[q] = to_tf32(a[place<A_ALONG_K, TILE_ROWS>(warp_row() + (r + q % 2) * 8 + g, k + q / 2 * 4 + t)]);
#pragma unroll
                for (int c = 0; c < 4; c++)
                    mma_tf32(sum[r][2 * c], sum[r][2 * c + 1], sum[r + 1][2 * c], sum[r + 1][2 * c + 1], left, right[c]);
            }
        }
    }

    __device__ __forceinline__ void multiply_bf16(const unsigned short *a, const unsigned short *b) {
        unsigned right[4][2];
#pragma unroll
        for (int c = 0; c < 4; c += 2) {
            unsigned two[4];
            load_matrices<B_ALONG_K, TILE_COLUMNS>(two, b, warp_column() + c * 8, false);
            right[c][0] = two[0], right[c][1] = two[1], right[c + 1][0] = two[2], right[c + 1][1] = two[3];
        }
#pragma unroll
        for (int r = 0; r < ROWS; r += 2) {
            unsigned left[4];
            load_matrices<A_ALONG_K, TILE_ROWS>(left, a, warp_row() + r * 8, true);
#pragma unroll
            for (int c = 0; c < 4; c++)
                mma_bf16(sum[r][2 * c], sum[r][2 * c + 1], sum[r + 1][2 * c], sum[r + 1][2 * c + 1], left, right[c]);
        }
    }

    // Line and column of the lane's q-th of 8 x 32 elements, of which `run` columns follow each other in memory, and behind them those of
    // the next line.
    static __device__ __forceinline__ int narrow_line(int q, int run) { return (q * 32 + lane_number()) / run % 8; }
    static __device__ __forceinline__ int narrow_column(int q, int run) {
        int e = q * 32 + lane_number();
        return e / run / 8 * run + e % run;
    }

    // Calls store(i, j, start(i, j) + sum) for every element of C [m, n] that lies in the tile. The sums go through shared memory, so that
    // neighbouring lanes have neighbours in memory: columns of a row, and where C is narrower than a warp, the same `run` columns of row
    // after row. One element at a time: with more reads under way, a lane would need more registers.
    template <class Start, class Store>
    __device__ __forceinline__ void each(int m, int n, int run, Start start, Store store) const {
        // Lanes that write rows and lanes that read columns meet no bank conflict.
        constexpr int PITCH = 32 + 4 * SIDE_COLUMNS;
        int lane = lane_number();
        float *lines = memory() + threadIdx.x / 32 * 8 * PITCH;
        int first = first_row(n) + warp_row(), column_0 = first_column(n) + warp_column();
        bool narrow = n < 32;
        __syncthreads();
#pragma unroll 1
        for (int r = 0; r < ROWS; r++) {
            // Registers have no index: the r-th row is found by comparing.
#pragma unroll
            for (int q = 0; q < ROWS; q++) {
                if (q != r) continue;
#pragma unroll
                for (int c = 0; c < 8; c += SIDE_COLUMNS) {
                    put_shared<SIDE_COLUMNS>(lines + lane / 4 * PITCH + column(c), sum[q] + c);
                }
            }
            __syncwarp();
            int i = first + row(r, 0);
#pragma unroll 1
            for (int q = 0; q < 8; q++) {
                int line = narrow ? narrow_line(q, run) : q, j = narrow ? narrow_column(q, run) : lane;
                int at_row = i + line * SIDE_ROWS, at_column = column_0 + j;
                if (at_row < m && at_column < n) {
                    store(at_row, at_column, start(at_row, at_column) + lines[line * PITCH + j]);
                }
            }
            __syncwarp();
        }
    }
};

// A sum that is cut into parts, because its result has few tiles: `each` terms a part, blockIdx.z says which. With several parts each is
// written to its own matrix of `partial`, and add_rows (linear.cu) adds them up in order; with one, `partial` is null and it is added to d.
struct Parts {
    float *d, *partial;
    int terms, each;

    __device__ __forceinline__ int from() const { return blockIdx.z * each; }
    __device__ __forceinline__ int to() const { return min(from() + each, terms); }

    // Where element i of a result of `size` elements goes.
    __device__ __forceinline__ float *at(int size, int i) const { return partial ? partial + blockIdx.z * size + i : d + i; }

    template <class T>
    __device__ __forceinline__ void store(const T &tile, int m, int n) const {
        tile.each(
            m, n, n, [=](int i, int j) { return partial ? 0.0f : d[i * n + j]; },
            [=](int i, int j, float a) { *at(m * n, i * n + j) = a; });
    }
};
