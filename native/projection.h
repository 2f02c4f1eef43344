// EWA projection of LANES Gaussians (as in gsplat), and its gradient.
#pragma once
#include "chunk.h"

namespace CHRONOSPLAT_ISA {

constexpr float P_SCALE = 0.8493218002880191f;  // sqrt(log2(e) / 2): with it, log2(alpha) = lo - p^2 - q^2

// The projection into one view, with intermediate values for the backward pass. The exponent is a sum of two squares,
// p = alpha dx + beta dy and q = gamma dy, because the quadratic form would cancel for long thin Gaussians.
struct Projected {
    vfloat X, Y, Z, inv_z, tx, ty;       // camera space; tx, ty clamped to the frustum (as in 3DGS)
    vfloat T0[3], T1[3], m0[3], m1[3];   // rows of J W, and those times the half covariance
    vfloat a, b, c, cross[3];            // 2D covariance (blurred), m0 x m1
    vfloat det_sharp, det;               // determinants without and with the blur
    vfloat u, v, alpha, beta, gamma;     // centre in pixels, factors of the exponent
    vmask x_inside, y_inside;
};

// Footprints beyond 1e9 pixels would overflow; a Gaussian this large is practically constant along that axis.
INLINE void bound_columns(Projected& p) {
    for (int k = 0; k < 3; k++) {
        vfloat size = upper(upper(p.m0[k], -p.m0[k]), upper(p.m1[k], -p.m1[k]));
        vfloat factor = 1e9f / upper(size, splat(1e9f));
        vmask finite = at_least(splat(3e38f), size);
        p.m0[k] = pick(finite, p.m0[k] * factor, splat(1e9f)), p.m1[k] = pick(finite, p.m1[k] * factor, vfloat{});
    }
}

INLINE void covariance2d(Projected& p, float eps2d) {
    vfloat a = p.m0[0] * p.m0[0] + p.m0[1] * p.m0[1] + p.m0[2] * p.m0[2];
    vfloat c = p.m1[0] * p.m1[0] + p.m1[1] * p.m1[1] + p.m1[2] * p.m1[2];
    p.b = p.m0[0] * p.m1[0] + p.m0[1] * p.m1[1] + p.m0[2] * p.m1[2];
    for (int k = 0; k < 3; k++) p.cross[k] = p.m0[(k + 1) % 3] * p.m1[(k + 2) % 3] - p.m0[(k + 2) % 3] * p.m1[(k + 1) % 3];
    p.det_sharp = p.cross[0] * p.cross[0] + p.cross[1] * p.cross[1] + p.cross[2] * p.cross[2];  // |m0 x m1|^2 = a c - b^2 without the cancellation
    p.det = p.det_sharp + eps2d * (a + c) + eps2d * eps2d;
    p.a = a + eps2d, p.c = c + eps2d;
}

INLINE void project(Projected& p, const Chunk& g, int i, const vfloat mean[3], const float* vm, const float* K, const SplatScene& s) {
    vfloat cam[3];
    for (int r = 0; r < 3; r++) cam[r] = mean[0] * vm[4 * r] + mean[1] * vm[4 * r + 1] + mean[2] * vm[4 * r + 2] + vm[4 * r + 3];
    p.X = cam[0], p.Y = cam[1], p.Z = cam[2], p.inv_z = 1.f / p.Z;
    float W = (float)s.width, H = (float)s.height, fx = K[0], fy = K[4], cx = K[2], cy = K[5];
    float margin_x = 0.15f * W / fx, margin_y = 0.15f * H / fy;  // 1.3 times half the field of view
    vfloat x = p.X * p.inv_z, y = p.Y * p.inv_z;
    vfloat x_clamped = lower(upper(x, splat(-cx / fx - margin_x)), splat((W - cx) / fx + margin_x));
    vfloat y_clamped = lower(upper(y, splat(-cy / fy - margin_y)), splat((H - cy) / fy + margin_y));
    p.x_inside = at_least(x_clamped, x) & at_least(x, x_clamped);
    p.y_inside = at_least(y_clamped, y) & at_least(y, y_clamped);
    p.tx = x_clamped, p.ty = y_clamped;
    p.u = fx * x + cx, p.v = fy * y + cy;
    vfloat jx = fx * p.inv_z, jy = fy * p.inv_z;
    for (int k = 0; k < 3; k++) {
        p.T0[k] = jx * (vm[k] - x_clamped * vm[8 + k]);
        p.T1[k] = jy * (vm[4 + k] - y_clamped * vm[8 + k]);
    }
    for (int k = 0; k < 3; k++) {
        vfloat h0 = load(g.half[k] + i), h1 = load(g.half[3 + k] + i), h2 = load(g.half[6 + k] + i);
        p.m0[k] = p.T0[0] * h0 + p.T0[1] * h1 + p.T0[2] * h2;
        p.m1[k] = p.T1[0] * h0 + p.T1[1] * h1 + p.T1[2] * h2;
    }
    covariance2d(p, s.eps2d);
    if (any(above(p.a + p.c, splat(1e18f))) || bits(at_least(p.a + p.c, vfloat{})) != (1u << LANES) - 1) {
        bound_columns(p);
        covariance2d(p, s.eps2d);
    }
    vfloat inv_det = 1.f / p.det;
    p.alpha = P_SCALE * root(p.c * inv_det);
    p.beta = -p.b / p.c * p.alpha;
    p.gamma = P_SCALE / root(p.c);
}

INLINE vmask in_depth_range(const Projected& p, const SplatScene& s) {
    return at_least(p.Z, splat(s.near_plane)) & at_least(splat(s.far_plane), p.Z) & above(p.det, vfloat{});
}

// log2 of the opacity compensation for the blur (gsplat's antialiased mode).
INLINE vfloat log_compensation(const Projected& p) {
    return 0.5f * log2_positive(upper(p.det_sharp / p.det, splat(1e-30f)));
}

// Moments accumulated by the tiles for one (Gaussian, view), with s = dL/d(log alpha):
// 0: s, 1: s p, 2: s q, 3: s p p, 4: s p q, 5: s q q, 6..8: dL/dcolor, 9: dL/dz of the depth channel, 10: the Gaussian.
constexpr int MOMENTS = 12;  // padded to whole 16-byte vectors

struct alignas(64) ViewGradient {
    vfloat rotation[9], translation[3];
};

// One view's gradient of the means (at the view's time); adds to those of the shapes, and of the camera if not null. The
// shape gradient is that of the half covariance (9 values), or with `covars` that of the covariance (6). Columns of the
// half covariance are whitened (w = L m, length at most 1) before they multiply the moments: through the covariance
// itself, long thin Gaussians would lose twice the digits.
INLINE void project_backward(const Projected& p, const vfloat m[MOMENTS], vmask ok, const Chunk& g, int i, const vfloat mean[3],
                             const float* vm, const float* K, const SplatScene& s, vfloat d_mean[3], vfloat d_shape[9], ViewGradient* camera) {
    constexpr float ONE = 1.3862943611198906f, TWO = 1.9218120556728056f;  // 1 / P_SCALE^2, and its square
    float fx = K[0], fy = K[4];
    // `keep`: lanes that are not ok may hold infinities, and 0 * infinity is NaN
    vfloat inv_z = keep(ok, p.inv_z), alpha = keep(ok, p.alpha), beta = keep(ok, p.beta), gamma = keep(ok, p.gamma);
    vfloat du = -ONE * alpha * m[1], dv = -ONE * (beta * m[1] + gamma * m[2]);
    vfloat pp = TWO * m[3], pq = TWO * m[4], qq = TWO * m[5], sharp = {}, blur = {}, T0[3], T1[3], dT0[3] = {}, dT1[3] = {};
    vfloat alpha_c = alpha / p.c;
    if (s.antialiased) {
        // log compensation = (log det_sharp - log det) / 2. Inverse sharp covariance minus inverse covariance, which would
        // cancel, is adjugate (det - det_sharp) / (det_sharp det) - eps / det
        vmask compensated = ok & above(p.det_sharp / p.det, splat(1e-30f));
        blur = keep(compensated, m[0] * s.eps2d / p.det);
        sharp = keep(compensated, blur * (p.a + p.c - s.eps2d) / p.det_sharp);
    }
    for (int k = 0; k < 3; k++) T0[k] = keep(ok, p.T0[k]), T1[k] = keep(ok, p.T1[k]);
    for (int k = 0; k < 3; k++) {
        int j = (k + 1) % 3, l = (k + 2) % 3;
        // alpha m0 + beta m1 = alpha / c (c m0 - b m1), and c m0 - b m1 = eps m0 + m1 x (m0 x m1) does not cancel
        vfloat across = s.eps2d * p.m0[k] + (p.m1[j] * p.cross[l] - p.m1[l] * p.cross[j]);
        vfloat w0 = keep(ok, alpha_c * across), w1 = keep(ok, gamma * p.m1[k]), s0 = pp * w0 + pq * w1, s1 = pq * w0 + qq * w1;
        vfloat h0 = alpha * s0, h1 = beta * s0 + gamma * s1;  // the column's gradient on the screen
        if (s.antialiased) {
            h0 += keep(ok, sharp * (p.m1[j] * p.cross[l] - p.m1[l] * p.cross[j]) - blur * p.m0[k]);
            h1 += keep(ok, sharp * (p.cross[j] * p.m0[l] - p.cross[l] * p.m0[j]) - blur * p.m1[k]);
        }
        for (int r = 0; r < 3; r++) {
            vfloat half = load(g.half[3 * r + k] + i);
            dT0[r] += h0 * half, dT1[r] += h1 * half;
            if (!s.covars) d_shape[3 * r + k] += h0 * T0[r] + h1 * T1[r];
        }
    }
    if (s.covars) {
        vfloat g00 = 0.5f * alpha * alpha * pp, g01 = 0.5f * alpha * (beta * pp + gamma * pq);
        vfloat g11 = 0.5f * (beta * (beta * pp + 2.f * gamma * pq) + gamma * gamma * qq);
        vfloat a = p.a - s.eps2d, c = p.c - s.eps2d;
        g00 += keep(ok, 0.5f * (sharp * c - blur)), g01 -= keep(ok, 0.5f * sharp * p.b), g11 += keep(ok, 0.5f * (sharp * a - blur));
        for (int r = 0; r < 3; r++)
            for (int t = r; t < 3; t++)
                d_shape[UPPER[r][t]] += g00 * T0[r] * T0[t] + g01 * (T0[r] * T1[t] + T1[r] * T0[t]) + g11 * T1[r] * T1[t];
    }
    // through J (rows fx/z (1, 0, -tx), fy/z (0, 1, -ty), t = clamped X/Z, Y/Z) and the perspective divide
    vfloat jx = fx * inv_z, jy = fy * inv_z, x = keep(ok, p.X) * inv_z, y = keep(ok, p.Y) * inv_z;
    vfloat tx = keep(ok, p.tx), ty = keep(ok, p.ty);
    vfloat j00 = dT0[0] * vm[0] + dT0[1] * vm[1] + dT0[2] * vm[2], j02 = dT0[0] * vm[8] + dT0[1] * vm[9] + dT0[2] * vm[10];
    vfloat j11 = dT1[0] * vm[4] + dT1[1] * vm[5] + dT1[2] * vm[6], j12 = dT1[0] * vm[8] + dT1[1] * vm[9] + dT1[2] * vm[10];
    vfloat dX = jx * du - keep(p.x_inside, jx * inv_z * j02), dY = jy * dv - keep(p.y_inside, jy * inv_z * j12);
    vfloat dZ = m[9] - jx * x * du - jy * y * dv - inv_z * (jx * j00 + jy * j11) +
                inv_z * (pick(p.x_inside, splat(2.f), splat(1.f)) * jx * tx * j02 + pick(p.y_inside, splat(2.f), splat(1.f)) * jy * ty * j12);
    vfloat d_cam[3] = {keep(ok, dX), keep(ok, dY), keep(ok, dZ)};
    for (int k = 0; k < 3; k++) d_mean[k] = d_cam[0] * vm[k] + d_cam[1] * vm[4 + k] + d_cam[2] * vm[8 + k];
    if (!camera) return;
    for (int k = 0; k < 3; k++) {
        vfloat here = keep(ok, mean[k]);
        camera->rotation[k] += d_cam[0] * here + jx * dT0[k];
        camera->rotation[3 + k] += d_cam[1] * here + jy * dT1[k];
        camera->rotation[6 + k] += d_cam[2] * here - jx * tx * dT0[k] - jy * ty * dT1[k];
        camera->translation[k] += d_cam[k];
    }
}

}  // namespace CHRONOSPLAT_ISA
