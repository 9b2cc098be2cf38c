// A scan in one launch: see src/autodiff/cuda_rollout.rs. A block takes a few rows through all launches that stand in a table, one after the
// other. No block waits for another: what a launch does with a row depends on that row, and on weights, which do not change meanwhile.
// Between two launches the block waits for its own threads; what one has written to global memory the others then see. So no pointer here
// may be declared `__restrict__`, and nothing read through the cache for constants.

#include "activation.cu"
#include "gaussian.cu"
#include "gru_cell.cu"
#include "norm.cu"
#include "norm_gru_cell.cu"
#include "outer.cu"
#include "pointwise.cu"
#include "sample_onehot.cu"
#include "sample_tanh_normal.cu"
#include "silu.cu"
#include "unimix.cu"

// What a table may hold, in the order of `KNOWN` of src/autodiff/cuda_rollout.rs.
enum Known {
    LINEAR_FORWARD,
    LINEAR_BACKWARD_INPUT,
    ACTIVATION_FORWARD,
    ACTIVATION_BACKWARD,
    ACTIVATION_DIFFERENTIATE,
    GAUSSIAN_FORWARD,
    GAUSSIAN_BACKWARD,
    GRU_CELL_FORWARD,
    GRU_CELL_BACKWARD,
    SUM_FORWARD,
    SUM_BACKWARD,
    MASK_FORWARD,
    MASK_BACKWARD,
    FILL,
    SAMPLE_ONEHOT_FORWARD,
    SAMPLE_ONEHOT_BACKWARD,
    SAMPLE_TANH_NORMAL_FORWARD,
    SAMPLE_TANH_NORMAL_BACKWARD,
    NORM_FORWARD,
    NORM_BACKWARD,
    NORM_GRU_CELL_FORWARD,
    NORM_GRU_CELL_BACKWARD,
    OUTER_FORWARD,
    OUTER_BACKWARD_X,
    OUTER_BACKWARD_A,
    SILU_FORWARD,
    SILU_BACKWARD,
    UNIMIX_FORWARD,
    UNIMIX_BACKWARD
};

// Words of a launch in the table: which of the above, elements of a row, arguments in the order of the kernel.
static constexpr int WORDS = 20;

// ---- Arguments.

template <class T>
__device__ __forceinline__ T argument(unsigned long long word) { return (T)word; }
template <>
__device__ __forceinline__ float argument<float>(unsigned long long word) { return __uint_as_float((unsigned)word); }

// The numbers 0 .. N - 1 as a list of template arguments: Count<N>::All.
template <int... I>
struct Places {};
template <int N, int... I>
struct Count : Count<N - 1, N - 1, I...> {};
template <int... I>
struct Count<0, I...> {
    using All = Places<I...>;
};

// Calls BODY(i, arguments from the table ...) for every `by`th i.
template <auto BODY, class... A, int... I>
__device__ __forceinline__ void each(void (*)(int, A...), Places<I...>, const unsigned long long *words, int from,
                                     int end, int by) {
    auto run = [=](A... arguments) {
        for (int i = from; i < end; i += by) BODY(i, arguments...);
    };
    run(argument<A>(words[I])...);
}

// ---- A product of few rows.

// `first` rows [m, k] of one tensor of a list, and its weights [k, n].
struct Part {
    const float *x, *w;
    int k;
};

// A row in shared memory is this much longer than k, with zeros: a thread goes through it 16 at a time.
__device__ __forceinline__ int padded(int k) { return (k + 15) / 16 * 16; }

// sum_p x_p w_p for the rows first .. first + m of the block. Calls part(p) for p = 0, 1, ... until k is 0, at most four times, then store(i, j, sum) for
// every element. The rows of x are in shared memory, weights go from the second-level cache straight to the threads. One warp has
// 4 rows of 32 columns, and warps that follow each other have the same columns, so that a multiprocessor fetches its weights once.
// The sum over k runs in order, as in `Tile`, and so has its bits.
template <class Parts, class Store>
__device__ __forceinline__ void product(int first, int m, int n, Parts part, Store store) {
    extern __shared__ float4 staged[];
    const int groups = (m + 3) / 4;
    int pitch = 0;
    for (int p = 0; p < 4; p++) pitch += padded(part(p).k);
    float *rows = (float *)staged;
    int column = 0;
    for (int p = 0; p < 4; p++) {
        const Part at = part(p);
        const int width = padded(at.k);
        for (int e = threadIdx.x; e < 4 * groups * width; e += blockDim.x) {
            int i = e / width, d = e % width;
            rows[i * pitch + column + d] = i < m && d < at.k ? at.x[(first + i) * at.k + d] : 0.0f;
        }
        column += width;
    }
    __syncthreads();
    for (int unit = threadIdx.x / 32; unit < groups * ((n + 31) / 32); unit += blockDim.x / 32) {
        const int group = unit % groups, j = unit / groups * 32 + lane_number();
        const float4 *x = staged + group * pitch;
        float sum[4] = {};
        for (int p = 0; p < 4; p++) {
            const Part at = part(p);
            if (at.k == 0) break;
            for (int from = 0; from < at.k; from += 16, x += 4) {
                float w[16];
#pragma unroll
                for (int d = 0; d < 16; d++) w[d] = j < n && from + d < at.k ? at.w[(from + d) * n + j] : 0.0f;
#pragma unroll
                for (int q = 0; q < 4; q++)
#pragma unroll
                    for (int r = 0; r < 4; r++) {
                        float4 four = x[r * pitch / 4 + q];
                        sum[r] += four.x * w[4 * q];
                        sum[r] += four.y * w[4 * q + 1];
                        sum[r] += four.z * w[4 * q + 2];
                        sum[r] += four.w * w[4 * q + 3];
                    }
            }
        }
        if (j < n)
#pragma unroll
            for (int r = 0; r < 4; r++)
                if (4 * group + r < m) store(first + 4 * group + r, j, sum[r]);
    }
}

// ---- One launch of the table, for the rows first .. end.

struct Entry {
    const unsigned long long *words;
    int first, end;

    template <class T>
    __device__ __forceinline__ T at(int number) const { return argument<T>(words[2 + number]); }

    // Every thread has elements.
    template <auto BODY>
    __device__ __forceinline__ void threads() const { spread<BODY>(BODY, threadIdx.x, blockDim.x); }

    // Every warp has elements.
    template <auto BODY>
    __device__ __forceinline__ void warps() const { spread<BODY>(BODY, threadIdx.x / 32, blockDim.x / 32); }

    template <auto BODY, class... A>
    __device__ __forceinline__ void spread(void (*body)(int, A...), int number, int by) const {
        const int row = (int)words[1];
        each<BODY>(body, typename Count<sizeof...(A)>::All(), words + 2, first * row + number, end * row, by);
    }

    // (L1) (L2), with the arguments of `linear_forward`.
    __device__ __forceinline__ void linear_forward() const {
        float *y = at<float *>(0);
        const float *add = at<const float *>(5), *b = at<const float *>(10);
        const int n = at<int>(12), f = at<int>(17);
        auto part = [=](int p) { return Part{at<const float *>(1 + p), at<const float *>(6 + p), at<int>(13 + p)}; };
        product(first, end - first, n, part, [=](int i, int j, float a) {
            a += (b ? b[j] : 0.0f) + (add ? add[i * n + j] : 0.0f);
            y[i * n + j] = activate(f, a);
        });
    }

    // (L4), with the arguments of `linear_backward_input`, but for the weights: they are transposed, [n, k].
    __device__ __forceinline__ void linear_backward_input() const {
        float *dx = at<float *>(0);
        const int n = at<int>(4), k = at<int>(5);
        auto part = [=](int p) { return Part{at<const float *>(1), at<const float *>(2), p == 0 ? n : 0}; };
        product(first, end - first, k, part, [=](int i, int j, float sum) { dx[i * k + j] += sum; });
    }
};

// table [launches, WORDS]. A block has `tile` rows, and shared memory for as many of the widest product.
extern "C" __global__ void __launch_bounds__(512)
rollout(const unsigned long long *table, int launches, int rows, int tile) {
    const int first = blockIdx.x * tile, end = min(first + tile, rows);
    for (int number = 0; number < launches; number++) {
        const Entry entry{table + number * WORDS, first, end};
        switch ((int)entry.words[0]) {
            case LINEAR_FORWARD: entry.linear_forward(); break;
            case LINEAR_BACKWARD_INPUT: entry.linear_backward_input(); break;
            case ACTIVATION_FORWARD: entry.threads<activation_forward_at>(); break;
            case ACTIVATION_BACKWARD: entry.threads<activation_backward_at>(); break;
            case ACTIVATION_DIFFERENTIATE: entry.threads<activation_differentiate_at>(); break;
            case GAUSSIAN_FORWARD: entry.threads<gaussian_forward_at>(); break;
            case GAUSSIAN_BACKWARD: entry.threads<gaussian_backward_at>(); break;
            case GRU_CELL_FORWARD: entry.threads<gru_cell_forward_at>(); break;
            case GRU_CELL_BACKWARD: entry.threads<gru_cell_backward_at>(); break;
            case SUM_FORWARD: entry.threads<sum_forward_at>(); break;
            case SUM_BACKWARD: entry.threads<sum_backward_at>(); break;
            case MASK_FORWARD: entry.threads<mask_forward_at>(); break;
            case MASK_BACKWARD: entry.threads<mask_backward_at>(); break;
            case FILL: entry.threads<fill_at>(); break;
            case SAMPLE_ONEHOT_FORWARD: entry.warps<sample_onehot_forward_at>(); break;
            case SAMPLE_ONEHOT_BACKWARD: entry.warps<sample_onehot_backward_at>(); break;
            case SAMPLE_TANH_NORMAL_FORWARD: entry.threads<sample_tanh_normal_forward_at>(); break;
            case SAMPLE_TANH_NORMAL_BACKWARD: entry.threads<sample_tanh_normal_backward_at>(); break;
            case NORM_FORWARD: entry.warps<norm_forward_at>(); break;
            case NORM_BACKWARD: entry.warps<norm_backward_at>(); break;
            case NORM_GRU_CELL_FORWARD: entry.threads<norm_gru_cell_forward_at>(); break;
            case NORM_GRU_CELL_BACKWARD: entry.threads<norm_gru_cell_backward_at>(); break;
            case OUTER_FORWARD: entry.threads<outer_forward_at>(); break;
            case OUTER_BACKWARD_X: entry.threads<outer_backward_x_at>(); break;
            case OUTER_BACKWARD_A: entry.threads<outer_backward_a_at>(); break;
            case SILU_FORWARD: entry.threads<silu_forward_at>(); break;
            case SILU_BACKWARD: entry.threads<silu_backward_at>(); break;
            case UNIMIX_FORWARD: entry.warps<unimix_forward_at>(); break;
            case UNIMIX_BACKWARD: entry.warps<unimix_backward_at>(); break;
        }
        __syncthreads();
    }
}

// Transposes matrices of a table [matrices, 4] of (from, to, k, n): from [k, n], to [n, k]. The block (x, y) has the tile x of 32 x 32 of matrix y.
extern "C" __global__ void __launch_bounds__(256) rollout_transpose(const unsigned long long *table) {
    __shared__ float tile[32][33];
    const unsigned long long *matrix = table + 4 * blockIdx.y;
    const float *from = argument<const float *>(matrix[0]);
    float *to = argument<float *>(matrix[1]);
    const int k = (int)matrix[2], n = (int)matrix[3], across = (n + 31) / 32;
    const int row = blockIdx.x / across * 32, column = blockIdx.x % across * 32;
    const int lane = lane_number(), warp = threadIdx.x / 32;
    for (int r = warp; r < 32; r += 8)
        if (row + r < k && column + lane < n) tile[r][lane] = from[(row + r) * n + column + lane];
    __syncthreads();
    for (int r = warp; r < 32; r += 8)
        if (column + r < n && row + lane < k) to[(column + r) * k + row + lane] = tile[lane][r];
}
