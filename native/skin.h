// Linear blend skinning of one Gaussian, and the transformations of the nodes, with their gradients.
#pragma once
#include <cmath>
#include "optim.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

// A node's transformation x -> R x + offset, and the quaternion of R: rotation (9), offset (3), quaternion (4).
struct alignas(64) NodeRow {
    float at[16];
};

// The vector part's factor sin(angle / 2) / angle, the scalar part, and the derivatives of both by the squared angle.
struct HalfAngle {
    double sine, cosine, d_sine, d_cosine;
    explicit HalfAngle(const float v[3]) {
        const double square = (double)v[0] * v[0] + (double)v[1] * v[1] + (double)v[2] * v[2];
        if (square < 1e-8) {
            sine = 0.5 - square / 48, cosine = 1 - square / 8, d_sine = -1. / 48;
        } else {
            const double angle = std::sqrt(square);
            sine = std::sin(angle / 2) / angle, cosine = std::cos(angle / 2), d_sine = (cosine / 2 - sine) / (2 * square);
        }
        d_cosine = -sine / 4;
    }
};

INLINE void node_rows(const SkinInputs& s, NodeRow* rows) {
    for (size_t item = 0, count = (size_t)s.times * s.nodes; item < count; item++) {
        const float *turn = s.turns + 3 * item, *shift = s.shifts + 3 * item, *center = s.centers + 3 * (item % s.nodes);
        const HalfAngle half(turn);
        const float w = (float)half.cosine, x = (float)(half.sine * turn[0]), y = (float)(half.sine * turn[1]), z = (float)(half.sine * turn[2]);
        const float R[9] = {1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y), 2 * (x * y + w * z), 1 - 2 * (x * x + z * z),
                            2 * (y * z - w * x),     2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)};
        float* row = rows[item].at;
        memcpy(row, R, sizeof R);
        for (int k = 0; k < 3; k++)
            row[9 + k] = center[k] + shift[k] - (R[3 * k] * center[0] + R[3 * k + 1] * center[1] + R[3 * k + 2] * center[2]);
        row[12] = w, row[13] = x, row[14] = y, row[15] = z;
    }
}

// The gradients of a node's shift and turn from that of its row.
INLINE void node_backward(const SkinInputs& s, size_t item, const NodeRow& row, const NodeRow& grad, float d_shift[3], float d_turn[3]) {
    const float *center = s.centers + 3 * (item % s.nodes), *turn = s.turns + 3 * item;
    double r[9], q[4], d[4];
    for (int k = 0; k < 3; k++) {
        d_shift[k] = grad.at[9 + k];
        for (int c = 0; c < 3; c++) r[3 * k + c] = grad.at[3 * k + c] - (double)grad.at[9 + k] * center[c];
    }
    for (int k = 0; k < 4; k++) q[k] = row.at[12 + k];
    const double w = q[0], x = q[1], y = q[2], z = q[3];
    d[0] = 2 * (x * (r[7] - r[5]) + y * (r[2] - r[6]) + z * (r[3] - r[1]));
    d[1] = 2 * (-2 * x * (r[4] + r[8]) + y * (r[1] + r[3]) + z * (r[2] + r[6]) + w * (r[7] - r[5]));
    d[2] = 2 * (x * (r[1] + r[3]) - 2 * y * (r[0] + r[8]) + z * (r[5] + r[7]) + w * (r[2] - r[6]));
    d[3] = 2 * (x * (r[2] + r[6]) + y * (r[5] + r[7]) - 2 * z * (r[0] + r[4]) + w * (r[3] - r[1]));
    const double along = d[0] * w + d[1] * x + d[2] * y + d[3] * z;  // rotations are of the normalised quaternion
    for (int k = 0; k < 4; k++) d[k] += grad.at[12 + k] - along * q[k];
    const HalfAngle half(turn);
    double by_square = d[0] * half.d_cosine;
    for (int k = 0; k < 3; k++) by_square += d[1 + k] * turn[k] * half.d_sine;
    for (int k = 0; k < 3; k++) d_turn[k] = (float)(d[1 + k] * half.sine + 2 * by_square * turn[k]);
}

INLINE void blend(const SkinInputs& s, const NodeRow* rows, int n, float out[16]) {
    for (int k = 0; k < 16; k++) out[k] = 0;
    for (int j = 0; j < s.joints; j++) {
        const float* row = rows[s.skin_nodes[(size_t)n * s.joints + j]].at;
        const float weight = s.skin_weights[(size_t)n * s.joints + j];
        for (int k = 0; k < 16; k++) out[k] += weight * row[k];
    }
}

// The blended quaternion with unit length, and the inverse of its length; a zero becomes the identity.
INLINE float unit(const float b[4], float q[4]) {
    const float norm = std::sqrt(b[0] * b[0] + b[1] * b[1] + b[2] * b[2] + b[3] * b[3]);
    if (norm < 1e-12f) {
        q[0] = 1, q[1] = q[2] = q[3] = 0;
        return 0;
    }
    for (int k = 0; k < 4; k++) q[k] = b[k] / norm;
    return 1 / norm;
}

INLINE void skin_one(const SkinInputs& s, const NodeRow* rows, int n, float mean[3], float quat[4]) {
    float b[16], a[4];
    blend(s, rows, n, b);
    const float *x = s.means + 3 * (size_t)n, *q = s.quats + 4 * (size_t)n;
    for (int k = 0; k < 3; k++) mean[k] = b[3 * k] * x[0] + b[3 * k + 1] * x[1] + b[3 * k + 2] * x[2] + b[9 + k];
    unit(b + 12, a);
    quat[0] = a[0] * q[0] - a[1] * q[1] - a[2] * q[2] - a[3] * q[3];
    quat[1] = a[0] * q[1] + a[1] * q[0] + a[2] * q[3] - a[3] * q[2];
    quat[2] = a[0] * q[2] - a[1] * q[3] + a[2] * q[0] + a[3] * q[1];
    quat[3] = a[0] * q[3] + a[1] * q[2] - a[2] * q[1] + a[3] * q[0];
}

// Adds to the gradients of a Gaussian and of its nodes' rows.
INLINE void skin_one_backward(const SkinInputs& s, const NodeRow* rows, int n, const float g[3], const float h[4], float d_mean[3],
                              float d_quat[4], NodeRow* d_rows) {
    float b[16], a[4], d[16];
    blend(s, rows, n, b);
    const float *x = s.means + 3 * (size_t)n, *q = s.quats + 4 * (size_t)n;
    for (int k = 0; k < 3; k++) {
        d_mean[k] += b[k] * g[0] + b[3 + k] * g[1] + b[6 + k] * g[2];
        for (int c = 0; c < 3; c++) d[3 * k + c] = g[k] * x[c];
        d[9 + k] = g[k];
    }
    const float inverse = unit(b + 12, a);
    d_quat[0] += a[0] * h[0] + a[1] * h[1] + a[2] * h[2] + a[3] * h[3];
    d_quat[1] += -a[1] * h[0] + a[0] * h[1] + a[3] * h[2] - a[2] * h[3];
    d_quat[2] += -a[2] * h[0] - a[3] * h[1] + a[0] * h[2] + a[1] * h[3];
    d_quat[3] += -a[3] * h[0] + a[2] * h[1] - a[1] * h[2] + a[0] * h[3];
    const float e[4] = {q[0] * h[0] + q[1] * h[1] + q[2] * h[2] + q[3] * h[3], -q[1] * h[0] + q[0] * h[1] - q[3] * h[2] + q[2] * h[3],
                        -q[2] * h[0] + q[3] * h[1] + q[0] * h[2] - q[1] * h[3], -q[3] * h[0] - q[2] * h[1] + q[1] * h[2] + q[0] * h[3]};
    const float along = e[0] * a[0] + e[1] * a[1] + e[2] * a[2] + e[3] * a[3];
    for (int k = 0; k < 4; k++) d[12 + k] = (e[k] - along * a[k]) * inverse;
    for (int j = 0; j < s.joints; j++) {
        float* row = d_rows[s.skin_nodes[(size_t)n * s.joints + j]].at;
        const float weight = s.skin_weights[(size_t)n * s.joints + j];
        for (int k = 0; k < 16; k++) row[k] += weight * d[k];
    }
}

}  // namespace CHRONOSPLAT_ISA
