// One 32x32-pixel tile of one view: its Gaussians front to back, in 4x4-pixel blocks of one vector each.
//
// Per (tile, Gaussian) a 64-bit mask says which of the 8x8 blocks the alpha >= 1/255 ellipse can touch; blocks whose
// pixels are all opaque leave the mask of live blocks. The forward pass keeps, per pair, the blocks that it
// changed; the backward pass replays the compositing with them instead of storing anything per pixel.
#pragma once
#include "projection.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

constexpr int TILE = 32, BLOCKS = 8, BATCH = 32;
constexpr float TRANSMITTANCE_STOP = 1e-4f, ALPHA_MAX = 0.999f;

// A projected Gaussian: exponent e(d) = lo - (A dx dx + B dx dy + C dy dy) in powers of two, and its ellipse.
struct alignas(64) Splat {
    float x, y, A, B, C, lo, r, g, b, depth;
    float shear, drop, extent, reach_y, tangent_y;  // q, D, E/A, half height, y of the rightmost point
    uint32_t id;
};

struct alignas(64) PixelCenters {
    vfloat x[BLOCKS], y[BLOCKS];
    PixelCenters() {
        for (int k = 0; k < BLOCKS; k++)
            for (int i = 0; i < 16; i++) x[k][i] = k * 4 + (i & 3) + 0.5f, y[k][i] = k * 4 + (i >> 2) + 0.5f;
    }
};

// Where a tile lies, and what the image around it looks like.
struct TileFrame {
    int x, y, width, height;
    int block_rows() const { int n = (height - y + 3) / 4; return n < BLOCKS ? n : BLOCKS; }
    int block_cols() const { int n = (width - x + 3) / 4; return n < BLOCKS ? n : BLOCKS; }
    uint64_t blocks() const {
        uint64_t all = 0;
        for (int b = 0; b < 64; b++)
            if ((b >> 3) < block_rows() && (b & 7) < block_cols()) all |= 1ull << b;
        return all;
    }
};

// The blocks whose pixel centres can lie inside the ellipse: exact per strip of four rows, conservative by rounding.
INLINE uint64_t touched_blocks(const Splat& g, float x, float y) {
    const vfloat8 top = {0.5f, 4.5f, 8.5f, 12.5f, 16.5f, 20.5f, 24.5f, 28.5f};
    vfloat8 zero = {}, v0 = upper(top - y, zero - g.reach_y), v1 = lower(top + 3.f - y, zero + g.reach_y);
    vfloat8 v_right = lower(upper(zero + g.tangent_y, v0), v1), v_left = lower(upper(zero - g.tangent_y, v0), v1);
    vfloat8 right = x - g.shear * v_right + root(upper(g.extent - g.drop * v_right * v_right, zero));
    vfloat8 left = x - g.shear * v_left - root(upper(g.extent - g.drop * v_left * v_left, zero));
    right = upper(lower(right + 15.5001f, zero + 47.f), zero);
    left = upper(lower(left + 0.4999f, zero + 35.f), zero);
    vint8 last = (__builtin_convertvector(right, vint8) >> 2) - 4, first = __builtin_convertvector(left, vint8) >> 2;
    vint8 row = ((vint8{} + 255) >> (7 - last)) & ((vint8{} + 255) << first) & 255 & (v0 <= v1);
    return pack_bytes(row);
}

struct alignas(64) BlockState {
    vfloat T, R, G, B, D;
};

// Composites the pairs [lo, hi) of `order` into the image; returns how many were visited before all was opaque.
// changed[p]: blocks that pair p contributed to.
static uint32_t composite_tile(const Splat* splats, const uint32_t* index, const uint32_t* order, uint32_t lo, uint32_t hi,
                               uint64_t* changed, const TileFrame& f, float* rgb, float* alpha, float* depth) {
    const PixelCenters centers;
    alignas(64) BlockState state[64];
    vmask live[64];
    for (int b = 0; b < 64; b++) state[b] = BlockState{splat(1.f), {}, {}, {}, {}}, live[b] = all_lanes();
    uint64_t alive = f.blocks(), mask[BATCH];
    const Splat* batch[BATCH];
    uint32_t p = lo;
    while (p < hi && alive) {
        int n = hi - p < (uint32_t)BATCH ? (int)(hi - p) : BATCH;
        for (int i = 0; i < n; i++) {  // all masks first: no data-dependent branch in this loop
            if (p + i + 24 < hi) __builtin_prefetch(&splats[index[order[p + i + 24]]]);
            batch[i] = &splats[index[order[p + i]]];
            mask[i] = touched_blocks(*batch[i], batch[i]->x - f.x, batch[i]->y - f.y);
        }
        for (int i = 0; i < n; i++) {
            const Splat& g = *batch[i];
            float gx = g.x - f.x, gy = g.y - f.y;
            uint64_t touched = 0;
            for (uint64_t todo = mask[i] & alive; todo; todo &= todo - 1) {
                int b = __builtin_ctzll(todo);
                BlockState& s = state[b];
                vfloat dx = gx - centers.x[b & 7], dy = gy - centers.y[b >> 3];
                vfloat e = g.lo - (dx * (g.A * dx + g.B * dy) + (g.C * dy) * dy);
                vmask drawn = live[b] & at_least(e, splat(-LOG2_255));
                if (!any(drawn)) continue;
                touched |= 1ull << b;
                vfloat w = keep(drawn, lower(exp2_nonpositive(e), splat(ALPHA_MAX)) * s.T);
                vmask go_on = above(s.T - w, splat(TRANSMITTANCE_STOP));  // stops before T falls to the limit
                w = keep(go_on, w);
                s.T -= w, s.R += w * g.r, s.G += w * g.g, s.B += w * g.b, s.D += w * g.depth;
                live[b] = live[b] & go_on;
                if (!any(live[b])) alive &= ~(1ull << b);
            }
            changed[p + i] = touched;
            if (!alive) { p += i + 1; n = 0; break; }
        }
        p += n;
    }
    for (int b = 0; b < 64; b++) {
        if ((b >> 3) >= f.block_rows() || (b & 7) >= f.block_cols()) continue;
        alignas(64) float v[5][16];
        const BlockState& s = state[b];
        *(vfloat*)v[0] = s.R, *(vfloat*)v[1] = s.G, *(vfloat*)v[2] = s.B, *(vfloat*)v[3] = 1.f - s.T, *(vfloat*)v[4] = s.D;
        for (int i = 0; i < 16; i++) {
            int X = f.x + (b & 7) * 4 + (i & 3), Y = f.y + (b >> 3) * 4 + (i >> 2);
            if (X >= f.width || Y >= f.height) continue;
            size_t at = (size_t)Y * f.width + X;
            rgb[3 * at] = v[0][i], rgb[3 * at + 1] = v[1][i], rgb[3 * at + 2] = v[2][i];
            alpha[at] = v[3][i], depth[at] = v[4][i];
        }
    }
    return p - lo;
}

struct alignas(64) BlockGradient {
    vfloat T, behind, r, g, b, d;  // `behind`: gradient-weighted light still to come, minus that of the background
};

// The gradient of composite_tile: one row of moments per pair, in moments[MOMENTS * order[p]].
// A pair without a contribution gets index[...] = NONE, so that the reduction skips it.
constexpr uint32_t NONE = ~0u;
static void composite_tile_backward(const Splat* splats, uint32_t* index, const uint32_t* order, uint32_t lo, uint32_t used,
                                    uint32_t hi, const uint64_t* changed, const TileFrame& f, const float* rgb,
                                    const float* alpha, const float* depth, const float* g_rgb, const float* g_alpha,
                                    const float* g_depth, float* moments) {
    const PixelCenters centers;
    alignas(64) BlockGradient state[64];
    vmask live[64];
    for (int b = 0; b < 64; b++) {
        live[b] = all_lanes();
        if ((b >> 3) >= f.block_rows() || (b & 7) >= f.block_cols()) continue;
        alignas(64) float g[5][16] = {}, v[5][16] = {};
        for (int i = 0; i < 16; i++) {
            int X = f.x + (b & 7) * 4 + (i & 3), Y = f.y + (b >> 3) * 4 + (i >> 2);
            if (X >= f.width || Y >= f.height) continue;
            size_t at = (size_t)Y * f.width + X;
            for (int c = 0; c < 3; c++) g[c][i] = g_rgb[3 * at + c], v[c][i] = rgb[3 * at + c];
            g[3][i] = g_alpha[at], v[3][i] = alpha[at], g[4][i] = g_depth[at], v[4][i] = depth[at];
        }
#define LANES(x) (*(vfloat*)(x))
        vfloat behind = LANES(v[0]) * LANES(g[0]) + LANES(v[1]) * LANES(g[1]) + LANES(v[2]) * LANES(g[2]) +
                        LANES(v[4]) * LANES(g[4]) - (1.f - LANES(v[3])) * LANES(g[3]);
        state[b] = BlockGradient{splat(1.f), behind, LANES(g[0]), LANES(g[1]), LANES(g[2]), LANES(g[4])};
#undef LANES
    }
    for (uint32_t p = lo; p < lo + used; p++) {
        if (p + 16 < lo + used && changed[p + 16]) __builtin_prefetch(&splats[index[order[p + 16]]]);
        uint32_t slot = order[p];
        uint64_t todo = changed[p];
        if (!todo) {
            index[slot] = NONE;
            continue;
        }
        const Splat& g = splats[index[slot]];
        float gx = g.x - f.x, gy = g.y - f.y;
        vfloat sum[10];
        for (auto& x : sum) x = vfloat{};
        for (; todo; todo &= todo - 1) {
            int b = __builtin_ctzll(todo);
            BlockGradient& s = state[b];
            vfloat dx = gx - centers.x[b & 7], dy = gy - centers.y[b >> 3];
            vfloat e = g.lo - (dx * (g.A * dx + g.B * dy) + (g.C * dy) * dy);
            vmask drawn = live[b] & at_least(e, splat(-LOG2_255));
            vfloat unclamped = exp2_nonpositive(e), a = lower(unclamped, splat(ALPHA_MAX)), w = keep(drawn, a * s.T);
            vmask go_on = above(s.T - w, splat(TRANSMITTANCE_STOP));
            w = keep(go_on, w), drawn = drawn & go_on, live[b] = live[b] & go_on, s.T -= w;
            vfloat light = w * (g.r * s.r + g.g * s.g + g.b * s.b + g.depth * s.d);
            s.behind -= light;
            vfloat u = keep(drawn & at_least(splat(ALPHA_MAX), unclamped), light - s.behind * a * reciprocal(1.f - a));
            vfloat ux = u * dx, uy = u * dy;
            sum[0] += u, sum[1] += ux, sum[2] += uy, sum[3] += ux * dx, sum[4] += ux * dy, sum[5] += uy * dy;
            sum[6] += w * s.r, sum[7] += w * s.g, sum[8] += w * s.b, sum[9] += w * s.d;
        }
        alignas(64) float row[16];
        *(vfloat*)row = lane_sums(sum);
        memcpy(moments + (size_t)MOMENTS * slot, row, MOMENTS * sizeof(float));
    }
    for (uint32_t p = lo + used; p < hi; p++) index[order[p]] = NONE;
}

}  // namespace CHRONOSPLAT_ISA
