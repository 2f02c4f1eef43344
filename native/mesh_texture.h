// Textures: 8-bit texels decoded to linear light, wrapped, filtered between texels and between levels.
#pragma once
#include <cmath>
#include "mesh.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

struct Color {
    float r, g, b, a;
};

// Clamps x to [0, 1]; NaN becomes 0, so that every colour converts to a byte.
INLINE float clip(float x) { return x > 0 ? (x < 1 ? x : 1.f) : 0.f; }

// x - floor(x), in [0, 1]; 0 where x is NaN or infinite, because interpolation may overflow.
INLINE float fraction(float x) {
    float part = x - std::floor(x);
    return part >= 0 && part <= 1 ? part : 0.f;
}

// Conversions between bytes and linear light.
struct Encoding {
    static constexpr int STEPS = 4096;
    float decoded[2][256];   // linear bytes, sRGB bytes
    float threshold[257];    // the least linear value that rounds to each byte
    uint8_t start[STEPS];    // the byte of the least value of each step

    Encoding() {
        for (int i = 0; i < 256; i++) {
            double x = i / 255.0, below = (i - 0.5) / 255;
            decoded[0][i] = (float)x;
            decoded[1][i] = (float)to_linear(x);
            threshold[i] = i ? (float)to_linear(below) : 0.f;
        }
        threshold[256] = INFINITY;
        for (int i = 0, byte = 0; i < STEPS; i++) {
            while (threshold[byte + 1] <= (float)i / STEPS) byte++;
            start[i] = (uint8_t)byte;
        }
    }
    static double to_linear(double x) { return x <= 0.04045 ? x / 12.92 : std::pow((x + 0.055) / 1.055, 2.4); }

    // The sRGB byte of x in [0, 1].
    uint8_t encode(float x) const {
        int byte = start[x < 1 ? (int)(x * STEPS) : STEPS - 1];
        while (x >= threshold[byte + 1]) byte++;
        return (uint8_t)byte;
    }
};

// Where a coordinate falls among n texels: two neighbours and the share of the second.
struct Neighbours {
    int first, second;
    float share;
};

INLINE Neighbours neighbours(float u, int wrap, int n) {
    float at = wrap == WRAP_CLAMP ? clip(u) : fraction(wrap == WRAP_MIRROR ? 0.5f * u : u);
    if (wrap == WRAP_MIRROR) at = at > 0.5f ? 2 - 2 * at : 2 * at;
    at = at * n - 0.5f;
    float low = std::floor(at);
    int first = (int)low, second = first + 1;
    if (wrap == WRAP_REPEAT) return {first < 0 ? first + n : first, second < n ? second : second - n, at - low};
    return {first < 0 ? 0 : first, second < n ? second : n - 1, at - low};
}

// A texel in linear light, alpha last; linear ones are still times 255.
template <bool SRGB> INLINE vfloat4 texel(const uint8_t* p, const Encoding& code) {
    if constexpr (SRGB) {
        const float *color = code.decoded[1], *alpha = code.decoded[0];
        return vfloat4{color[p[0]], color[p[1]], color[p[2]], alpha[p[3]]};
    }
    typedef uint8_t vbyte4 __attribute__((vector_size(4)));
    vbyte4 bytes;
    memcpy(&bytes, p, 4);
    return __builtin_convertvector(bytes, vfloat4);
}

// Bilinear lookup in one level of `texels`.
template <bool SRGB> INLINE vfloat4 bilinear(const uint8_t* texels, int width, int height, const MeshTexture& t, const Encoding& code, float u, float v) {
    Neighbours x = neighbours(u, t.wrap_u, width), y = neighbours(v, t.wrap_v, height);
    const uint8_t *upper = texels + 4 * (int64_t)y.first * width, *lower = texels + 4 * (int64_t)y.second * width;
    vfloat4 a = texel<SRGB>(upper + 4 * (int64_t)x.first, code), b = texel<SRGB>(upper + 4 * (int64_t)x.second, code);
    vfloat4 c = texel<SRGB>(lower + 4 * (int64_t)x.first, code), d = texel<SRGB>(lower + 4 * (int64_t)x.second, code);
    float w00 = (1 - x.share) * (1 - y.share), w01 = x.share * (1 - y.share), w10 = (1 - x.share) * y.share, w11 = x.share * y.share;
    vfloat4 value = w00 * a + w01 * b + w10 * c + w11 * d;
    return SRGB ? value : value * (1.f / 255);
}

INLINE Color nearest(const uint8_t* texels, const MeshTexture& t, const Encoding& code, float u, float v) {
    Neighbours x = neighbours(u, t.wrap_u, t.width), y = neighbours(v, t.wrap_v, t.height);
    int column = x.share < 0.5f ? x.first : x.second, row = y.share < 0.5f ? y.first : y.second;
    const uint8_t* p = texels + 4 * ((int64_t)row * t.width + column);
    const float* color = code.decoded[t.srgb != 0];
    return {color[p[0]], color[p[1]], color[p[2]], code.decoded[0][p[3]]};
}

// log2 of a positive normal number: series of atanh on [sqrt(1/2), sqrt(2)). Not the C library's, which differs by machine.
INLINE float log2_of(float x) {
    int32_t i, exponent;
    memcpy(&i, &x, 4);
    exponent = (i - 0x3f3504f3) >> 23;
    i -= exponent << 23;
    float m;
    memcpy(&m, &i, 4);
    float t = (m - 1.f) / (m + 1.f), t2 = t * t;
    float series = ((((1.f / 9) * t2 + 1.f / 7) * t2 + 1.f / 5) * t2 + 1.f / 3) * t2 + 1.f;
    return (float)exponent + 2.8853900817779268f * t * series;
}

// Lookup at a level between two of the texture's.
template <bool SRGB> static Color trilinear(const MeshTexture& t, const uint8_t* texels, const Encoding& code, float u, float v, float level) {
    int most = t.levels - 1, whole = level < most ? (int)level : most, width = t.width, height = t.height;
    for (int k = 0; k < whole; k++) {
        texels += 4 * (int64_t)width * height;
        width = width > 1 ? width / 2 : 1, height = height > 1 ? height / 2 : 1;
    }
    vfloat4 out = bilinear<SRGB>(texels, width, height, t, code, u, v);
    float share = level - whole;
    if (whole < most && share > 0) {
        texels += 4 * (int64_t)width * height;
        vfloat4 next = bilinear<SRGB>(texels, width > 1 ? width / 2 : 1, height > 1 ? height / 2 : 1, t, code, u, v);
        out += share * (next - out);
    }
    return {out[0], out[1], out[2], out[3]};
}

// The texture at (u, v). `dx` and `dy` are the steps of (u, v) across the footprint; without them the full size is read.
// Where a colour's footprint is longer than wide, up to four lookups lie along it. Levels are half a step sharper than the
// footprint, as lookups blur too (docs/rasteriser.md, "Textures").
static Color texture_at(const MeshScene& s, const Encoding& code, int index, const float uv[2], const float* dx, const float* dy) {
    const MeshTexture& t = s.texture[index];
    const int most = t.srgb ? 4 : 1;
    const uint8_t* texels = s.texels + 4 * t.offset;
    auto look = [&](float u, float v, float level) {
        return t.srgb ? trilinear<true>(t, texels, code, u, v, level) : trilinear<false>(t, texels, code, u, v, level);
    };
    if (!dx) return look(uv[0], uv[1], 0);
    float ux = dx[0] * t.width, vx = dx[1] * t.height, uy = dy[0] * t.width, vy = dy[1] * t.height;
    float across = ux * ux + vx * vx, down = uy * uy + vy * vy, longest = across > down ? across : down;
    if (!(longest > 1)) return t.nearest ? nearest(texels, t, code, uv[0], uv[1]) : look(uv[0], uv[1], 0);
    if (!(longest < 1e30f)) return look(uv[0], uv[1], 1e3f);
    float area = std::fabs(ux * vy - vx * uy), ratio = longest / (area > 1 ? area : 1);  // length over width; a texel is wide enough
    int taps = ratio < most ? (int)(ratio + 0.75f) : most;
    float level = 0.5f * log2_of(longest / (taps * taps)) - 0.5f;
    level = level > 0 ? level : 0;
    const float* step = across > down ? dx : dy;
    Color sum{0, 0, 0, 0};
    for (int k = 0; k < taps; k++) {
        float at = (k + 0.5f) / taps - 0.5f;
        Color c = look(uv[0] + at * step[0], uv[1] + at * step[1], level);
        sum = {sum.r + c.r, sum.g + c.g, sum.b + c.b, sum.a + c.a};
    }
    return {sum.r / taps, sum.g / taps, sum.b / taps, sum.a / taps};
}

}  // namespace CHRONOSPLAT_ISA
