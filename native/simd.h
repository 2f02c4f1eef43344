// Sixteen lanes of float and int32 in one type, on every instruction set.
//
// The code is written once with the compiler's portable vectors; AVX-512 gets intrinsics for the few
// operations that need mask registers. Clang splits the 64-byte vectors where registers are narrower.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace CHRONOSPLAT_ISA {

typedef float vfloat __attribute__((vector_size(64)));
typedef int32_t vint __attribute__((vector_size(64)));
typedef float vfloat8 __attribute__((vector_size(32)));
typedef int32_t vint8 __attribute__((vector_size(32)));
typedef float vfloat4 __attribute__((vector_size(16)));

INLINE vfloat splat(float x) { return vfloat{} + x; }
template <class T> INLINE T lower(T a, T b) { return a < b ? a : b; }
template <class T> INLINE T upper(T a, T b) { return a > b ? a : b; }

#if defined(__AVX512F__)
typedef __mmask16 vmask;
// Ordered comparisons: a NaN fails them all, which is how NaN is culled.
INLINE vmask at_least(vfloat a, vfloat b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
INLINE vmask above(vfloat a, vfloat b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
INLINE vfloat keep(vmask m, vfloat a) { return (vfloat)_mm512_maskz_mov_ps(m, (__m512)a); }
INLINE vfloat pick(vmask m, vfloat a, vfloat b) { return (vfloat)_mm512_mask_mov_ps((__m512)b, m, (__m512)a); }
INLINE uint32_t bits(vmask m) { return m; }
INLINE bool any(vmask m) { return m != 0; }
INLINE vmask all_lanes() { return 0xffff; }
INLINE vfloat root(vfloat a) { return (vfloat)_mm512_sqrt_ps((__m512)a); }
INLINE vfloat8 root(vfloat8 a) { return (vfloat8)_mm256_sqrt_ps((__m256)a); }
INLINE vfloat reciprocal(vfloat a) {  // one Newton step: 2^-27
    vfloat r = (vfloat)_mm512_rcp14_ps((__m512)a);
    return r * (2.f - a * r);
}
INLINE uint64_t pack_bytes(vint8 m) { return (uint64_t)_mm_cvtsi128_si64(_mm256_cvtepi32_epi8((__m256i)m)); }
#else
typedef vint vmask;
INLINE vmask at_least(vfloat a, vfloat b) { return a >= b; }
INLINE vmask above(vfloat a, vfloat b) { return a > b; }
INLINE vfloat keep(vmask m, vfloat a) { return (vfloat)((vint)a & m); }
INLINE vfloat pick(vmask m, vfloat a, vfloat b) { return m ? a : b; }
INLINE bool any(vmask m) {
    typedef long long v8 __attribute__((vector_size(64)));
    v8 q = (v8)m;
    return (q[0] | q[1] | q[2] | q[3] | q[4] | q[5] | q[6] | q[7]) != 0;
}
INLINE uint32_t bits(vmask m) {
    uint32_t r = 0;
    for (int i = 0; i < 16; i++) r |= (uint32_t)(m[i] & 1) << i;
    return r;
}
INLINE vmask all_lanes() { return ~vint{}; }
INLINE vfloat root(vfloat a) {
    for (int i = 0; i < 16; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vfloat8 root(vfloat8 a) {
    for (int i = 0; i < 8; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE vfloat reciprocal(vfloat a) { return 1.f / a; }
INLINE uint64_t pack_bytes(vint8 m) {
    uint64_t r = 0;
    for (int i = 0; i < 8; i++) r |= (uint64_t)(uint32_t)m[i] << (8 * i);
    return r;
}
#endif

// 2^e for -126 < e <= 0 (lanes outside are garbage and must be masked): degree-5 minimax on the fraction, error 8e-8.
INLINE vfloat exp2_nonpositive(vfloat e) {
    vint n = __builtin_convertvector(e, vint);
    vfloat f = e - __builtin_convertvector(n, vfloat);
    vfloat p = splat(0.000944903657f);
    p = p * f + 0.00920579818f;
    p = p * f + 0.0552973582f;
    p = p * f + 0.240180143f;
    p = p * f + 0.693143721f;
    p = p * f + 1.0f;
    return (vfloat)((vint)p + (n << 23));
}

// log2(x) for positive normal x, by the series of atanh on [sqrt(1/2), sqrt(2)).
INLINE vfloat log2_positive(vfloat x) {
    vint i = (vint)x, exponent = (i - 0x3f3504f3) >> 23;
    vfloat m = (vfloat)(i - (exponent << 23)), t = (m - 1.f) / (m + 1.f), t2 = t * t;
    vfloat series = ((((1.f / 9) * t2 + 1.f / 7) * t2 + 1.f / 5) * t2 + 1.f / 3) * t2 + 1.f;
    return __builtin_convertvector(exponent, vfloat) + 2.8853900817779268f * t * series;
}

// Sums over lanes of ten vectors at once; lane k of the result is the sum of v[k].
INLINE vfloat lane_sums(const vfloat v[10]) {
#define FOLD8(a, b) \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) + \
     __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31))
#define FOLD4(a, b) \
    (__builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) + \
     __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31))
#define FOLD2(a, b) \
    (__builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) + \
     __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31))
#define FOLD1(a, b) \
    (__builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) + \
     __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31))
    vfloat ab = FOLD8(v[0], v[1]), cd = FOLD8(v[2], v[3]), ef = FOLD8(v[4], v[5]), gh = FOLD8(v[6], v[7]);
    vfloat ij = FOLD8(v[8], v[9]), none = vfloat{};
    vfloat abcd = FOLD4(ab, cd), efgh = FOLD4(ef, gh), ij4 = FOLD4(ij, none);
    vfloat a_to_h = FOLD2(abcd, efgh), ij2 = FOLD2(ij4, none);
    return FOLD1(a_to_h, ij2);
#undef FOLD8
#undef FOLD4
#undef FOLD2
#undef FOLD1
}

// Sixteen rows of K floats (array of structs) into K vectors; missing rows read as zero.
template <int K> INLINE void load_rows(const float* p, int n, vfloat out[K]) {
    alignas(64) float t[K][16];
    memset(t, 0, sizeof t);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < K; k++) t[k][i] = p[i * K + k];
    for (int k = 0; k < K; k++) out[k] = *(const vfloat*)t[k];
}

template <int K> INLINE void store_rows(const vfloat in[K], int n, float* p) {
    alignas(64) float t[K][16];
    for (int k = 0; k < K; k++) *(vfloat*)t[k] = in[k];
    for (int i = 0; i < n; i++)
        for (int k = 0; k < K; k++) p[i * K + k] = t[k][i];
}

}  // namespace CHRONOSPLAT_ISA
