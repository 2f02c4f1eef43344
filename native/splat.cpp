// Forward and backward pass of the splat renderer. Compiled once per instruction set; dispatch.cpp chooses at run time.
//
//   forward:  project (chunks of Gaussians x views) -> bin into tiles (counting sort) -> sort by depth and composite each tile
//   backward: composite again with gradients (one row per pair) -> sum the rows of a Gaussian in fixed order -> parameters
//   fit:      forward, image loss and backward, one tile after the other
//
// The order of all sums is independent of the threads, so gradients are bitwise reproducible.
#include "splat.h"
#include "chunk_backward.h"
#include "image_loss.h"
#include "projection.h"
#include "runtime.h"
#include "state.h"
#include "tiles.h"

using chronosplat::Array;
using chronosplat::parallel_for;

namespace CHRONOSPLAT_ISA {

struct TileBox {
    uint16_t x0, x1, y0, y1;
};

// Working memory of the forward pass.
struct Forward {
    const SplatScene& s;
    const Layout at;
    Array<Splat> splats;      // [images, chunks, stride]: visible ones first in each chunk
    Array<TileBox> boxes;     // same
    Array<int32_t> visible;   // [images, chunks]
    Array<uint32_t> cells;    // [images, chunks, tiles]: counts, then cursors
    Array<uint32_t> start;    // [images * tiles + 1] first key of each tile
    Array<DepthKey> keys;     // per (splat, tile); later replaced by the tile's pairs that changed pixels
    Array<uint64_t> changed;  // blocks changed by each pair
    Array<uint32_t> kept;     // [images * tiles] number of pairs
    Array<uint32_t> ends;     // [images, tiles, chunks] where a chunk's rows end in the tile
    std::atomic<int> status{STATUS_OK};

    void project_chunk(int scene, int chunk);
    void project_vectors(const Chunk& g, const float* colors, int chunk, int image);
    void deal_chunk(size_t image_chunk);
    void composite(size_t item, const SplatImage& out, bool keep);
    void list_records(size_t item, Record* to);
    int bin(bool keep);
    int run(const SplatImage& out, SplatState* state);
    int fit(const ImageTargets& targets, double& loss, const SplatGradients& grad);
    int write_state(SplatState& state);
};

void Forward::project_chunk(int scene, int chunk) {
    const size_t first = (size_t)chunk * CHUNK;
    const int left = s.gaussians - (int)first, n = left < CHUNK ? left : CHUNK;
    const SplatScene own = scene_at(s, scene);
    Array<Chunk> scratch;
    if (!scratch.take(1)) {
        status = STATUS_NO_MEMORY;
        return;
    }
    if (!is_finite(own, first, n)) {
        status = STATUS_NOT_FINITE;
        return;
    }
    fill_chunk(scratch[0], own, first, n);
    for (int view = 0; view < s.views; view++) project_vectors(scratch[0], own.colors + 3 * first, chunk, scene * s.views + view);
}

void Forward::project_vectors(const Chunk& g, const float* colors, int chunk, int image) {
    const float *vm = s.viewmats + 16 * (size_t)image, *K = s.Ks + 9 * (size_t)image, time = s.times ? s.times[image] : 0.f;
    const float W = (float)s.width, H = (float)s.height;
    const vfloat weight_min = log2_positive(splat(s.weight_min > 1e-30f ? s.weight_min : 1e-30f));
    const vfloat opacity_min = log2_positive(splat(s.opacity_min > 1.f / 255 ? s.opacity_min : 1.f / 255));
    size_t cell = (size_t)image * at.chunks + chunk;
    Splat* to = &splats[cell * at.stride];
    TileBox* box_to = &boxes[cell * at.stride];
    uint32_t* count = &cells[cell * at.tiles];
    int seen_count = 0;
    for (int i = 0; i < g.padded; i += LANES) {
        vfloat weight = log_weight(g, i, s, time), lo = load(g.log_opacity + i) + weight;
        vmask seen = at_least(weight, weight_min) & at_least(lo, opacity_min);
        if (!any(seen)) continue;
        vfloat mean[3];
        means_at(g, i, s, time, mean);
        Projected p;
        project(p, g, i, mean, vm, K, s);
        if (s.antialiased) lo += log_compensation(p);
        // the slack covers rounding here and in the tiles
        vfloat budget = (lo + LOG2_255) * 1.00001f + 1e-4f, reach2 = budget * (2 / LOG2E);
        vfloat reach_x = root(reach2 * p.a), reach_y = root(reach2 * p.c);
        seen = seen & at_least(lo, splat(-LOG2_255)) & in_depth_range(p, s) & above(p.u + reach_x, vfloat{}) &
               above(splat(W), p.u - reach_x) & above(p.v + reach_y, vfloat{}) & above(splat(H), p.v - reach_y);
        if (s.radius_clip > 0)  // both radii, rounded up to whole pixels, at most the clip
            seen = seen & (above(upper(reach_x, reach_y), splat(__builtin_floorf(s.radius_clip))));
        uint32_t lanes = bits(seen);
        if (!lanes) continue;
        vfloat shear = p.beta / p.alpha, ratio = p.gamma / p.alpha, extent = root(budget) / p.alpha;
        const vfloat fields[12] = {p.u, p.v, p.alpha, p.beta, p.gamma, lo, p.Z, shear, ratio * ratio, extent * extent,
                                   root(budget) / p.gamma, p.b * root(reach2 / p.a)};
        alignas(64) float F[12][LANES];
        for (int k = 0; k < 12; k++) store(F[k], fields[k]);
        alignas(64) int32_t edge[4][LANES];
        const vfloat edges[4] = {p.u - reach_x, p.u + reach_x, p.v - reach_y, p.v + reach_y};
        for (int k = 0; k < 4; k++)
            *(vint*)edge[k] = __builtin_convertvector(lower(upper(edges[k], vfloat{}), splat((k < 2 ? W : H) - 1)), vint) / TILE;
        for (; lanes; lanes &= lanes - 1) {
            int k = __builtin_ctz(lanes);
            const float* color = colors + 3 * g.id[i + k];
            to[seen_count] = Splat{{F[0][k], F[1][k], F[2][k], F[3][k], F[4][k], F[5][k], color[0], color[1], color[2], F[6][k]},
                                   F[7][k], F[8][k], F[9][k], F[10][k], F[11][k], (uint32_t)(i + k)};
            TileBox b{(uint16_t)edge[0][k], (uint16_t)edge[1][k], (uint16_t)edge[2][k], (uint16_t)edge[3][k]};
            box_to[seen_count++] = b;
            for (int y = b.y0; y <= b.y1; y++)
                for (int x = b.x0; x <= b.x1; x++) count[y * at.tiles_x + x]++;
        }
    }
    visible[cell] = seen_count;
}

void Forward::deal_chunk(size_t image_chunk) {
    uint32_t* cursor = &cells[image_chunk * at.tiles];
    size_t base = image_chunk * at.stride;
    for (size_t j = base, end = base + visible[image_chunk]; j < end; j++) {
        const TileBox& b = boxes[j];
        DepthKey key = depth_key(splats[j].depth, (uint32_t)j);
        for (int y = b.y0; y <= b.y1; y++)
            for (int x = b.x0; x <= b.x1; x++) keys[cursor[y * at.tiles_x + x]++] = key;
    }
}

void Forward::composite(size_t item, const SplatImage& out, bool keep) {
    uint32_t lo = start[item], n = start[item + 1] - lo;
    Array<DepthKey> scratch;
    if (!scratch.take(2 * (size_t)n + 1)) {
        status = STATUS_NO_MEMORY;
        return;
    }
    DepthOrder order(&keys[lo], n, scratch.p, scratch.p + n);
    size_t pixel = (item / at.tiles) * (size_t)s.width * s.height;
    Pair* pairs = keep ? (Pair*)&keys[lo] : nullptr;
    uint32_t count = composite_tile(splats.p, order, pairs, keep ? &changed[lo] : nullptr, at.frame(s, item), out.rgb + 3 * pixel,
                                    out.alpha + pixel, out.depth + pixel);
    if (!keep) return;
    kept[item] = count;
    // order rows of moments by chunk, so that those of a chunk are contiguous
    size_t image = item / at.tiles;
    uint32_t *end = &ends[item * at.chunks], sum = 0;
    memset(end, 0, at.chunks * sizeof(uint32_t));
    for (uint32_t i = 0; i < count; i++) end[at.chunk_of(pairs[i].splat, image)]++;
    for (int chunk = 0; chunk < at.chunks; chunk++) {
        uint32_t here = end[chunk];
        end[chunk] = sum, sum += here;
    }
    for (uint32_t i = 0; i < count; i++) pairs[i].row = end[at.chunk_of(pairs[i].splat, image)]++;
}

// Projects all Gaussians and lists those of each tile.
int Forward::bin(bool keep) {
    size_t image_chunks = (size_t)at.images * at.chunks, items = (size_t)at.images * at.tiles;
    if (image_chunks * at.stride >> 31) return STATUS_TOO_MANY;
    if (!splats.take(image_chunks * at.stride) || !boxes.take(image_chunks * at.stride) || !visible.take(image_chunks) ||
        !cells.take_zeroed(image_chunks * at.tiles) || !start.take(items + 1) || !kept.take(items))
        return STATUS_NO_MEMORY;
    parallel_for((int64_t)s.scenes * at.chunks, s.threads, [&](int64_t item, int) {
        project_chunk((int)(item / at.chunks), (int)(item % at.chunks));
    });
    if (status) return status;
    uint64_t sum = 0;
    for (int image = 0; image < at.images; image++) {  // convert counts to cursors, row by row
        uint32_t *first = &start[(size_t)image * at.tiles], *rows = &cells[(size_t)image * at.chunks * at.tiles], *row = rows;
        memset(first, 0, at.tiles * sizeof(uint32_t));
        for (int chunk = 0; chunk < at.chunks; chunk++, row += at.tiles)
            for (int t = 0; t < at.tiles; t++) first[t] += row[t];
        for (int t = 0; t < at.tiles; t++) {
            uint32_t count = first[t];
            first[t] = (uint32_t)sum, sum += count;
            if (sum >> 31) return STATUS_TOO_MANY;
        }
        Array<uint32_t> cursor;
        if (!cursor.take(at.tiles)) return STATUS_NO_MEMORY;
        memcpy(cursor.p, first, at.tiles * sizeof(uint32_t));
        row = rows;
        for (int chunk = 0; chunk < at.chunks; chunk++, row += at.tiles)
            for (int t = 0; t < at.tiles; t++) {
                uint32_t count = row[t];
                row[t] = cursor[t], cursor[t] += count;
            }
    }
    start[items] = (uint32_t)sum;
    if (!keys.take(sum + 1) || (keep && (!changed.take(sum + 1) || !ends.take(items * at.chunks)))) return STATUS_NO_MEMORY;
    parallel_for((int64_t)image_chunks, s.threads, [&](int64_t item, int) { deal_chunk((size_t)item); });
    boxes.drop();
    return STATUS_OK;
}

int Forward::run(const SplatImage& out, SplatState* state) {
    if (int failed = bin(state != nullptr)) return failed;
    parallel_for((int64_t)at.images * at.tiles, s.threads, [&](int64_t item, int) { composite((size_t)item, out, state != nullptr); });
    if (status || !state) return status;
    return write_state(*state);
}

// The tile's pairs that changed pixels, for the backward pass.
void Forward::list_records(size_t item, Record* to) {
    const Pair* pairs = (const Pair*)&keys[start[item]];
    for (uint32_t i = 0; i < kept[item]; i++) {
        if (i + 24 < kept[item]) __builtin_prefetch(&splats[pairs[i + 24].splat]);
        const Splat& splat = splats[pairs[i].splat];
        to[i] = Record{splat, splat.position, pairs[i].row, changed[start[item] + i], 0};
    }
}

int Forward::write_state(SplatState& state) {
    size_t items = (size_t)at.images * at.tiles;
    uint64_t rows = 0;
    for (size_t item = 0; item < items; item++) rows += kept[item];
    state.bytes = (int64_t)State::bytes(at, rows);
    if (!(state.block = chronosplat::block_take(state.bytes))) return STATUS_NO_MEMORY;
    State to = State::write_header(state.block, at, rows);
    uint32_t sum = 0;
    for (size_t item = 0; item < items; sum += kept[item++]) to.start[item] = sum;
    to.start[items] = sum;
    memcpy(to.ends, ends.p, items * at.chunks * sizeof(uint32_t));
    parallel_for((int64_t)items, s.threads, [&](int64_t item, int) { list_records((size_t)item, to.records + to.start[item]); });
    return STATUS_OK;
}

// Converts the moments of all tiles to gradients.
static int parameter_gradients(const SplatScene& s, const Layout& at, const State& from, const float* moments, const SplatGradients& grad) {
    Array<float> cameras, each;
    const size_t count = (size_t)s.scenes * s.gaussians;
    if (grad.viewmats && !cameras.take((size_t)at.images * at.chunks * 12)) return STATUS_NO_MEMORY;
    SplatGradients apart = grad;  // of each scene
    if (s.shared) {
        if (!each.take(7 * count)) return STATUS_NO_MEMORY;
        apart.scales = each.p, apart.colors = each.p + 3 * count, apart.opacities = each.p + 6 * count;
    }
    std::atomic<int> status{STATUS_OK};
    parallel_for((int64_t)s.scenes * at.chunks, s.threads, [&](int64_t item, int) {
        Array<ChunkBackward> scratch;
        if (!scratch.take(1)) status = STATUS_NO_MEMORY;
        else if (!scratch[0].run(s, at, from, moments, (int)(item / at.chunks), (int)(item % at.chunks), apart, cameras.p))
            status = STATUS_BAD_STATE;
    });
    if (status) return status;
    if (s.shared) {
        auto add_scenes = [&](const float* from, float* to, size_t width) {
            const size_t n = width * s.gaussians;
            memcpy(to, from, n * sizeof(float));
            for (int scene = 1; scene < s.scenes; scene++)
                for (size_t i = 0; i < n; i++) to[i] += from[scene * n + i];
        };
        add_scenes(apart.scales, grad.scales, 3), add_scenes(apart.colors, grad.colors, 3), add_scenes(apart.opacities, grad.opacities, 1);
    }
    if (!grad.viewmats) return STATUS_OK;
    for (int image = 0; image < at.images; image++) {
        double sum[12] = {};
        for (int chunk = 0; chunk < at.chunks; chunk++)
            for (int k = 0; k < 12; k++) sum[k] += cameras[((size_t)image * at.chunks + chunk) * 12 + k];
        float* to = grad.viewmats + 16 * (size_t)image;
        for (int r = 0; r < 4; r++)
            for (int k = 0; k < 4; k++) to[4 * r + k] = r == 3 ? 0.f : (float)(k < 3 ? sum[3 * r + k] : sum[9 + r]);
    }
    return STATUS_OK;
}

// A tile's loss depends on its own pixels alone, so that its backward pass follows at once: no state is written.
int Forward::fit(const ImageTargets& targets, double& loss, const SplatGradients& grad) {
    if (int failed = bin(true)) return failed;
    const size_t items = (size_t)at.images * at.tiles, pixels = (size_t)s.width * s.height;
    Array<float> moments, image, d_image;
    Array<double> losses;
    if (!moments.take((size_t)MOMENTS * start[items] + 16) || !losses.take(items) || !image.take(4 * pixels * at.images) ||
        !d_image.take(4 * pixels * at.images))
        return STATUS_NO_MEMORY;
    const SplatImage out{image.p, image.p + 3 * pixels * at.images, nullptr}, d_out{d_image.p, d_image.p + 3 * pixels * at.images, nullptr};
    parallel_for((int64_t)items, s.threads, [&](int64_t tile, int) {
        const size_t item = (size_t)tile, view = item / at.tiles, pixel = view * pixels;
        const TileFrame f = at.frame(s, item);
        composite(item, out, true);
        if (status) return;
        Array<Record> records;
        if (!records.take(kept[item] + 1)) {
            status = STATUS_NO_MEMORY;
            return;
        }
        const int x1 = f.x + TILE < s.width ? f.x + TILE : s.width, y1 = f.y + TILE < s.height ? f.y + TILE : s.height;
        double sum = 0;
        for (int y = f.y; y < y1; y++)
            sum += loss_row(targets, (int)view, y, f.x, x1, out.rgb + 3 * pixel, out.alpha + pixel, kept[item] ? d_out.rgb + 3 * pixel : nullptr,
                            d_out.alpha + pixel);
        losses[item] = sum;
        list_records(item, records.p);
        composite_tile_backward(records.p, kept[item], f, out, d_out, pixel, moments.p + (size_t)MOMENTS * start[item]);
    });
    if (status) return status;
    loss = 0;
    for (size_t item = 0; item < items; item++) loss += losses[item];
    State from;
    from.rows = start[items], from.records = nullptr, from.start = start.p, from.ends = ends.p;
    return parameter_gradients(s, at, from, moments.p, grad);
}

int forward(const SplatScene& s, const SplatImage& out, SplatState* state) {
    Forward pass{s, Layout(s)};
    return pass.run(out, state);
}

int backward(const SplatScene& s, const SplatState& state, const SplatImage& out, const SplatImage& g_out, const SplatGradients& grad) {
    const Layout at(s);
    State from;
    if (!from.read(state.block, state.bytes, at)) return STATUS_BAD_STATE;
    Array<float> moments;
    if (!moments.take((size_t)MOMENTS * from.rows + 16)) return STATUS_NO_MEMORY;
    std::atomic<int> status{STATUS_OK};
    size_t items = (size_t)at.images * at.tiles, pixels = (size_t)s.width * s.height;
    parallel_for((int64_t)items, s.threads, [&](int64_t item, int) {
        uint32_t first = from.start[item], count = from.start[item + 1] - first;
        if (!from.tile_fits(at, (size_t)item) ||
            !composite_tile_backward(from.records + first, count, at.frame(s, item), out, g_out, (item / at.tiles) * pixels,
                                     moments.p + (size_t)MOMENTS * first))
            status = STATUS_BAD_STATE;
    });
    return status ? (int)status : parameter_gradients(s, at, from, moments.p, grad);
}

int fit(const SplatScene& s, const ImageTargets& targets, double& loss, const SplatGradients& grad) {
    Forward pass{s, Layout(s)};
    return pass.fit(targets, loss, grad);
}

}  // namespace CHRONOSPLAT_ISA
