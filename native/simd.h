// Vectors of float and int32 as wide as the instruction set's registers: 16, 8 or 4 lanes.
//
// Code uses the compiler's portable vectors; intrinsics are needed only where masks differ.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

namespace CHRONOSPLAT_ISA {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float vfloat __attribute__((vector_size(4 * LANES)));
typedef int32_t vint __attribute__((vector_size(4 * LANES)));
typedef float vfloat8 __attribute__((vector_size(32)));
typedef int32_t vint8 __attribute__((vector_size(32)));
typedef float vfloat4 __attribute__((vector_size(16)));

INLINE vfloat splat(float x) { return vfloat{} + x; }
INLINE vfloat load(const float* p) { return *(const vfloat*)p; }
INLINE void store(float* p, vfloat a) { *(vfloat*)p = a; }
template <class T> INLINE T lower(T a, T b) { return a < b ? a : b; }
template <class T> INLINE T upper(T a, T b) { return a > b ? a : b; }
template <class T> INLINE T root(T a) { return __builtin_elementwise_sqrt(a); }

// Ordered comparisons: NaN fails all of them, and so is culled.
#if defined(__AVX512F__)
typedef __mmask16 vmask;
INLINE vmask at_least(vfloat a, vfloat b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GE_OQ); }
INLINE vmask above(vfloat a, vfloat b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_GT_OQ); }
INLINE vfloat keep(vmask m, vfloat a) { return (vfloat)_mm512_maskz_mov_ps(m, (__m512)a); }
INLINE vfloat pick(vmask m, vfloat a, vfloat b) { return (vfloat)_mm512_mask_mov_ps((__m512)b, m, (__m512)a); }
INLINE uint32_t bits(vmask m) { return m; }
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
#if defined(__AVX2__)
INLINE uint32_t bits(vmask m) { return (uint32_t)_mm256_movemask_ps((__m256)m); }
INLINE vfloat reciprocal(vfloat a) {  // one Newton step: 2^-22
    vfloat r = (vfloat)_mm256_rcp_ps((__m256)a);
    return r * (2.f - a * r);
}
#elif defined(__SSE2__)
INLINE uint32_t bits(vmask m) { return (uint32_t)_mm_movemask_ps((__m128)m); }
INLINE vfloat reciprocal(vfloat a) { return 1.f / a; }
#else
INLINE uint32_t bits(vmask m) { return (m[0] & 1) | (m[1] & 2) | (m[2] & 4) | (m[3] & 8); }
INLINE vfloat reciprocal(vfloat a) { return 1.f / a; }
#endif
// The low bytes of eight lanes; lanes hold 0..255.
INLINE uint64_t pack_bytes(vint8 m) {
    typedef int16_t vshort8 __attribute__((vector_size(16)));
    typedef int8_t vbyte8 __attribute__((vector_size(8)));
    vbyte8 bytes = __builtin_convertvector(__builtin_convertvector(m, vshort8), vbyte8);
    uint64_t r;
    memcpy(&r, &bytes, 8);
    return r;
}
#endif
// Square root, or up to 0.1 % more.
INLINE vfloat8 root_or_more(vfloat8 a) {
#if defined(__AVX__)
    return a * ((vfloat8)_mm256_rsqrt_ps((__m256)upper(a, vfloat8{} + 1e-30f)) * 1.0005f);  // good to 2^-11
#else
    return root(a);
#endif
}
INLINE bool any(vmask m) { return bits(m) != 0; }

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

// Sums over lanes of twelve vectors at once: out[k] is the sum of v[k]. Pairwise, always in the same order.
INLINE void lane_sums(const vfloat v[12], float out[12]) {
    vfloat4 quarter[12];  // four partial sums per vector
    for (int k = 0; k < 12; k++) {
        vfloat4 part[LANES / 4];
        memcpy(part, &v[k], sizeof part);
        if constexpr (LANES == 16) part[0] = (part[0] + part[1]) + (part[2] + part[3]);
        if constexpr (LANES == 8) part[0] = part[0] + part[1];
        quarter[k] = part[0];
    }
    for (int k = 0; k < 12; k += 4) {  // a 4x4 transposition with additions
        vfloat4 a = quarter[k], b = quarter[k + 1], c = quarter[k + 2], d = quarter[k + 3];
        vfloat4 ab = __builtin_shufflevector(a, b, 0, 2, 4, 6) + __builtin_shufflevector(a, b, 1, 3, 5, 7);
        vfloat4 cd = __builtin_shufflevector(c, d, 0, 2, 4, 6) + __builtin_shufflevector(c, d, 1, 3, 5, 7);
        vfloat4 sum = __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
        *(vfloat4*)(out + k) = sum;
    }
}

}  // namespace CHRONOSPLAT_ISA
