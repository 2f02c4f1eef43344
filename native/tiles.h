// Front-to-back compositing of one 32x32-pixel tile of one view, in 4x4-pixel blocks.
//
// Per (tile, Gaussian) a 64-bit mask holds which of the 8x8 blocks the alpha >= 1/255 ellipse can touch; blocks whose
// pixels are all opaque leave the mask of live blocks. The rest becomes a flat list of visits, because a loop per Gaussian
// over its two or three blocks would mispredict its end every time.
#pragma once
#include "projection.h"
#include "sort.h"

namespace CHRONOSPLAT_ISA {

#define EACH_PART _Pragma("clang loop unroll(full)") for (int k = 0; k < PARTS; k++)
constexpr int BLOCKS = TILE / 4, BATCH = 32, PARTS = 16 / LANES, VISITS = 64;
constexpr float TRANSMITTANCE_STOP = 1e-4f, ALPHA_MAX = 0.999f;

// Appearance of a Gaussian: log2(alpha) = lo - (alpha dx + beta dy)^2 - (gamma dy)^2, colour and depth.
struct Visible {
    float x, y, alpha, beta, gamma, lo, r, g, b, depth;
};

// A projected Gaussian with the ellipse where alpha >= 1/255 (see touched_blocks) and its position in its chunk.
struct alignas(64) Splat : Visible {
    float shear, drop, extent, reach_y, tangent_y;
    uint32_t position;
};

// A Gaussian that changed pixels of a tile, for the backward pass: the changed blocks, and the row of its moments
// relative to the tile's first row.
struct alignas(64) Record : Visible {
    uint32_t position, row;
    uint64_t changed, unused;
};

// Pixel centres of a block, relative to it, and the 64 blocks' corners, relative to the tile.
struct alignas(64) PixelCenters {
    float x[16], y[16], column[64], row[64];
    PixelCenters() {
        for (int b = 0; b < 64; b++) column[b] = (float)(4 * (b & 7)), row[b] = (float)(4 * (b >> 3));
        for (int i = 0; i < 16; i++) x[i] = (float)(i & 3) + 0.5f, y[i] = (float)(i >> 2) + 0.5f;
    }
};

// Position of a tile in pixels, and size of the image.
struct TileFrame {
    int x, y, width, height;
    int block_rows() const { int n = (height - y + 3) / 4; return n < BLOCKS ? n : BLOCKS; }
    int block_cols() const { int n = (width - x + 3) / 4; return n < BLOCKS ? n : BLOCKS; }
    uint64_t blocks() const {
        uint64_t row = (1ull << block_cols()) - 1, all = 0;
        for (int r = 0; r < block_rows(); r++) all |= row << (8 * r);
        return all;
    }
};

// The blocks whose pixel centres can lie inside the ellipse: exact per strip of four rows, conservative by rounding.
// At v rows below the centre the ellipse spans -shear v +- sqrt(extent - drop v^2); its rightmost point is at tangent_y.
INLINE uint64_t touched_blocks(const Splat& g, float x, float y) {
    const vfloat8 top = {0.5f, 4.5f, 8.5f, 12.5f, 16.5f, 20.5f, 24.5f, 28.5f};
    vfloat8 zero = {}, v0 = upper(top - y, zero - g.reach_y), v1 = lower(top + 3.f - y, zero + g.reach_y);
    vfloat8 v_right = lower(upper(zero + g.tangent_y, v0), v1), v_left = lower(upper(zero - g.tangent_y, v0), v1);
    vfloat8 right = x - g.shear * v_right + root_or_more(upper(g.extent - g.drop * v_right * v_right, zero));
    vfloat8 left = x - g.shear * v_left - root_or_more(upper(g.extent - g.drop * v_left * v_left, zero));
    right = upper(lower(right + 15.5001f, zero + 47.f), zero);
    left = upper(lower(left + 0.4999f, zero + 35.f), zero);
    vint8 last = (__builtin_convertvector(right, vint8) >> 2) - 4, first = __builtin_convertvector(left, vint8) >> 2;
    vint8 row = ((vint8{} + 255) >> (7 - last)) & ((vint8{} + 255) << first) & 255 & (v0 <= v1);
    return pack_bytes(row);
}

// Up to BATCH Gaussians of a tile, and their visits: block in the low six bits, index in the batch above.
struct Batch {
    const Visible* visible[BATCH];
    float x[BATCH], y[BATCH];  // centres relative to the tile
    uint64_t masks[BATCH];     // blocks to visit
    uint16_t visits[64 * BATCH + 4];
    void place(int i, const Visible& g, const TileFrame& f) { visible[i] = &g, x[i] = g.x - f.x, y[i] = g.y - f.y; }
    int list(int n) {
        int count = 0;
        for (int i = 0; i < n; i++) {
            uint64_t m = masks[i];
            int blocks = __builtin_popcountll(m), tag = i << 6;
            for (int k = 0; k < 4; k++) visits[count + k] = (uint16_t)(tag | (__builtin_ctzll(m | 1ull << 63) & 63)), m &= m - 1;
            for (int k = 4; k < blocks; k++) visits[count + k] = (uint16_t)(tag | __builtin_ctzll(m)), m &= m - 1;
            count += blocks;
        }
        return count;
    }
};

// p and q (see Projected) and log2(alpha) at LANES pixels of a block.
struct Footprint {
    vfloat p, q, exponent;
};

INLINE Footprint footprint(const Batch& batch, int visit, const PixelCenters& centers, int part) {
    int i = visit >> 6;
    const Visible& g = *batch.visible[i];
    vfloat dx = (batch.x[i] - centers.column[visit & 63]) - load(centers.x + part * LANES);
    vfloat dy = (batch.y[i] - centers.row[visit & 63]) - load(centers.y + part * LANES);
    Footprint f;
    f.p = g.alpha * dx + g.beta * dy, f.q = g.gamma * dy;
    f.exponent = (g.lo - f.q * f.q) - f.p * f.p;
    return f;
}

// A terminated pixel stores its transmittance with a minus sign, so that it takes no more light.
INLINE vfloat negated(vfloat t) { return (vfloat)((vint)t | (vint{} + (int32_t)0x80000000)); }
INLINE vfloat magnitude(vfloat t) { return (vfloat)((vint)t & (vint{} + 0x7fffffff)); }

// The weight alpha T of a Gaussian at a pixel; updates the transmittance T.
INLINE vfloat take_share(vfloat& T, vfloat alpha) {
    vfloat share = alpha * T, left = T - share;
    vmask go_on = above(left, splat(TRANSMITTANCE_STOP));  // stops before T falls to the limit
    T = pick(go_on, left, negated(T));
    return keep(go_on, share);
}

// Interleaves four reds, greens and blues to four pixels.
INLINE void interleave(vfloat4 r, vfloat4 g, vfloat4 b, float out[12]) {
    vfloat4 rg0 = __builtin_shufflevector(r, g, 0, 4, 1, 5), rg2 = __builtin_shufflevector(r, g, 2, 6, 3, 7);
    *(vfloat4*)out = __builtin_shufflevector(rg0, b, 0, 1, 4, 2);
    *(vfloat4*)(out + 4) = __builtin_shufflevector(__builtin_shufflevector(rg0, b, 3, 5, 3, 5), rg2, 0, 1, 4, 5);
    *(vfloat4*)(out + 8) = __builtin_shufflevector(rg2, b, 6, 2, 3, 7);
}

struct alignas(64) BlockState {
    vfloat T[PARTS], R[PARTS], G[PARTS], B[PARTS], D[PARTS];
};

// A (splat, tile) pair that changed pixels: the splat and its row. Replaced by a Record in the state.
struct Pair {
    uint32_t splat, row;
};

// Composites a tile's Gaussians, in `sorted` order, into the image. Writes the pairs that changed pixels to `pairs` (if
// not null) with their changed blocks, and returns the number of pairs. `depth` may be null.
static uint32_t composite_tile(const Splat* splats, DepthOrder& sorted, Pair* pairs, uint64_t* changed, const TileFrame& f,
                               float* rgb, float* alpha, float* depth) {
    const PixelCenters centers;
    BlockState state[64];
    for (auto& s : state)
        EACH_PART s.T[k] = splat(1.f), s.R[k] = s.G[k] = s.B[k] = s.D[k] = vfloat{};
    uint64_t alive = f.blocks();
    Batch batch;
    vfloat alphas[VISITS][PARTS];
    uint32_t kept = 0, indices[BATCH];
    for (uint32_t first = 0; first < sorted.count && alive; first += BATCH) {
        int n = sorted.count - first < (uint32_t)BATCH ? (int)(sorted.count - first) : BATCH;
        sorted.reach(first + 2 * BATCH);
        for (int i = 0; i < n; i++) {
            if (first + i + BATCH < sorted.count) __builtin_prefetch(&splats[sorted.index(first + i + BATCH)]);
            indices[i] = sorted.index(first + i);
            batch.place(i, splats[indices[i]], f);
            batch.masks[i] = touched_blocks(splats[indices[i]], batch.x[i], batch.y[i]) & alive;
        }
        // two passes: alphas are independent and pipeline well, transmittances depend on each other
        uint64_t changes[BATCH] = {};
        for (int first_visit = 0, visits = batch.list(n); first_visit < visits; first_visit += VISITS) {
            const uint16_t* visit = batch.visits + first_visit;
            int some = visits - first_visit < VISITS ? visits - first_visit : VISITS;
            for (int v = 0; v < some; v++)
                EACH_PART {
                    vfloat e = footprint(batch, visit[v], centers, k).exponent;
                    alphas[v][k] = keep(at_least(e, splat(-LOG2_255)), lower(exp2_nonpositive(e), splat(ALPHA_MAX)));
                }
            for (int v = 0; v < some; v++) {
                int b = visit[v] & 63, i = visit[v] >> 6;
                const Visible& g = *batch.visible[i];
                BlockState& s = state[b];
                uint32_t changed_lanes = 0;
                EACH_PART {
                    vfloat w = take_share(s.T[k], alphas[v][k]);
                    s.R[k] += w * g.r, s.G[k] += w * g.g, s.B[k] += w * g.b, s.D[k] += w * g.depth;
                    changed_lanes |= bits(above(w, vfloat{}));
                }
                changes[i] |= (uint64_t)(changed_lanes != 0) << b;
            }
        }
        for (uint64_t todo = alive; todo; todo &= todo - 1) {
            int b = __builtin_ctzll(todo);
            uint32_t live = 0;
            EACH_PART live |= bits(above(state[b].T[k], vfloat{}));
            if (!live) alive &= ~(1ull << b);
        }
        if (!pairs) continue;
        for (int i = 0; i < n; i++) {
            pairs[kept].splat = indices[i], changed[kept] = changes[i];
            kept += changes[i] != 0;
        }
    }
    for (int b = 0; b < 64; b++) {
        if ((b >> 3) >= f.block_rows() || (b & 7) >= f.block_cols()) continue;
        alignas(64) float v[5][16];
        const BlockState& s = state[b];
        EACH_PART {
            store(v[0] + k * LANES, s.R[k]), store(v[1] + k * LANES, s.G[k]), store(v[2] + k * LANES, s.B[k]);
            store(v[3] + k * LANES, 1.f - magnitude(s.T[k])), store(v[4] + k * LANES, s.D[k]);
        }
        int X = f.x + (b & 7) * 4, columns = f.width - X < 4 ? f.width - X : 4;
        for (int y = 0; y < 4 && f.y + (b >> 3) * 4 + y < f.height; y++) {
            size_t at = (size_t)(f.y + (b >> 3) * 4 + y) * f.width + X;
            alignas(16) float row[12];
            interleave(*(vfloat4*)&v[0][4 * y], *(vfloat4*)&v[1][4 * y], *(vfloat4*)&v[2][4 * y], row);
            memcpy(rgb + 3 * at, row, 12 * columns);
            memcpy(alpha + at, &v[3][4 * y], 4 * columns);
            if (depth) memcpy(depth + at, &v[4][4 * y], 4 * columns);
        }
    }
    return kept;
}

struct alignas(64) BlockGradient {
    vfloat T[PARTS], behind[PARTS], r[PARTS], g[PARTS], b[PARTS], d[PARTS];  // behind: remaining light times its gradient
};

// The gradient of composite_tile: repeats the compositing of `count` records and writes one row of moments for each.
// Returns false if a record is invalid. `grad.depth` may be null. Visits are processed in three passes, so that each fits into the registers.
static bool composite_tile_backward(const Record* records, uint32_t count, const TileFrame& f, const SplatImage& out,
                                    const SplatImage& grad, size_t pixel, float* moments) {
    if (count == 0) return true;
    const PixelCenters centers;
    BlockGradient state[64];
    uint64_t used = 0;
    for (uint32_t i = 0; i < count; i++) used |= records[i].changed;
    for (; used; used &= used - 1) {
        const int b = __builtin_ctzll(used);
        alignas(64) float g[5][16] = {}, v[5][16] = {};
        for (int i = 0; i < 16; i++) {
            int X = f.x + (b & 7) * 4 + (i & 3), Y = f.y + (b >> 3) * 4 + (i >> 2);
            if (X >= f.width || Y >= f.height) continue;
            size_t at = pixel + (size_t)Y * f.width + X;
            for (int c = 0; c < 3; c++) g[c][i] = grad.rgb[3 * at + c], v[c][i] = out.rgb[3 * at + c];
            g[3][i] = grad.alpha[at], v[3][i] = out.alpha[at];
            if (grad.depth) g[4][i] = grad.depth[at], v[4][i] = out.depth[at];
        }
        EACH_PART {
            BlockGradient& s = state[b];
            const int o = k * LANES;
            s.T[k] = splat(1.f), s.r[k] = load(g[0] + o), s.g[k] = load(g[1] + o), s.b[k] = load(g[2] + o), s.d[k] = load(g[4] + o);
            s.behind[k] = load(v[0] + o) * s.r[k] + load(v[1] + o) * s.g[k] + load(v[2] + o) * s.b[k] + load(v[4] + o) * s.d[k] -
                          (1.f - load(v[3] + o)) * load(g[3] + o);  // minus the final transmittance times the gradient of alpha
        }
    }
    struct alignas(64) Visit {
        vfloat alpha[PARTS], s[PARTS], w[PARTS];  // alpha before clamping, dL/d(log alpha), weight at the pixel
    } visit[VISITS];
    Batch batch;
    for (uint32_t first = 0; first < count;) {
        int n = 0, visits = 0;  // as many records as fit into VISITS visits, at least one
        for (; n < BATCH && first + n < count; n++) {
            visits += __builtin_popcountll(records[first + n].changed);
            if (n && visits > VISITS) break;
            batch.place(n, records[first + n], f), batch.masks[n] = records[first + n].changed;
        }
        visits = batch.list(n);
        for (int j = 0; j < visits; j++)
            EACH_PART {
                vfloat e = footprint(batch, batch.visits[j], centers, k).exponent;
                visit[j].alpha[k] = keep(at_least(e, splat(-LOG2_255)), exp2_nonpositive(e));
            }
        for (int i = 0, j = 0; i < n; i++) {
            const Record& g = records[first + i];
            if (g.row >= count) return false;
            const int end = j + __builtin_popcountll(g.changed);
            vfloat sum[MOMENTS];
            for (auto& x : sum) x = vfloat{};
            for (int v = j; v < end; v++) {
                BlockGradient& s = state[batch.visits[v] & 63];
                EACH_PART {
                    vfloat unclamped = visit[v].alpha[k], a = lower(unclamped, splat(ALPHA_MAX));
                    vfloat w = take_share(s.T[k], a);
                    vfloat light = w * (g.r * s.r[k] + g.g * s.g[k] + g.b * s.b[k] + g.depth * s.d[k]);
                    s.behind[k] -= light;
                    vmask moves = above(w, vfloat{}) & at_least(splat(ALPHA_MAX), unclamped);
                    visit[v].s[k] = keep(moves, light - s.behind[k] * a * reciprocal(1.f - a));
                    visit[v].w[k] = w;
                }
            }
            for (; j < end; j++) {
                const BlockGradient& s = state[batch.visits[j] & 63];
                EACH_PART {
                    Footprint e = footprint(batch, batch.visits[j], centers, k);
                    vfloat u = visit[j].s[k], w = visit[j].w[k], up = u * e.p, uq = u * e.q;
                    sum[0] += u, sum[1] += up, sum[2] += uq, sum[3] += up * e.p, sum[4] += up * e.q, sum[5] += uq * e.q;
                    sum[6] += w * s.r[k], sum[7] += w * s.g[k], sum[8] += w * s.b[k], sum[9] += w * s.d[k];
                }
            }
            alignas(64) float sums[MOMENTS];
            lane_sums(sum, sums);
            memcpy(&sums[10], &g.position, 4);
            memcpy(moments + (size_t)MOMENTS * g.row, sums, sizeof sums);
        }
        first += n;
    }
    return true;
}

}  // namespace CHRONOSPLAT_ISA
