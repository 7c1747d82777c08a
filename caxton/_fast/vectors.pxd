"""Dot products over rows of float32 and over their 8-bit codes: the loops that the compiler turns into SIMD.

Rule 1: no -ffast-math: vector types of the compiler, with as many sums side by side as keep the processor busy. The one thing that
they cannot say, a product of bytes summed in fours, is written in intrinsics for x86-64 beside the same in plain C.
Rule 2: on x86-64 each loop is built for several processors; which of them this is, is asked once, at import.
Rule 3: a row's score does not depend on which rows stand beside it: equal rows have equal scores, so that ties are ties.

`tests/oracles/vectors.py` is the specification.
"""

from libc.stdint cimport int8_t, int32_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>
    #if defined(__x86_64__) && defined(__GNUC__)
    #define CAXTON_X86 1
    #include <immintrin.h>
    #endif
    /* gcc at -O2 keeps in memory what a loop walks over */
    #if defined(__clang__)
    #define CAXTON_UNROLL
    #else
    #define CAXTON_UNROLL _Pragma("GCC unroll 4")
    #endif

    typedef float caxton_four __attribute__((vector_size(16)));
    /* buffers of float32 may begin at any byte */
    typedef float caxton_float __attribute__((aligned(1), may_alias));

    /* The scores of four rows, which share what is loaded of the query. */
    #define CAXTON_SCORES(NAME, ATTRIBUTES, LANES) \\
        typedef float NAME##_lanes __attribute__((vector_size(LANES * 4))); \\
        typedef float NAME##_loaded __attribute__((vector_size(LANES * 4), aligned(1), may_alias)); \\
        ATTRIBUTES static void NAME(const float *const *rows, const float *query, size_t dimensions, float *scores) { \\
            const float *row[4] = {rows[0], rows[1], rows[2], rows[3]}; \\
            NAME##_lanes sum[4] = {{0}}, more[4] = {{0}}; \\
            size_t j = 0; \\
            for (; j + 2 * LANES <= dimensions; j += 2 * LANES) { \\
                NAME##_lanes q = *(const NAME##_loaded *)(query + j), p = *(const NAME##_loaded *)(query + j + LANES); \\
                CAXTON_UNROLL for (int r = 0; r < 4; r++) { \\
                    sum[r] += q * *(const NAME##_loaded *)(row[r] + j); \\
                    more[r] += p * *(const NAME##_loaded *)(row[r] + j + LANES); \\
                } \\
            } \\
            if (j + LANES <= dimensions) { \\
                CAXTON_UNROLL for (int r = 0; r < 4; r++) \\
                    sum[r] += *(const NAME##_loaded *)(query + j) * *(const NAME##_loaded *)(row[r] + j); \\
                j += LANES; \\
            } \\
            CAXTON_UNROLL for (int r = 0; r < 4; r++) { \\
                union { NAME##_lanes whole; caxton_four part[LANES / 4]; } u; \\
                u.whole = sum[r] + more[r]; \\
                caxton_four four = u.part[0]; \\
                CAXTON_UNROLL for (int l = 1; l < LANES / 4; l++) four += u.part[l]; \\
                scores[r] = (four[0] + four[1]) + (four[2] + four[3]); \\
                for (size_t t = j; t < dimensions; t++) scores[r] += ((const caxton_float *)row[r])[t] * ((const caxton_float *)query)[t]; \\
            } \\
        }

    CAXTON_SCORES(caxton_scores_plain, , 4)

    /* Codes of 16 rows stand together, four of one row after four of the other: cells * 64 bytes. */
    static void caxton_sums_plain(const int8_t *codes, const int8_t *query, size_t cells, int32_t total, int32_t *sums) {
        (void)total;
        memset(sums, 0, 16 * sizeof *sums);
        for (size_t c = 0; c < cells; c++, codes += 64, query += 4)
            for (int r = 0; r < 16; r++)
                sums[r] += codes[4 * r] * query[0] + codes[4 * r + 1] * query[1] + codes[4 * r + 2] * query[2] + codes[4 * r + 3] * query[3];
    }

    #if defined(CAXTON_X86)
    CAXTON_SCORES(caxton_scores_avx2, __attribute__((target("avx2,fma"))), 8)
    CAXTON_SCORES(caxton_scores_avx512, __attribute__((target("avx512f,fma"))), 16)

    static inline int32_t caxton_cell(const int8_t *query) { int32_t v; memcpy(&v, query, 4); return v; }

    /* codes are within 127, so that two products fit into 16 bits */
    __attribute__((target("avx2")))
    static void caxton_sums_avx2(const int8_t *codes, const int8_t *query, size_t cells, int32_t total, int32_t *sums) {
        (void)total;
        __m256i low = _mm256_setzero_si256(), high = low, ones = _mm256_set1_epi16(1);
        for (size_t c = 0; c < cells; c++) {
            __m256i q = _mm256_set1_epi32(caxton_cell(query + 4 * c));
            __m256i a = _mm256_loadu_si256((const __m256i *)(codes + 64 * c)), b = _mm256_loadu_si256((const __m256i *)(codes + 64 * c + 32));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(q, a)), ones));
            high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(q, b)), ones));
        }
        _mm256_storeu_si256((__m256i *)sums, low);
        _mm256_storeu_si256((__m256i *)(sums + 8), high);
    }

    /* The instruction takes unsigned codes: 128 are added to each, and 128 times the query's total is taken off. */
    __attribute__((target("avx512f,avx512vnni")))
    static void caxton_sums_vnni(const int8_t *codes, const int8_t *query, size_t cells, int32_t total, int32_t *sums) {
        const __m512i half = _mm512_set1_epi32((int)0x80808080u);
        __m512i sum[4] = {_mm512_set1_epi32(-128 * total), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        for (size_t c = 0; c < cells; c += 4)   /* the stride is whole 16s */
            CAXTON_UNROLL for (int l = 0; l < 4; l++) {
                __m512i unsigned_codes = _mm512_xor_si512(_mm512_loadu_si512(codes + 64 * (c + l)), half);
                sum[l] = _mm512_dpbusd_epi32(sum[l], unsigned_codes, _mm512_set1_epi32(caxton_cell(query + 4 * (c + l))));
            }
        _mm512_storeu_si512(sums, _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3])));
    }
    #endif

    /* Plain loops over 16, which the compiler makes into what the processor of each build has. */
    #define CAXTON_INLINE static inline __attribute__((always_inline))

    /* A vector in 8 bits: value = scale * code + what is lost. */
    typedef struct {
        float scale;    /* 0: all zeros, or cannot be coded */
        float error;    /* the length of what is lost, and what rounding may add to a score; infinite where it cannot be coded */
        float length;   /* of the vector, at least */
        int32_t total;  /* of the codes */
    } caxton_coded_t;

    /* Codes *values*, filled up with zeros to whole 16s; each four codes stand *step* bytes after the four before. Only vectors whose
       greatest value is in the middle of float32's range are coded, so that no product or square leaves it; all others are for the caller. */
    CAXTON_INLINE caxton_coded_t caxton_encode_body(const float *values, size_t dimensions, int8_t *codes, size_t step) {
        caxton_coded_t coded = {0, 0, 0, 0};
        float most[16] = {0}, squares[16] = {0}, lost[16] = {0};
        int32_t totals[16] = {0};
        for (size_t j = 0; j < dimensions; j += 16)
            for (int l = 0; l < 16; l++) {
                float size = __builtin_fabsf(values[j + l]);
                most[l] = size > most[l] ? size : most[l];
                squares[l] += size * size;
            }
        for (int half = 8; half; half /= 2)
            for (int l = 0; l < half; l++) {
                most[l] = most[l + half] > most[l] ? most[l + half] : most[l];
                squares[l] += squares[l + half];
            }
        if (squares[0] == 0 && most[0] == 0) return coded;
        coded.error = __builtin_inff();
        if (!(squares[0] == squares[0] && most[0] >= 1e-12f && most[0] <= 1e12f)) return coded;
        coded.scale = most[0] / 127;
        const float steps = 1 / coded.scale, round = 12582912;  /* 1.5 * 2^23: what is added to it is rounded to a whole number */
        for (size_t j = 0; j < dimensions; j += 16) {
            int8_t some[16];
            for (int l = 0; l < 16; l++) {
                float whole = (values[j + l] * steps + round) - round, left = values[j + l] - coded.scale * whole;
                some[l] = (int8_t)(int32_t)whole;
                totals[l] += (int32_t)whole;
                lost[l] += left * left;
            }
            for (int l = 0; l < 4; l++) memcpy(codes + (j / 4 + l) * step, some + 4 * l, 4);
        }
        for (int half = 8; half; half /= 2)
            for (int l = 0; l < half; l++) {
                totals[l] += totals[l + half];
                lost[l] += lost[l + half];
            }
        coded.total = totals[0];
        coded.length = 1.001f * (__builtin_sqrtf(squares[0]) + __builtin_sqrtf(lost[0]));
        coded.error = 1.001f * __builtin_sqrtf(lost[0]) + (float)(dimensions + 64) * 0x1p-23f * coded.length;
        return coded;
    }

    /* What the scores of 16 rows are at most, the greatest of these, and the best four of what they are at least, each of another four rows. */
    CAXTON_INLINE float caxton_bounds_body(const int32_t *sums, const float *scale, const float *error, const float *length,
                                          const caxton_coded_t *query, float *restrict most, float *restrict least) {
        const float query_scale = query->scale, query_error = query->error, query_length = query->length;
        float low[16], best[4];
        for (int r = 0; r < 16; r++) {
            float about = (float)sums[r] * (scale[r] * query_scale), off = error[r] * query_length + length[r] * query_error;
            most[r] = about + off;
            low[r] = about - off;
        }
        for (int r = 0; r < 4; r++) {
            float a = low[r] > low[r + 4] ? low[r] : low[r + 4], b = low[r + 8] > low[r + 12] ? low[r + 8] : low[r + 12];
            least[r] = a > b ? a : b;
            float c = most[r] > most[r + 4] ? most[r] : most[r + 4], d = most[r + 8] > most[r + 12] ? most[r + 8] : most[r + 12];
            best[r] = c > d ? c : d;
        }
        float e = best[0] > best[1] ? best[0] : best[1], f = best[2] > best[3] ? best[2] : best[3];
        return e > f ? e : f;
    }

    #define CAXTON_CODES(SUFFIX, ATTRIBUTES) \\
        ATTRIBUTES static caxton_coded_t caxton_encode_##SUFFIX(const float *values, size_t dimensions, int8_t *codes, size_t step) { \\
            return caxton_encode_body(values, dimensions, codes, step); \\
        } \\
        ATTRIBUTES static float caxton_bounds_##SUFFIX(const int32_t *sums, const float *scale, const float *error, const float *length, \\
                                                      const caxton_coded_t *query, float *most, float *least) { \\
            return caxton_bounds_body(sums, scale, error, length, query, most, least); \\
        }
    CAXTON_CODES(plain, )
    #if defined(CAXTON_X86)
    CAXTON_CODES(avx2, __attribute__((target("avx2,fma"))))
    #endif

    static void (*caxton_scores)(const float *const *rows, const float *query, size_t dimensions, float *scores);
    static void (*caxton_sums)(const int8_t *codes, const int8_t *query, size_t cells, int32_t total, int32_t *sums);
    static caxton_coded_t (*caxton_encode)(const float *values, size_t dimensions, int8_t *codes, size_t step);
    static float (*caxton_bounds)(const int32_t *sums, const float *scale, const float *error, const float *length,
                                 const caxton_coded_t *query, float *most, float *least);

    /* 0: plain, 1: AVX2, 2: AVX-512; at most what is asked for and what the processor has */
    static int caxton_choose(int most) {
        int level = 0;
        caxton_scores = caxton_scores_plain;
        caxton_sums = caxton_sums_plain;
        caxton_encode = caxton_encode_plain;
        caxton_bounds = caxton_bounds_plain;
    #if defined(CAXTON_X86)
        __builtin_cpu_init();
        if (most >= 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            level = 1;
            caxton_scores = caxton_scores_avx2;
            caxton_sums = caxton_sums_avx2;
            caxton_encode = caxton_encode_avx2;
            caxton_bounds = caxton_bounds_avx2;
            if (most >= 2 && __builtin_cpu_supports("avx512f")) {
                level = 2;
                caxton_scores = caxton_scores_avx512;
                if (__builtin_cpu_supports("avx512vnni")) caxton_sums = caxton_sums_vnni;
            }
        }
    #endif
        return level;
    }

    static void caxton_divide(float *values, size_t dimensions, double length) {
        caxton_float *value = values;
        for (size_t j = 0; j < dimensions; j++) value[j] = (float)(value[j] / length);
    }

    static inline void caxton_prefetch(const float *values, size_t count) {
        for (size_t j = 0; j < count; j += 16) __builtin_prefetch(values + j);
    }

    /* a . b, a . a and b . b */
    static void caxton_pair(const float *first, const float *second, size_t dimensions, double *products) {
        const caxton_float *a = first, *b = second;
        double ab[4] = {0}, aa[4] = {0}, bb[4] = {0};
        for (size_t j = 0; j < dimensions; j += 4)
            for (size_t l = 0; l < 4 && j + l < dimensions; l++) {
                double x = a[j + l], y = b[j + l];
                ab[l] += x * y;
                aa[l] += x * x;
                bb[l] += y * y;
            }
        products[0] = (ab[0] + ab[1]) + (ab[2] + ab[3]);
        products[1] = (aa[0] + aa[1]) + (aa[2] + aa[3]);
        products[2] = (bb[0] + bb[1]) + (bb[2] + bb[3]);
    }
    """
    int choose "caxton_choose"(int most) noexcept nogil
    void score_four "caxton_scores"(const float** rows, const float* query, size_t dimensions, float* scores) noexcept nogil
    void sum_codes "caxton_sums"(const int8_t* codes, const int8_t* query, size_t cells, int32_t total, int32_t* sums) noexcept nogil
    ctypedef struct coded_t "caxton_coded_t":
        float scale
        float error
        float length
        int32_t total

    float bounds "caxton_bounds"(
        const int32_t* sums, const float* scale, const float* error, const float* length, const coded_t* query, float* most, float* least,
    ) noexcept nogil
    coded_t encode "caxton_encode"(const float* values, size_t dimensions, int8_t* codes, size_t step) noexcept nogil
    void divide "caxton_divide"(float* values, size_t dimensions, double length) noexcept nogil
    void prefetch "caxton_prefetch"(const float* values, size_t count) noexcept nogil
    void pair "caxton_pair"(const float* a, const float* b, size_t dimensions, double* products) noexcept nogil

cdef enum:
    LANES = 16              # rows whose codes stand together
    GROUPS = 64
    TILE = 1024             # rows, GROUPS * LANES, that are bounded before the best of them are scored
    MOST_DIMENSIONS = 65536 # so that sums of codes fit into 32 bits

ctypedef struct hit_t:
    float score
    Py_ssize_t index

# the best so far, the worst of them at the root: a lower score, or the same one in a later row
ctypedef struct best_t:
    hit_t* hits
    Py_ssize_t count
    Py_ssize_t bound

# rows that wait to be scored together
ctypedef struct four_t:
    const float* rows[4]
    Py_ssize_t indices[4]
    int count

cdef class Block:
    cdef readonly Py_ssize_t dimensions
    cdef Py_ssize_t count
    cdef Py_ssize_t stride  # floats from row to row: whole cache lines, filled up with zeros
    cdef Py_ssize_t groups
    cdef float* rows
    cdef int8_t* codes      # by groups of LANES rows
    cdef float* scales
    cdef float* errors
    cdef float* lengths

    cdef void prepare(self, const float* rows) noexcept nogil
    # *codes* is room for those of the query, *floor* for what the best scores are at least
    cdef void search(self, const float* query, int8_t* codes, best_t* floor, best_t* best) noexcept nogil
