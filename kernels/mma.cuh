// Tensor cores: what a warp multiplies at a time, 16 x 8 elements of C. Fragments are those of the PTX ISA, "Matrix fragments for
// mma.m16n8k8" and "... mma.m16n8k16". In the layout of both results, this lane has elements (g, 2t), (g, 2t + 1), (g + 8, 2t) and (g + 8, 2t + 1)
// with g = lane / 4 and t = lane % 4.

// Rounds to the nearest number of 10 bits behind the point; ties go away from zero.
__device__ __forceinline__ unsigned to_tf32(float x) {
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

// Rounds two numbers to the nearest bf16, ties to even: the first in the lower half.
__device__ __forceinline__ unsigned to_bf16(float low, float high) {
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
}

// C += A B, A [16, 8], B [8, 8] in tf32.
__device__ __forceinline__ void mma_tf32(float &c0, float &c1, float &c2, float &c3, const unsigned (&a)[4],
                                         const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// C += A B, A [16, 16], B [16, 8] in bf16.
__device__ __forceinline__ void mma_bf16(float &c0, float &c1, float &c2, float &c3, const unsigned (&a)[4],
                                         const unsigned (&b)[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c0), "+f"(c1), "+f"(c2), "+f"(c3)
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// A piece in bf16: where element (i, k) of it stands, in units of 16 bits. Eight that are neighbours stay together, as ldmatrix wants them;
// which eight stand where is permuted, so that it meets no bank conflict.
template <bool ALONG_K, int SIDE>
__device__ __forceinline__ int place_bf16(int i, int k) {
    // Two lines of 32 stand where one of 64 would.
    int turn = SIDE < 64 ? k / 2 % 4 : k % 8;
    return ALONG_K ? i * DEPTH + (k / 8 ^ i / 4 % 2) * 8 + k % 8 : k * SIDE + (i / 8 ^ turn) * 8 + i % 8;
}

// Rounds a piece of f32 to bf16.
template <bool ALONG_K, int SIDE>
__device__ __forceinline__ void round_piece(unsigned short *to, const float *from) {
    constexpr int PIECE = SIDE * DEPTH;
#pragma unroll
    for (int r = 0; r < (PIECE + 1023) / 1024; r++) {
        int e = (threadIdx.x + 256 * r) * 4;
        if (PIECE < 1024 && e >= PIECE) return;
        int i = ALONG_K ? e / DEPTH : e % SIDE, k = ALONG_K ? e % DEPTH : e / SIDE;
        float4 x = *(const float4 *)(from + place<ALONG_K, SIDE>(i, k));
        *(uint2 *)(to + place_bf16<ALONG_K, SIDE>(i, k)) = make_uint2(to_bf16(x.x, x.y), to_bf16(x.z, x.w));
    }
}

// Four matrices of 8 x 8 elements of a piece in bf16: those at rows i and i + 8, each at depths 0 and 8. `rows_first` says which comes second.
// Lanes 8 m to 8 m + 7 name the lines of matrix m. Lines along i are transposed on the way.
template <bool ALONG_K, int SIDE>
__device__ __forceinline__ void load_matrices(unsigned (&out)[4], const unsigned short *piece, int i, bool rows_first) {
    int line = lane_number() % 8, first = lane_number() / 8 % 2 * 8, second = lane_number() / 16 * 8;
    int row = i + (rows_first ? first : second), k = rows_first ? second : first;
    const unsigned short *from = piece + (ALONG_K ? place_bf16<true, SIDE>(row + line, k) : place_bf16<false, SIDE>(row, k + line));
    unsigned at = (unsigned)__cvta_generic_to_shared(from);
    if constexpr (ALONG_K) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3]) : "r"(at) : "memory");
    }
}
