// The splat renderer's two passes. Compiled once per instruction set; dispatch.cpp chooses one at run time.
//
//   forward:  project (chunks of Gaussians x views) -> bin into tiles by counting -> sort each tile by depth -> composite
//   backward: composite again with gradients (one row per pair) -> sum the rows of a Gaussian in fixed order -> parameters
//
// All sums run in an order that does not depend on the threads, so gradients are bitwise reproducible.
#include "splat.h"
#include "projection.h"
#include "runtime.h"
#include "tiles.h"

using chronosplat::Array;
using chronosplat::parallel_for;

namespace CHRONOSPLAT_ISA {

constexpr int CHUNK = 2048;  // Gaussians per work item of the projection

struct TileBox {
    uint16_t x0, x1, y0, y1;
};

// What the forward pass leaves for the backward pass.
struct Pass {
    int images, tiles_x, tiles_y, tiles, chunks;
    Array<Splat> splats;       // [images, chunks, CHUNK]: visible ones first in each chunk
    Array<TileBox> boxes;      // same
    Array<int32_t> visible;    // [images, chunks]
    Array<uint32_t> cursor;    // [images, chunks, tiles]: pairs before, then (after binning) the end of the chunk's pairs
    Array<uint32_t> start;     // [images * tiles + 1] first pair of each tile
    Array<uint32_t> keys, index, order;  // per pair: depth bits, splat, slot in depth order
    Array<uint64_t> changed;   // per pair: blocks it contributed to
    Array<uint32_t> used;      // [images * tiles] pairs visited
    TileFrame frame(const SplatScene& s, int item) const {
        int t = item % tiles;
        return TileFrame{(t % tiles_x) * TILE, (t / tiles_x) * TILE, s.width, s.height};
    }
};

static void project_chunk(const SplatScene& s, Pass& pass, int scene, int chunk) {
    int first = chunk * CHUNK, last = first + CHUNK < s.gaussians ? first + CHUNK : s.gaussians;
    float W = (float)s.width, H = (float)s.height;
    for (int i = first; i < last; i += 16) {
        int n = last - i < 16 ? last - i : 16;
        size_t at = (size_t)scene * s.gaussians + i;
        vfloat opacity;
        load_rows<1>(s.opacities + at, n, &opacity);
        if (!any(at_least(opacity, splat(1.f / 255)))) continue;
        Shape16 g;
        Motion16 motion;
        load_shape(g, s, at, n);
        load_motion(motion, s, at, n);
        vfloat log_opacity = log2_positive(upper(opacity, splat(1e-30f)));
        for (int view = 0; view < s.views; view++) {
            int image = scene * s.views + view;
            vfloat mean[3];
            vfloat lo = log_opacity + mean_at(mean, g, motion, s.times ? s.times[image] : 0.f);
            Projected16 p;
            project(p, mean, g, s.viewmats + 16 * image, s.Ks + 9 * image, s);
            vfloat budget = (lo + LOG2_255) * 1.00001f + 1e-4f, inv_det = 1.f / p.det;
            vfloat reach2 = budget * (2 / LOG2E), reach_x = root(reach2 * p.a), reach_y = root(reach2 * p.c);
            vmask seen = at_least(lo, splat(-LOG2_255)) & in_depth_range(p, s) & above(p.u + reach_x, vfloat{}) &
                         above(splat(W), p.u - reach_x) & above(p.v + reach_y, vfloat{}) & above(splat(H), p.v - reach_y);
            uint32_t lanes = bits(seen) & ((1u << n) - 1);
            if (!lanes) continue;
            vfloat A = 0.5f * LOG2E * p.c * inv_det, B = -LOG2E * p.b * inv_det, C = 0.5f * LOG2E * p.a * inv_det;
            vfloat shear = 0.5f * B / A, drop = upper(C / A - shear * shear, splat(1e-12f)), extent = budget / A;
            vfloat tangent = -0.5f * B / C * root(extent * C / (A * drop));
            alignas(64) float F[12][16];
            const vfloat fields[12] = {p.u, p.v, A, B, C, lo, p.Z, shear, drop, extent, root(extent / drop), tangent};
            for (int k = 0; k < 12; k++) *(vfloat*)F[k] = fields[k];
            alignas(64) int32_t box[4][16];
            const vfloat edges[4] = {p.u - reach_x, p.u + reach_x, p.v - reach_y, p.v + reach_y};
            for (int k = 0; k < 4; k++)
                *(vint*)box[k] = __builtin_convertvector(lower(upper(edges[k], vfloat{}), splat((k < 2 ? W : H) - 1)), vint) / TILE;
            size_t base = ((size_t)image * pass.chunks + chunk) * CHUNK;
            int32_t& visible = pass.visible[(size_t)image * pass.chunks + chunk];
            uint32_t* count = &pass.cursor[((size_t)image * pass.chunks + chunk) * pass.tiles];
            for (; lanes; lanes &= lanes - 1) {
                int k = __builtin_ctz(lanes);
                const float* color = s.colors + 3 * (at + k);
                size_t j = base + visible++;
                pass.splats[j] = Splat{F[0][k], F[1][k], F[2][k], F[3][k], F[4][k], F[5][k], color[0], color[1], color[2],
                                       F[6][k], F[7][k], F[8][k], F[9][k], F[10][k], F[11][k], (uint32_t)(i + k)};
                TileBox b{(uint16_t)box[0][k], (uint16_t)box[1][k], (uint16_t)box[2][k], (uint16_t)box[3][k]};
                pass.boxes[j] = b;
                for (int y = b.y0; y <= b.y1; y++)
                    for (int x = b.x0; x <= b.x1; x++) count[y * pass.tiles_x + x]++;
            }
        }
    }
}

static void bin_chunk(Pass& pass, size_t image_chunk) {
    uint32_t* cursor = &pass.cursor[image_chunk * pass.tiles];
    size_t base = image_chunk * CHUNK;
    for (size_t j = base, end = base + pass.visible[image_chunk]; j < end; j++) {
        const TileBox& b = pass.boxes[j];
        uint32_t key;
        memcpy(&key, &pass.splats[j].depth, 4);  // positive floats order as their bits do
        for (int y = b.y0; y <= b.y1; y++)
            for (int x = b.x0; x <= b.x1; x++) {
                uint32_t slot = cursor[y * pass.tiles_x + x]++;
                pass.keys[slot] = key, pass.index[slot] = (uint32_t)j, pass.order[slot] = slot;
            }
    }
}

// Stable radix sort of (key, value), in as few byte passes as the range of the keys needs.
static void sort_pairs(uint32_t* key, uint32_t* value, uint32_t* key2, uint32_t* value2, uint32_t n) {
    if (n < 2) return;
    uint32_t least = ~0u, most = 0;
    for (uint32_t i = 0; i < n; i++) least = lower(least, key[i]), most = upper(most, key[i]);
    if (least == most) return;
    int width = 32 - __builtin_clz(most - least), passes = (width + 7) / 8;
    width = (width + passes - 1) / passes;
    uint32_t radix = 1u << width, count[4][256] = {};
    for (uint32_t i = 0; i < n; i++)
        for (int p = 0; p < passes; p++) count[p][((key[i] - least) >> (p * width)) & (radix - 1)]++;
    for (int p = 0; p < passes; p++) {
        uint32_t sum = 0;
        for (uint32_t r = 0; r < radix; r++) {
            uint32_t c = count[p][r];
            count[p][r] = sum, sum += c;
        }
        for (uint32_t i = 0; i < n; i++) {
            uint32_t to = count[p][((key[i] - least) >> (p * width)) & (radix - 1)]++;
            key2[to] = key[i], value2[to] = value[i];
        }
        uint32_t *k = key, *v = value;
        key = key2, key2 = k, value = value2, value2 = v;
    }
    if (passes & 1) memcpy(value2, value, 4 * (size_t)n);  // an odd number of passes ends in the scratch arrays
}

int forward(const SplatScene& s, const SplatImage& out, Pass& pass) {
    pass.images = s.scenes * s.views;
    pass.tiles_x = (s.width + TILE - 1) / TILE, pass.tiles_y = (s.height + TILE - 1) / TILE;
    pass.tiles = pass.tiles_x * pass.tiles_y, pass.chunks = (s.gaussians + CHUNK - 1) / CHUNK;
    size_t image_chunks = (size_t)pass.images * pass.chunks, items = (size_t)pass.images * pass.tiles;
    if (!pass.splats.take(image_chunks * CHUNK) || !pass.boxes.take(image_chunks * CHUNK) ||
        !pass.visible.take_zeroed(image_chunks) || !pass.cursor.take_zeroed(image_chunks * pass.tiles) ||
        !pass.start.take(items + 1) || !pass.used.take_zeroed(items))
        return SPLAT_NO_MEMORY;
    parallel_for((int64_t)s.scenes * pass.chunks, s.threads, [&](int64_t item, int) {
        project_chunk(s, pass, (int)(item / pass.chunks), (int)(item % pass.chunks));
    });
    uint64_t pairs = 0;
    for (int image = 0; image < pass.images; image++)
        for (int t = 0; t < pass.tiles; t++) {
            pass.start[(size_t)image * pass.tiles + t] = (uint32_t)pairs;
            for (int chunk = 0; chunk < pass.chunks; chunk++) {
                uint32_t& c = pass.cursor[((size_t)image * pass.chunks + chunk) * pass.tiles + t];
                uint32_t count = c;
                c = (uint32_t)pairs, pairs += count;
            }
            if (pairs >= (uint64_t)1 << 31) return SPLAT_TOO_MANY_INTERSECTIONS;
        }
    pass.start[items] = (uint32_t)pairs;
    if (!pass.keys.take(pairs + 1) || !pass.index.take(pairs + 1) || !pass.order.take(pairs + 1) || !pass.changed.take(pairs + 1))
        return SPLAT_NO_MEMORY;
    parallel_for((int64_t)image_chunks, s.threads, [&](int64_t item, int) { bin_chunk(pass, (size_t)item); });
    std::atomic<bool> failed{false};
    parallel_for((int64_t)items, s.threads, [&](int64_t item, int) {
        uint32_t lo = pass.start[item], hi = pass.start[item + 1];
        Array<uint32_t> scratch;
        if (!scratch.take(2 * (size_t)(hi - lo) + 1)) {
            failed = true;
            return;
        }
        sort_pairs(&pass.keys[lo], &pass.order[lo], scratch.p, scratch.p + (hi - lo), hi - lo);
        size_t pixels = (size_t)s.width * s.height, at = (size_t)(item / pass.tiles) * pixels;
        pass.used[item] = composite_tile(pass.splats.p, pass.index.p, pass.order.p, lo, hi, pass.changed.p,
                                         pass.frame(s, (int)item), out.rgb + 3 * at, out.alpha + at, out.depth + at);
    });
    pass.keys.drop();
    return failed ? SPLAT_NO_MEMORY : SPLAT_OK;
}

// Rows of moments of this chunk's Gaussians, summed over tiles for each view: sums[view][Gaussian of the chunk].
static void sum_moments(const SplatScene& s, const Pass& pass, const float* moments, int scene, int chunk, float* sums) {
    memset(sums, 0, (size_t)s.views * CHUNK * MOMENTS * sizeof(float));
    for (int view = 0; view < s.views; view++) {
        size_t image = (size_t)scene * s.views + view;
        for (int t = 0; t < pass.tiles; t++) {
            uint32_t lo = chunk ? pass.cursor[(image * pass.chunks + chunk - 1) * pass.tiles + t] : pass.start[image * pass.tiles + t];
            uint32_t hi = pass.cursor[(image * pass.chunks + chunk) * pass.tiles + t];
            for (uint32_t slot = lo; slot < hi; slot++) {
                if (pass.index[slot] == NONE) continue;
                int local = (int)pass.splats[pass.index[slot]].id - chunk * CHUNK;
                float* to = sums + MOMENTS * ((size_t)view * CHUNK + local);
                const float* from = moments + (size_t)MOMENTS * slot;
                for (int k = 0; k < MOMENTS; k += 4) *(vfloat4*)(to + k) += *(const vfloat4*)(from + k);
            }
        }
    }
}

static void parameters_backward(const SplatScene& s, const SplatGradients& grad, const float* sums, int scene, int chunk) {
    int first = chunk * CHUNK, last = first + CHUNK < s.gaussians ? first + CHUNK : s.gaussians;
    for (int i = first; i < last; i += 16) {
        int n = last - i < 16 ? last - i : 16;
        size_t at = (size_t)scene * s.gaussians + i;
        Shape16 g;
        Motion16 motion;
        load_shape(g, s, at, n);
        load_motion(motion, s, at, n);
        vfloat d_mean[3] = {}, d_cov[6] = {}, d_color[3] = {}, d_velocity[3] = {}, d_log_opacity = {}, d_center = {}, d_sigma = {};
        for (int view = 0; view < s.views; view++) {
            int image = scene * s.views + view;
            float time = s.times ? s.times[image] : 0.f;
            vfloat m[MOMENTS], mean[3], d_moved[3];
            load_rows<MOMENTS>(sums + MOMENTS * ((size_t)view * CHUNK + i - first), n, m);
            mean_at(mean, g, motion, time);
            Projected16 p;
            project(p, mean, g, s.viewmats + 16 * image, s.Ks + 9 * image, s);
            vmask ok = in_depth_range(p, s);
            for (auto& x : m) x = keep(ok, x);
            project_backward(p, m, ok, s.viewmats + 16 * image, s.Ks + 9 * image, d_moved, d_cov);
            d_log_opacity += m[0];
            for (int k = 0; k < 3; k++) d_mean[k] += d_moved[k], d_color[k] += m[6 + k];
            if (!motion.moving) continue;
            vfloat dt = time - motion.center, z = sigmas_away(dt, motion);
            d_center += m[0] * z * motion.inv_sigma, d_sigma += m[0] * z * z * motion.inv_sigma;
            for (int k = 0; k < 3; k++) d_velocity[k] += d_moved[k] * dt, d_center -= d_moved[k] * motion.velocity[k];
        }
        vfloat d_scale[3], d_quat[4], opacity;
        shape_backward(g, d_cov, d_scale, d_quat);
        load_rows<1>(s.opacities + at, n, &opacity);
        vfloat d_opacity = d_log_opacity / upper(opacity, splat(1e-12f));
        store_rows<3>(d_mean, n, grad.means + 3 * at);
        store_rows<4>(d_quat, n, grad.quats + 4 * at);
        store_rows<3>(d_scale, n, grad.scales + 3 * at);
        store_rows<1>(&d_opacity, n, grad.opacities + at);
        store_rows<3>(d_color, n, grad.colors + 3 * at);
        if (!motion.moving) continue;
        store_rows<3>(d_velocity, n, grad.velocities + 3 * at);
        store_rows<1>(&d_center, n, grad.time_centers + at);
        store_rows<1>(&d_sigma, n, grad.time_sigmas + at);
    }
}

int backward(const SplatScene& s, Pass& pass, const SplatImage& out, const SplatImage& g_out, const SplatGradients& grad) {
    size_t items = (size_t)pass.images * pass.tiles;
    Array<float> moments;
    if (!moments.take((size_t)MOMENTS * pass.start[items] + 16)) return SPLAT_NO_MEMORY;
    parallel_for((int64_t)items, s.threads, [&](int64_t item, int) {
        size_t at = (size_t)(item / pass.tiles) * s.width * s.height;
        composite_tile_backward(pass.splats.p, pass.index.p, pass.order.p, pass.start[item], pass.used[item],
                                pass.start[item + 1], pass.changed.p, pass.frame(s, (int)item), out.rgb + 3 * at,
                                out.alpha + at, out.depth + at, g_out.rgb + 3 * at, g_out.alpha + at, g_out.depth + at,
                                moments.p);
    });
    std::atomic<bool> failed{false};
    parallel_for((int64_t)s.scenes * pass.chunks, s.threads, [&](int64_t item, int) {
        int scene = (int)(item / pass.chunks), chunk = (int)(item % pass.chunks);
        Array<float> sums;
        if (!sums.take((size_t)s.views * CHUNK * MOMENTS)) {
            failed = true;
            return;
        }
        sum_moments(s, pass, moments.p, scene, chunk, sums.p);
        parameters_backward(s, grad, sums.p, scene, chunk);
    });
    return failed ? SPLAT_NO_MEMORY : SPLAT_OK;
}

Pass* new_pass() { return (Pass*)calloc(1, sizeof(Pass)); }  // all arrays empty
void free_pass(Pass* pass) {
    if (!pass) return;
    pass->~Pass();
    free(pass);
}

}  // namespace CHRONOSPLAT_ISA
