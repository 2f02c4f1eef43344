// A chunk of one scene's Gaussians as a struct of arrays, prepared once for the projection into all views.
#pragma once
#include "runtime.h"
#include "simd.h"
#include "splat.h"

namespace CHRONOSPLAT_ISA {

constexpr float LOG2E = 1.4426950408889634f;
constexpr float LOG2_255 = 7.994353436858858f;  // alpha below 1/255 is skipped
constexpr float NEVER = -1e30f;                 // log2 of an opacity that is always skipped
constexpr int UPPER[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};

// Only Gaussians with opacity >= 1/255 are in a chunk; the others are invisible. `half` is a 3x3 matrix with
// half half^T = covariance.
struct alignas(64) Chunk {
    float mean[3][CHUNK], half[9][CHUNK], log_opacity[CHUNK];
    float velocity[3][CHUNK], center[CHUNK], inv_sigma[CHUNK];
    uint16_t id[CHUNK];  // index in the scene minus the chunk's first index
    int count, padded;   // padded to whole vectors with invisible Gaussians
};

// One scene as a scene of its own: pointers to its Gaussians. Cameras and times keep their indices.
INLINE SplatScene scene_at(SplatScene s, int scene) {
    const size_t first = (size_t)scene * s.gaussians, own = s.shared ? 0 : first;
    auto move = [](const float*& p, size_t by) { p = p ? p + by : nullptr; };
    move(s.means, 3 * first), move(s.quats, 4 * first), move(s.covars, 9 * first), move(s.velocities, 3 * first);
    move(s.time_centers, first), move(s.time_sigmas, first), move(s.scales, 3 * own), move(s.opacities, own), move(s.colors, 3 * own);
    return s;
}

INLINE bool is_finite(const SplatScene& s, size_t first, size_t n) {
    using chronosplat::all_finite;
    bool shapes = s.covars ? all_finite(s.covars + 9 * first, 9 * n) : all_finite(s.quats + 4 * first, 4 * n) && all_finite(s.scales + 3 * first, 3 * n);
    bool motion = !s.velocities || (all_finite(s.velocities + 3 * first, 3 * n) && all_finite(s.time_centers + first, n) &&
                                    all_finite(s.time_sigmas + first, n));
    return shapes && motion && all_finite(s.means + 3 * first, 3 * n) && all_finite(s.opacities + first, n) && all_finite(s.colors + 3 * first, 3 * n);
}

// Normalises quaternions and converts them to rotation matrices; inv_norm is the factor that normalises.
INLINE void rotations(vfloat q[4], vfloat& inv_norm, vfloat R[9]) {
    vfloat largest = splat(1e-30f);  // divided out first, so that squares neither overflow nor underflow
    for (int k = 0; k < 4; k++) largest = upper(largest, upper(q[k], -q[k]));
    for (int k = 0; k < 4; k++) q[k] = q[k] / largest;
    vfloat inv = 1.f / root(upper(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3], splat(1e-24f)));
    for (int k = 0; k < 4; k++) q[k] = q[k] * inv;
    inv_norm = inv / upper(largest, splat(1e-12f));
    vfloat w = q[0], x = q[1], y = q[2], z = q[3];
    R[0] = 1 - 2 * (y * y + z * z), R[1] = 2 * (x * y - w * z), R[2] = 2 * (x * z + w * y);
    R[3] = 2 * (x * y + w * z), R[4] = 1 - 2 * (x * x + z * z), R[5] = 2 * (y * z - w * x);
    R[6] = 2 * (x * z - w * y), R[7] = 2 * (y * z + w * x), R[8] = 1 - 2 * (x * x + y * y);
}

// The lower Cholesky factor of a symmetric matrix; directions without variance are zero.
INLINE void cholesky(const vfloat c[6], vfloat half[9]) {
    const vfloat zero = {}, tiny = splat(1e-36f);
    vfloat l00 = root(upper(c[0], zero)), i0 = keep(above(c[0], tiny), 1.f / l00);
    vfloat l10 = c[1] * i0, l20 = c[2] * i0;
    vfloat d1 = c[3] - l10 * l10, l11 = root(upper(d1, zero)), i1 = keep(above(d1, tiny), 1.f / l11);
    vfloat l21 = (c[4] - l20 * l10) * i1, d2 = c[5] - l20 * l20 - l21 * l21;
    half[0] = l00, half[1] = zero, half[2] = zero, half[3] = l10, half[4] = l11, half[5] = zero;
    half[6] = l20, half[7] = l21, half[8] = root(upper(d2, zero));
}

// Gathers rows of K floats of LANES Gaussians into K vectors.
template <int K> INLINE void gather_rows(const float* rows, const uint16_t* id, vfloat out[K]) {
    alignas(64) float t[K][LANES];
    for (int i = 0; i < LANES; i++)
        for (int k = 0; k < K; k++) t[k][i] = rows[(size_t)id[i] * K + k];
    for (int k = 0; k < K; k++) out[k] = load(t[k]);
}

template <int K> INLINE void scatter_rows(const vfloat in[K], const uint16_t* id, int n, float* rows) {
    alignas(64) float t[K][LANES];
    for (int k = 0; k < K; k++) store(t[k], in[k]);
    for (int i = 0; i < n; i++)
        for (int k = 0; k < K; k++) rows[(size_t)id[i] * K + k] = t[k][i];
}

// Standard deviations, clamped to 1e12: larger ones look the same, but their squares would overflow.
INLINE void gather_scales(const float* scales, const uint16_t* id, vfloat out[3]) {
    gather_rows<3>(scales, id, out);
    for (int k = 0; k < 3; k++) out[k] = lower(upper(out[k], splat(-1e12f)), splat(1e12f));
}

// Upper triangle of the symmetric part of 3x3 matrices.
INLINE void gather_covars(const float* covars, const uint16_t* id, vfloat out[6]) {
    vfloat m[9];
    gather_rows<9>(covars, id, m);
    for (int i = 0; i < 3; i++)
        for (int j = i; j < 3; j++) out[UPPER[i][j]] = 0.5f * (m[3 * i + j] + m[3 * j + i]);
}

INLINE void fill_chunk(Chunk& c, const SplatScene& s, size_t first, int n) {
    c.count = 0;
    for (int i = 0; i < n; i++) {
        c.id[c.count] = (uint16_t)i;
        c.count += s.opacities[first + i] >= 1.f / 255;
    }
    c.padded = (c.count + LANES - 1) / LANES * LANES;
    for (int i = c.count; i < c.padded; i++) c.id[i] = c.count ? c.id[0] : 0;
    for (int i = 0; i < c.padded; i += LANES) {
        const uint16_t* id = c.id + i;
        vfloat mean[3], half[9], opacity;
        gather_rows<3>(s.means + 3 * first, id, mean);
        gather_rows<1>(s.opacities + first, id, &opacity);
        if (s.covars) {
            vfloat covar[6];
            gather_covars(s.covars + 9 * first, id, covar);
            cholesky(covar, half);
        } else {
            vfloat q[4], scale[3], inv_norm;
            gather_rows<4>(s.quats + 4 * first, id, q);
            gather_scales(s.scales + 3 * first, id, scale);
            rotations(q, inv_norm, half);
            for (int k = 0; k < 9; k++) half[k] *= scale[k % 3];
        }
        for (int k = 0; k < 3; k++) store(c.mean[k] + i, mean[k]);
        for (int k = 0; k < 9; k++) store(c.half[k] + i, half[k]);
        store(c.log_opacity + i, log2_positive(opacity));
        if (!s.velocities) continue;
        vfloat velocity[3], center, sigma;
        gather_rows<3>(s.velocities + 3 * first, id, velocity);
        gather_rows<1>(s.time_centers + first, id, &center);
        gather_rows<1>(s.time_sigmas + first, id, &sigma);
        for (int k = 0; k < 3; k++) store(c.velocity[k] + i, velocity[k]);
        store(c.center + i, center);
        store(c.inv_sigma + i, 1.f / upper(sigma, splat(1e-12f)));
    }
    for (int i = c.count; i < c.padded; i++) c.log_opacity[i] = NEVER;
}

// Distance of a time from the time centre in sigmas, clamped far outside the visible range to stay finite.
INLINE vfloat sigmas_away(const Chunk& c, int i, float time) {
    return lower(upper((time - load(c.center + i)) * load(c.inv_sigma + i), splat(-1e3f)), splat(1e3f));
}

// log2 of the temporal weight exp(-z^2 / 2).
INLINE vfloat log_weight(const Chunk& c, int i, const SplatScene& s, float time) {
    if (!s.velocities) return vfloat{};
    vfloat z = sigmas_away(c, i, time);
    return -0.5f * LOG2E * z * z;
}

// The means at the view's time.
INLINE void means_at(const Chunk& c, int i, const SplatScene& s, float time, vfloat mean[3]) {
    for (int k = 0; k < 3; k++) mean[k] = load(c.mean[k] + i);
    if (!s.velocities) return;
    vfloat dt = time - load(c.center + i);
    for (int k = 0; k < 3; k++) mean[k] += load(c.velocity[k] + i) * dt;
}

// half = R diag(scale): converts its gradient to those of scales and (unnormalised) quaternions.
INLINE void shape_backward(const vfloat q[4], vfloat inv_norm, const vfloat R[9], const vfloat scale[3], const vfloat d_half[9],
                           vfloat d_scale[3], vfloat d_quat[4]) {
    vfloat r[9];
    for (int k = 0; k < 3; k++) d_scale[k] = d_half[k] * R[k] + d_half[3 + k] * R[3 + k] + d_half[6 + k] * R[6 + k];
    for (int j = 0; j < 9; j++) r[j] = d_half[j] * scale[j % 3];
    vfloat w = q[0], x = q[1], y = q[2], z = q[3], d[4];
    d[0] = 2.f * (x * (r[7] - r[5]) + y * (r[2] - r[6]) + z * (r[3] - r[1]));
    d[1] = 2.f * (-2.f * x * (r[4] + r[8]) + y * (r[1] + r[3]) + z * (r[2] + r[6]) + w * (r[7] - r[5]));
    d[2] = 2.f * (x * (r[1] + r[3]) - 2.f * y * (r[0] + r[8]) + z * (r[5] + r[7]) + w * (r[2] - r[6]));
    d[3] = 2.f * (x * (r[2] + r[6]) + y * (r[5] + r[7]) - 2.f * z * (r[0] + r[4]) + w * (r[3] - r[1]));
    vfloat along = d[0] * w + d[1] * x + d[2] * y + d[3] * z;
    for (int k = 0; k < 4; k++) d_quat[k] = (d[k] - along * q[k]) * inv_norm;
}

}  // namespace CHRONOSPLAT_ISA
