// The image loss with its gradient, of a run of pixels in a row of one rendering.
#pragma once
#include <cstdint>
#include "optim.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

// Reads one run of at most RUN pixels as planes, so that the arithmetic vectorises.
struct LossRun {
    static constexpr int RUN = 64;
    float target[4][RUN];  // on white, alpha

    void read(const ImageTargets& t, size_t at, int n) {
        if (t.rgba) {
            const uint8_t* p = t.rgba + 4 * at;
            for (int i = 0; i < n; i++) {
                float a = p[4 * i + 3] * (1.f / 255);
                for (int c = 0; c < 3; c++) target[c][i] = p[4 * i + c] * (1.f / 255) * a + (1.f - a);
                target[3][i] = a;
            }
        } else {
            const float* p = t.rgb + 3 * at;
            for (int i = 0; i < n; i++)
                for (int c = 0; c < 3; c++) target[c][i] = p[3 * i + c];
            memcpy(target[3], t.alpha + at, n * sizeof(float));
        }
    }
};

// Adds the loss of pixels x0 to x1 of row y; rgb, alpha and their gradients point to pixel (0, 0) of the rendering.
// Gradients are written unless they are null.
static double loss_row(const ImageTargets& t, int view, int y, int x0, int x1, const float* rgb, const float* alpha, float* d_rgb,
                       float* d_alpha) {
    const double pixels = (double)t.views * t.full_width * t.full_height;
    const float color_scale = (float)(1 / (3 * pixels)), alpha_scale = (float)(t.alpha_weight / pixels);
    const size_t first = ((size_t)t.which[view] * t.full_height + t.corners[2 * view + 1] + y) * t.full_width + t.corners[2 * view];
    LossRun run;
    double sum = 0;
    for (int x = x0; x < x1; x += LossRun::RUN) {
        const int n = x1 - x < LossRun::RUN ? x1 - x : LossRun::RUN;
        const size_t at = (size_t)y * t.width + x;
        run.read(t, first + x, n);
        float weight[LossRun::RUN], g_alpha[LossRun::RUN], loss[LossRun::RUN];
        for (int i = 0; i < n; i++) weight[i] = 1;
        if (t.weighted == 1)
            for (int i = 0; i < n; i++) weight[i] = t.weights[view];
        if (t.weighted == 2) memcpy(weight, t.weights + (size_t)view * t.width * t.height + at, n * sizeof(float));
        for (int i = 0; i < n; i++) {
            float off = alpha[at + i] - run.target[3][i];
            loss[i] = alpha_scale * off * off, g_alpha[i] = 2 * alpha_scale * off;
        }
        float g[3][LossRun::RUN];
        for (int c = 0; c < 3; c++)
            for (int i = 0; i < n; i++) {
                float off = rgb[3 * (at + i) + c] + (1.f - alpha[at + i]) - run.target[c][i], size = off < 0 ? -off : off;
                float sign = off > 0 ? 1.f : off < 0 ? -1.f : off;  // off: 0 or NaN
                loss[i] += color_scale * (off * off + t.l1_weight * size);
                g[c][i] = color_scale * (2 * off + t.l1_weight * sign);
                g_alpha[i] -= g[c][i];
            }
        float part = 0;
        for (int i = 0; i < n; i++) part += weight[i] * loss[i];
        sum += part;
        if (!d_rgb) continue;
        for (int i = 0; i < n; i++) {
            for (int c = 0; c < 3; c++) d_rgb[3 * (at + i) + c] = weight[i] * g[c][i];
            d_alpha[at + i] = weight[i] * g_alpha[i];
        }
    }
    return sum;
}

}  // namespace CHRONOSPLAT_ISA
