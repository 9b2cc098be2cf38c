// How the operands of a product come to shared memory: in pieces of DEPTH along the sum, by asynchronous copies, always as f32.

// Sides of a tile, and what is multiplied: options of the compiler. The launch takes the tile that its shape fills.
#ifndef TILE_ROWS
#define TILE_ROWS 64
#define TILE_COLUMNS 64
#endif
#ifndef PRECISION
#define PRECISION F32
#endif
enum Precision { F32, TF32, BF16 };

constexpr int DEPTH = 16;
// Elements of the operands' pieces, [SIDE, DEPTH] with SIDE of the tile.
constexpr int PIECE_A = TILE_ROWS * DEPTH, PIECE_B = TILE_COLUMNS * DEPTH;

// N numbers that are read or written in one access.
template <int N>
struct alignas(4 * N) Floats {
    float at[N];
};

// A matrix X [rows, k]: element (i, k) is from[at(i, k)], or 0 where at is negative. `run` elements of it, in the direction in which they
// are neighbours in memory, always lie side by side, so that four of them can be copied at once if their number and their address allow it.
template <class At>
struct Operand {
    const float *from;
    bool by_four;
    At at;

    __device__ __forceinline__ Operand(const float *from, int run, At at)
        : from(from), by_four(run % 4 == 0 && (unsigned long long)from % 16 == 0), at(at) {}
};

// Where element (i, k) of a piece stands. ALONG_K: elements that follow each other in k are neighbours, in global memory and here.
// Four of them stay together; which four stand where is permuted, so that neither copies nor reads of a warp meet a bank conflict.
template <bool ALONG_K, int SIDE>
__device__ __forceinline__ int place(int i, int k) {
    return ALONG_K ? i * DEPTH + (k / 4 ^ i / 2 % 4) * 4 + k % 4 : k * SIDE + (i ^ k % 4 * 8);
}

// Writes N neighbours to shared memory in one access: left to the compiler, it may become N.
template <int N>
__device__ __forceinline__ void put_shared(float *to, const float *x) {
    unsigned at = (unsigned)__cvta_generic_to_shared(to);
    if constexpr (N == 4) {
        asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
    } else if constexpr (N == 2) {
        asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x[0]), "f"(x[1]) : "memory");
    } else {
        *to = *x;
    }
}

// Begins to copy N floats, or to write as many zeros.
template <int N>
__device__ __forceinline__ void copy_async(float *to, const float *from, bool there) {
    unsigned shared = (unsigned)__cvta_generic_to_shared(to), bytes = there ? 4 * N : 0;
    unsigned long long global = __cvta_generic_to_global(from);
    if constexpr (N == 4) {
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
    } else {
        asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared), "l"(global), "r"(bytes) : "memory");
    }
}

// Ends a group of copies of this thread.
__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most PENDING groups of this thread are under way.
template <int PENDING>
__device__ __forceinline__ void wait_for_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
}

// Begins to copy the rows from `first` on and the depths from `from` on, N neighbours at once; beyond `rows` and `to` there are zeros.
// Neighbouring lanes copy neighbours in memory.
template <int N, bool ALONG_K, int SIDE, class At>
__device__ __forceinline__ void fetch_by(float *piece, const Operand<At> &x, int first, int rows, int from, int to) {
    constexpr int PIECE = SIDE * DEPTH, STEP = 256 * N, LINE = ALONG_K ? DEPTH : SIDE;
    // One of the two indices is the same for all copies of a lane, and so is what is computed from it.
    int same = threadIdx.x * N % LINE, other = threadIdx.x * N / LINE;
    if (PIECE < STEP && threadIdx.x * N >= PIECE) return;
    // Places of single copies are not all held in registers at once.
#pragma unroll(N == 4 ? 2 : 1)
    for (int r = 0; r < (PIECE + STEP - 1) / STEP; r++) {
        int i = ALONG_K ? other : same, k = ALONG_K ? same : other;
        int at = first + i < rows && from + k < to ? x.at(first + i, from + k) : -1;
        copy_async<N>(piece + place<ALONG_K, SIDE>(i, k), x.from + max(at, 0), at >= 0);
        other += STEP / LINE;
    }
}

template <bool ALONG_K, int SIDE, class At>
__device__ __forceinline__ void fetch(float *piece, const Operand<At> &x, int first, int rows, int from, int to) {
    if (x.by_four) {
        fetch_by<4, ALONG_K, SIDE>(piece, x, first, rows, from, to);
    } else {
        fetch_by<1, ALONG_K, SIDE>(piece, x, first, rows, from, to);
    }
}
