// The image loss with its gradient, of pixels in a row of one rendering.
#pragma once
#include <cstdint>
#include "optim.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

constexpr int LOSS_RUN = 32;  // pixels worked on together; a tile's width

struct LossPlanes {
    float color[3][LOSS_RUN], alpha[LOSS_RUN];
};

INLINE void read_targets(const ImageTargets& t, size_t at, int n, LossPlanes& to) {
    if (t.rgba) {
        const uint8_t* p = t.rgba + 4 * at;
        for (int i = 0; i < n; i++) {
            float a = p[4 * i + 3] * (1.f / 255), scale = a * (1.f / 255);
            to.color[0][i] = p[4 * i] * scale + (1.f - a), to.color[1][i] = p[4 * i + 1] * scale + (1.f - a);
            to.color[2][i] = p[4 * i + 2] * scale + (1.f - a), to.alpha[i] = a;
        }
    } else {
        const float* p = t.rgb + 3 * at;
        for (int i = 0; i < n; i++) to.color[0][i] = p[3 * i], to.color[1][i] = p[3 * i + 1], to.color[2][i] = p[3 * i + 2];
        memcpy(to.alpha, t.alpha + at, n * sizeof(float));
    }
}

// The loss of n pixels from `at` on in the rendering and `from` on in the image; inlined with a constant n.
INLINE float loss_run(const ImageTargets& t, int view, size_t at, size_t from, int n, const float* rgb, const float* alpha, float* d_rgb,
                      float* d_alpha) {
    const float pixels = (float)t.views * (float)t.full_width * (float)t.full_height;
    const float color_scale = 1 / (3 * pixels), alpha_scale = t.alpha_weight / pixels, l1 = t.l1_weight;
    LossPlanes wanted, g;
    float weight[LOSS_RUN], loss[LOSS_RUN];
    read_targets(t, from, n, wanted);
    const float one = t.weighted == 1 ? t.weights[view] : 1.f;
    if (t.weighted == 2) memcpy(weight, t.weights + (size_t)view * t.width * t.height + at, n * sizeof(float));
    else for (int i = 0; i < n; i++) weight[i] = one;
    for (int i = 0; i < n; i++) {
        const float a = alpha[at + i], off = a - wanted.alpha[i];
        float sum = alpha_scale * off * off, d = 2 * alpha_scale * off;
        for (int c = 0; c < 3; c++) {
            const float e = rgb[3 * (at + i) + c] + (1.f - a) - wanted.color[c][i], size = __builtin_fabsf(e);
            const float sign = e == 0 ? 0.f : __builtin_copysignf(1.f, e), grad = color_scale * (2 * e + l1 * sign);
            sum += color_scale * (e * e + l1 * size), d -= grad, g.color[c][i] = weight[i] * grad;
        }
        loss[i] = weight[i] * sum, g.alpha[i] = weight[i] * d;
    }
    if (d_rgb) {
        for (int i = 0; i < n; i++)
            d_rgb[3 * (at + i)] = g.color[0][i], d_rgb[3 * (at + i) + 1] = g.color[1][i], d_rgb[3 * (at + i) + 2] = g.color[2][i];
        memcpy(d_alpha + at, g.alpha, n * sizeof(float));
    }
    float sum = 0;
    for (int i = 0; i < n; i++) sum += loss[i];
    return sum;
}

// The loss of pixels x0 to x1 of row y; rgb, alpha and their gradients point to pixel (0, 0) of the rendering. Gradients are
// written unless they are null.
static double loss_row(const ImageTargets& t, int view, int y, int x0, int x1, const float* rgb, const float* alpha, float* d_rgb,
                       float* d_alpha) {
    const size_t row = (size_t)y * t.width;
    const size_t first = ((size_t)t.which[view] * t.full_height + t.corners[2 * view + 1] + y) * t.full_width + t.corners[2 * view];
    double sum = 0;
    for (int x = x0; x < x1; x += LOSS_RUN)
        sum += x1 - x >= LOSS_RUN ? loss_run(t, view, row + x, first + x, LOSS_RUN, rgb, alpha, d_rgb, d_alpha)
                                  : loss_run(t, view, row + x, first + x, x1 - x, rgb, alpha, d_rgb, d_alpha);
    return sum;
}

}  // namespace CHRONOSPLAT_ISA
