// Kernels of the optimisation loop. Compiled once per instruction set; dispatch.cpp chooses at run time.
//
// Every sum has an order of its own, whatever the number of threads: rows, then blocks, one after the other.
#include "optim.h"
#include <cmath>
#include "image_loss.h"
#include "runtime.h"
#include "skin.h"

using chronosplat::all_finite;
using chronosplat::Array;
using chronosplat::parallel_for;

namespace CHRONOSPLAT_ISA {

int image_loss(const ImageTargets& t, const float* rgb, const float* alpha, double* loss, float* d_rgb, float* d_alpha) {
    constexpr int ROWS = 16;
    const int bands = (t.height + ROWS - 1) / ROWS;
    Array<double> sums;
    if (!sums.take((size_t)t.views * bands)) return STATUS_NO_MEMORY;
    parallel_for((int64_t)t.views * bands, t.threads, [&](int64_t item, int) {
        const int view = (int)(item / bands), y0 = (int)(item % bands) * ROWS, y1 = y0 + ROWS < t.height ? y0 + ROWS : t.height;
        const size_t at = (size_t)view * t.width * t.height;
        double sum = 0;
        for (int y = y0; y < y1; y++)
            sum += loss_row(t, view, y, 0, t.width, rgb + 3 * at, alpha + at, d_rgb ? d_rgb + 3 * at : nullptr, d_rgb ? d_alpha + at : nullptr);
        sums[item] = sum;
    });
    *loss = 0;
    for (int64_t item = 0; item < (int64_t)t.views * bands; item++) *loss += sums[item];
    return STATUS_OK;
}

int skin(const SkinInputs& s, float* means, float* quats) {
    Array<NodeRow> rows;
    if (!rows.take((size_t)s.times * s.nodes)) return STATUS_NO_MEMORY;
    node_rows(s, rows.p);
    constexpr int BLOCK = 256;
    parallel_for((s.gaussians + BLOCK - 1) / BLOCK, s.threads, [&](int64_t block, int) {
        const int first = (int)block * BLOCK, end = first + BLOCK < s.gaussians ? first + BLOCK : s.gaussians;
        for (int time = 0; time < s.times; time++)
            for (int n = first; n < end; n++) {
                const size_t at = (size_t)time * s.gaussians + n;
                skin_one(s, rows.p + (size_t)time * s.nodes, n, means + 3 * at, quats + 4 * at);
            }
    });
    return STATUS_OK;
}

int skin_backward(const SkinInputs& s, const float* d_means, const float* d_quats, const SkinGradients& grad) {
    // blocks of Gaussians, at most MOST, each with its own sums over its Gaussians for every node
    constexpr int LEAST = 512, MOST = 32;
    const int size = s.gaussians / MOST < LEAST ? LEAST : (s.gaussians + MOST - 1) / MOST, blocks = (s.gaussians + size - 1) / size;
    const size_t count = (size_t)s.times * s.nodes;
    Array<NodeRow> rows, sums;
    if (!rows.take(count) || !sums.take_zeroed(count * blocks)) return STATUS_NO_MEMORY;
    node_rows(s, rows.p);
    memset(grad.means, 0, 3 * sizeof(float) * s.gaussians), memset(grad.quats, 0, 4 * sizeof(float) * s.gaussians);
    parallel_for(blocks, s.threads, [&](int64_t block, int) {
        const int first = (int)block * size, end = first + size < s.gaussians ? first + size : s.gaussians;
        for (int time = 0; time < s.times; time++)
            for (int n = first; n < end; n++) {
                const size_t at = (size_t)time * s.gaussians + n;
                skin_one_backward(s, rows.p + (size_t)time * s.nodes, n, d_means + 3 * at, d_quats + 4 * at, grad.means + 3 * (size_t)n,
                                  grad.quats + 4 * (size_t)n, sums.p + block * count + (size_t)time * s.nodes);
            }
    });
    parallel_for((int64_t)count, s.threads, [&](int64_t item, int) {
        NodeRow sum = {};
        for (int block = 0; block < blocks; block++)
            for (int k = 0; k < 16; k++) sum.at[k] += sums[block * count + item].at[k];
        node_backward(s, (size_t)item, rows[item], sum, grad.shifts + 3 * item, grad.turns + 3 * item);
    });
    return STATUS_OK;
}

// 2^x by a polynomial of exp on [-ln 2 / 2, ln 2 / 2]; x from -126 to 127.
INLINE vfloat exp2_any(vfloat x) {
    x = lower(upper(x, splat(-126.f)), splat(127.f));
    vfloat whole = __builtin_elementwise_roundeven(x), f = (x - whole) * 0.6931471805599453f;
    vfloat p = splat(1.f / 5040);
    p = p * f + 1.f / 720, p = p * f + 1.f / 120, p = p * f + 1.f / 24, p = p * f + 1.f / 6, p = p * f + 0.5f, p = p * f + 1.f, p = p * f + 1.f;
    return (vfloat)((vint)p + (__builtin_convertvector(whole, vint) << 23));
}
INLINE vfloat activated(int activation, vfloat p) {
    constexpr float LOG2E = 1.4426950408889634f;
    if (activation == 1) return exp2_any(LOG2E * p);
    if (activation == 2) return 1.f / (1.f + exp2_any(-LOG2E * p));
    return p;
}

// Elements first to end of a group, LANES at a time; the last vector is padded.
struct AdamRun {
    float beta1, beta2, eps;

    void elements(const AdamGroup& g, size_t first, size_t end) const {
        const float step = (float)(g.lr / (1 - std::pow((double)beta1, (double)g.steps)));
        const float root_correction = (float)std::sqrt(1 - std::pow((double)beta2, (double)g.steps));
        for (size_t i = first; i < end; i += LANES) {
            const size_t n = end - i < LANES ? end - i : LANES;
            vfloat p = {}, d = {}, m = {}, v = {}, x = {};
            memcpy(&p, g.parameter + i, 4 * n), memcpy(&d, g.gradient + i, 4 * n), memcpy(&m, g.first + i, 4 * n);
            if (g.activation) memcpy(&x, g.value + i, 4 * n);
            d = chain(g, d, x);
            memcpy(&v, g.second + i, 4 * n);
            v = beta2 * v + (1 - beta2) * (d * d);
            m = m + (1 - beta1) * (d - m);
            p = p - step * m / (root(v) / root_correction + eps);
            p = lower(upper(p, splat(g.low)), splat(g.high));
            memcpy(g.first + i, &m, 4 * n), memcpy(g.second + i, &v, 4 * n), memcpy(g.parameter + i, &p, 4 * n);
        }
    }
    static vfloat chain(const AdamGroup& g, vfloat d, vfloat value) {
        return g.activation == 1 ? d * value : g.activation == 2 ? d * value * (1.f - value) : d;
    }
    static void narrow(const AdamGroup& g, size_t first, size_t end) {
        for (size_t r = first; r < end; r++) {
            float *row = g.parameter + r * g.columns, most = row[0];
            for (int c = 1; c < g.columns; c++) most = row[c] > most ? row[c] : most;
            for (int c = 0; c < g.columns; c++) row[c] = row[c] > most - g.spread ? row[c] : most - g.spread;
        }
    }
    static void activate(const AdamGroup& g, size_t first, size_t end) {
        for (size_t i = first; i < end; i += LANES) {
            const size_t n = end - i < LANES ? end - i : LANES;
            vfloat p = {};
            memcpy(&p, g.parameter + i, 4 * n);
            p = activated(g.activation, p);
            memcpy(g.value + i, &p, 4 * n);
        }
    }
};

int adam(const AdamGroup* groups, int count, float beta1, float beta2, float eps, int threads) {
    for (int k = 0; k < count; k++)
        if (!all_finite(groups[k].gradient, (size_t)groups[k].rows * groups[k].columns)) return STATUS_NOT_FINITE;
    const AdamRun run{beta1, beta2, eps};
    constexpr int64_t ROWS = 4096;
    int64_t items = 0;
    for (int k = 0; k < count; k++) items += (groups[k].rows + ROWS - 1) / ROWS;
    parallel_for(items, threads, [&](int64_t item, int) {
        int k = 0;
        for (; item >= (groups[k].rows + ROWS - 1) / ROWS; k++) item -= (groups[k].rows + ROWS - 1) / ROWS;
        const AdamGroup& g = groups[k];
        if (g.lr == 0) return;
        const size_t first = item * ROWS, end = (size_t)(item + 1) * ROWS < (size_t)g.rows ? (item + 1) * ROWS : g.rows;
        run.elements(g, first * g.columns, end * g.columns);
        if (g.spread < 1e30f) run.narrow(g, first, end);
        if (g.value != g.parameter) run.activate(g, first * g.columns, end * g.columns);
    });
    return STATUS_OK;
}

// One after the other: pairs share rows.
void pair_differences(const float* values, int32_t columns, const int64_t* rows, const int64_t* others, int64_t pairs, int32_t each, double* loss,
                      float* grad, float scale) {
    double sum = 0;
    for (int64_t i = 0; i < pairs; i++) {
        const size_t a = (size_t)rows[i] * columns;
        float part = 0;
        for (int32_t k = 0; k < each; k++) {
            const size_t b = (size_t)others[i * each + k] * columns;
            for (int32_t c = 0; c < columns; c++) {
                const float d = values[b + c] - values[a + c];
                part += d * d, grad[b + c] += scale * d, grad[a + c] -= scale * d;
            }
        }
        sum += part;
    }
    *loss = sum;
}

}  // namespace CHRONOSPLAT_ISA
