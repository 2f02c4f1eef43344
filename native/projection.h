// Sixteen Gaussians at a time: from parameters to the screen (EWA splatting, as in gsplat) and back (its gradient).
//
// A Gaussian moves as mean + velocity (t - time_center) and fades as exp(-(t - time_center)^2 / 2 time_sigma^2);
// its covariance does not change with time, so it is computed once for all views.
#pragma once
#include "simd.h"
#include "splat.h"

namespace CHRONOSPLAT_ISA {

constexpr float LOG2E = 1.4426950408889634f;
constexpr float LOG2_255 = 7.994353436858858f;  // alpha below 1/255 is not drawn
constexpr int UPPER[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};

struct Shape16 {
    vfloat mean[3], q[4], inv_norm, scale[3], R[9], cov[6];  // q normalised; cov the upper triangle
};

INLINE void load_shape(Shape16& g, const SplatScene& s, size_t first, int n) {
    load_rows<3>(s.means + 3 * first, n, g.mean);
    load_rows<4>(s.quats + 4 * first, n, g.q);
    load_rows<3>(s.scales + 3 * first, n, g.scale);
    vfloat largest = splat(1e-30f);  // divided out first, so that squares neither overflow nor vanish
    for (int k = 0; k < 4; k++) largest = upper(largest, upper(g.q[k], -g.q[k]));
    for (int k = 0; k < 4; k++) g.q[k] = g.q[k] / largest;
    vfloat norm2 = g.q[0] * g.q[0] + g.q[1] * g.q[1] + g.q[2] * g.q[2] + g.q[3] * g.q[3];
    vfloat inv = 1.f / root(upper(norm2, splat(1e-24f)));
    for (int k = 0; k < 4; k++) g.q[k] = g.q[k] * inv;
    g.inv_norm = inv / upper(largest, splat(1e-12f));
    vfloat w = g.q[0], x = g.q[1], y = g.q[2], z = g.q[3], *R = g.R;
    R[0] = 1 - 2 * (y * y + z * z), R[1] = 2 * (x * y - w * z), R[2] = 2 * (x * z + w * y);
    R[3] = 2 * (x * y + w * z), R[4] = 1 - 2 * (x * x + z * z), R[5] = 2 * (y * z - w * x);
    R[6] = 2 * (x * z - w * y), R[7] = 2 * (y * z + w * x), R[8] = 1 - 2 * (x * x + y * y);
    for (int i = 0; i < 3; i++)
        for (int j = i; j < 3; j++) {
            vfloat sum = vfloat{};
            for (int k = 0; k < 3; k++) sum += R[3 * i + k] * R[3 * j + k] * (g.scale[k] * g.scale[k]);
            g.cov[UPPER[i][j]] = sum;
        }
}

// How the Gaussians move and fade; `moving` is false for static scenes.
struct Motion16 {
    bool moving;
    vfloat velocity[3], center, inv_sigma;
};

INLINE void load_motion(Motion16& m, const SplatScene& s, size_t first, int n) {
    m.moving = s.velocities != nullptr;
    if (!m.moving) return;
    vfloat sigma;
    load_rows<3>(s.velocities + 3 * first, n, m.velocity);
    load_rows<1>(s.time_centers + first, n, &m.center);
    load_rows<1>(s.time_sigmas + first, n, &sigma);
    m.inv_sigma = 1.f / upper(sigma, splat(1e-12f));
}

// How many sigmas a moment is from the time centre; far beyond what is ever drawn it is clamped, to stay finite.
INLINE vfloat sigmas_away(vfloat dt, const Motion16& m) { return lower(upper(dt * m.inv_sigma, splat(-1e3f)), splat(1e3f)); }

// The mean at the view's time, and log2 of the temporal weight.
INLINE vfloat mean_at(vfloat mean[3], const Shape16& g, const Motion16& m, float time) {
    for (int k = 0; k < 3; k++) mean[k] = g.mean[k];
    if (!m.moving) return vfloat{};
    vfloat dt = time - m.center, z = sigmas_away(dt, m);
    for (int k = 0; k < 3; k++) mean[k] += m.velocity[k] * dt;
    return -0.5f * LOG2E * z * z;
}

// The projection of 16 Gaussians into one view, with what the backward pass needs again.
struct Projected16 {
    vfloat X, Y, Z, inv_z, tx, ty;     // camera space; tx, ty clamped to the frustum's rim (as in 3DGS)
    vfloat T0[3], T1[3], P0[3], P1[3]; // rows of J W, and the covariance times them
    vfloat a, b, c, det, u, v;         // 2D covariance and centre in pixels
    vmask x_inside, y_inside;
};

INLINE void project(Projected16& p, const vfloat mean[3], const Shape16& g, const float* vm, const float* K, const SplatScene& s) {
    vfloat cam[3];
    for (int i = 0; i < 3; i++)
        cam[i] = mean[0] * vm[4 * i] + mean[1] * vm[4 * i + 1] + mean[2] * vm[4 * i + 2] + vm[4 * i + 3];
    p.X = cam[0], p.Y = cam[1], p.Z = cam[2], p.inv_z = 1.f / p.Z;
    float W = (float)s.width, H = (float)s.height, fx = K[0], fy = K[4], cx = K[2], cy = K[5];
    float margin_x = 0.15f * W / fx, margin_y = 0.15f * H / fy;  // 1.3 times half the field of view
    vfloat x = p.X * p.inv_z, y = p.Y * p.inv_z;
    vfloat x_clamped = lower(upper(x, splat(-cx / fx - margin_x)), splat((W - cx) / fx + margin_x));
    vfloat y_clamped = lower(upper(y, splat(-cy / fy - margin_y)), splat((H - cy) / fy + margin_y));
    p.x_inside = at_least(x_clamped, x) & at_least(x, x_clamped);
    p.y_inside = at_least(y_clamped, y) & at_least(y, y_clamped);
    p.tx = x_clamped * p.Z, p.ty = y_clamped * p.Z;
    p.u = fx * x + cx, p.v = fy * y + cy;
    vfloat jx = fx * p.inv_z, jy = fy * p.inv_z;
    for (int k = 0; k < 3; k++) {
        p.T0[k] = jx * (vm[k] - x_clamped * vm[8 + k]);
        p.T1[k] = jy * (vm[4 + k] - y_clamped * vm[8 + k]);
    }
    for (int r = 0; r < 3; r++) {
        const vfloat &s0 = g.cov[UPPER[r][0]], &s1 = g.cov[UPPER[r][1]], &s2 = g.cov[UPPER[r][2]];
        p.P0[r] = s0 * p.T0[0] + s1 * p.T0[1] + s2 * p.T0[2];
        p.P1[r] = s0 * p.T1[0] + s1 * p.T1[1] + s2 * p.T1[2];
    }
    p.a = p.T0[0] * p.P0[0] + p.T0[1] * p.P0[1] + p.T0[2] * p.P0[2] + s.eps2d;
    p.b = p.T0[0] * p.P1[0] + p.T0[1] * p.P1[1] + p.T0[2] * p.P1[2];
    p.c = p.T1[0] * p.P1[0] + p.T1[1] * p.P1[1] + p.T1[2] * p.P1[2] + s.eps2d;
    p.det = p.a * p.c - p.b * p.b;
}

INLINE vmask in_depth_range(const Projected16& p, const SplatScene& s) {
    return above(p.Z, splat(s.near_plane)) & above(splat(s.far_plane), p.Z) & above(p.det, vfloat{});
}

// Moments that the tiles accumulate for one (Gaussian, view), with u = dL/d(log alpha), d = centre - pixel:
// 0: u, 1: u dx, 2: u dy, 3: u dx dx, 4: u dx dy, 5: u dy dy, 6..8: dL/dcolor, 9: dL/dz of the depth channel.
constexpr int MOMENTS = 12;  // padded to whole 16-byte vectors

// Adds one view's gradient to the mean (at the view's time) and to the covariance.
INLINE void project_backward(const Projected16& p, const vfloat m[MOMENTS], vmask ok, const float* vm, const float* K,
                             vfloat d_mean[3], vfloat d_cov[6]) {
    float fx = K[0], fy = K[4];
    vfloat inv_z = keep(ok, p.inv_z), inv_det = keep(ok, 1.f / p.det);
    vfloat A = p.c * inv_det, B = -p.b * inv_det, C = p.a * inv_det;  // the conic
    vfloat du = -(A * m[1] + B * m[2]), dv = -(B * m[1] + C * m[2]);
    vfloat dA = -0.5f * m[3], dB = -0.5f * m[4], dC = -0.5f * m[5];   // dB is half of the off-diagonal's gradient
    // conic = inverse(cov2d): d_cov2d = -conic d_conic conic
    vfloat k00 = A * dA + B * dB, k01 = A * dB + B * dC, k10 = B * dA + C * dB, k11 = B * dB + C * dC;
    vfloat g00 = -(k00 * A + k01 * B), g01 = -(k00 * B + k01 * C), g11 = -(k10 * B + k11 * C);
    vfloat dT0[3], dT1[3];
    for (int k = 0; k < 3; k++) {
        dT0[k] = 2.f * (g00 * p.P0[k] + g01 * p.P1[k]);
        dT1[k] = 2.f * (g01 * p.P0[k] + g11 * p.P1[k]);
    }
    // `keep`: lanes outside the depth range may hold infinities, and 0 * infinity is NaN
    for (int r = 0; r < 3; r++)
        for (int s = r; s < 3; s++)
            d_cov[UPPER[r][s]] += keep(ok, g00 * p.T0[r] * p.T0[s] + g01 * (p.T0[r] * p.T1[s] + p.T1[r] * p.T0[s]) + g11 * p.T1[r] * p.T1[s]);
    // through J (rows fx/z (1, 0, -tx/z), fy/z (0, 1, -ty/z)) and the perspective divide
    vfloat j00 = dT0[0] * vm[0] + dT0[1] * vm[1] + dT0[2] * vm[2], j02 = dT0[0] * vm[8] + dT0[1] * vm[9] + dT0[2] * vm[10];
    vfloat j11 = dT1[0] * vm[4] + dT1[1] * vm[5] + dT1[2] * vm[6], j12 = dT1[0] * vm[8] + dT1[1] * vm[9] + dT1[2] * vm[10];
    vfloat inv_z2 = inv_z * inv_z, inv_z3 = inv_z2 * inv_z;
    vfloat dX = fx * inv_z * du - keep(p.x_inside, fx * inv_z2 * j02);
    vfloat dY = fy * inv_z * dv - keep(p.y_inside, fy * inv_z2 * j12);
    vfloat dZ = m[9] - (fx * p.X * du + fy * p.Y * dv) * inv_z2 - fx * inv_z2 * j00 - fy * inv_z2 * j11 +
                pick(p.x_inside, splat(2.f), splat(1.f)) * fx * p.tx * inv_z3 * j02 +
                pick(p.y_inside, splat(2.f), splat(1.f)) * fy * p.ty * inv_z3 * j12;
    dX = keep(ok, dX), dY = keep(ok, dY), dZ = keep(ok, dZ);
    for (int k = 0; k < 3; k++) d_mean[k] = dX * vm[k] + dY * vm[4 + k] + dZ * vm[8 + k];
}

// cov = M M^T with M = R diag(scale): from d_cov to scales and (unnormalised) quaternions.
INLINE void shape_backward(const Shape16& g, const vfloat d_cov[6], vfloat d_scale[3], vfloat d_quat[4]) {
    vfloat dM[9], r[9];
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 3; k++) {
            vfloat sum = vfloat{};
            for (int j = 0; j < 3; j++) sum += d_cov[UPPER[i][j]] * g.R[3 * j + k];
            dM[3 * i + k] = 2.f * sum * g.scale[k];
        }
    for (int k = 0; k < 3; k++) d_scale[k] = dM[k] * g.R[k] + dM[3 + k] * g.R[3 + k] + dM[6 + k] * g.R[6 + k];
    for (int j = 0; j < 9; j++) r[j] = dM[j] * g.scale[j % 3];
    vfloat w = g.q[0], x = g.q[1], y = g.q[2], z = g.q[3], d[4];
    d[0] = 2.f * (x * (r[7] - r[5]) + y * (r[2] - r[6]) + z * (r[3] - r[1]));
    d[1] = 2.f * (-2.f * x * (r[4] + r[8]) + y * (r[1] + r[3]) + z * (r[2] + r[6]) + w * (r[7] - r[5]));
    d[2] = 2.f * (x * (r[1] + r[3]) - 2.f * y * (r[0] + r[8]) + z * (r[5] + r[7]) + w * (r[2] - r[6]));
    d[3] = 2.f * (x * (r[2] + r[6]) + y * (r[5] + r[7]) - 2.f * z * (r[0] + r[4]) + w * (r[3] - r[1]));
    vfloat along = d[0] * w + d[1] * x + d[2] * y + d[3] * z;
    for (int k = 0; k < 4; k++) d_quat[k] = (d[k] - along * g.q[k]) * g.inv_norm;
}

}  // namespace CHRONOSPLAT_ISA
