// One band of rows: the nearest opaque face of every sample, and all blended faces in front of it.
#pragma once
#include "mesh_setup.h"

namespace CHRONOSPLAT_ISA {

// A sample of a blended face.
struct Fragment {
    int32_t face, sample;  // sample: of its pixel, row-major
    float inverse_z;
};

// Buffers of one thread, for one band at a time.
struct Band {
    int top, end;             // rows of pixels
    int left, right;          // columns of pixels that anything covers, right exclusive
    Array<float> inverse_z;   // [rows, stride], 0 where nothing is
    Array<int32_t> face;      // valid where inverse_z is above 0
    Array<int64_t> first;     // [pixels + 2] into `fragments`; empty without blended faces
    Array<Fragment> fragments;
    bool blended = false;
};

// Whether a sample of a masked material is there.
static bool passes_mask(const Stage& stage, const View& view, const MeshMaterial& m, int32_t face, float px, float py) {
    Point p;
    float footprint = stage.s.shading == SHADING_PBR ? 1.f : 0.f;  // of one sample
    return locate(stage, view, face, px, py, p) && base_color(stage, m, p, footprint).a >= m.cutoff - 1e-6f;
}

static void draw_opaque(const Stage& stage, const View& view, const Frame& frame, const Triangle& t, const MeshMaterial& m, Band& band) {
    int row0 = band.top * frame.S;
    const vfloat face = (vfloat)(vint{} + t.face);
    scan<false>(t, row0, band.end * frame.S, [&](int y, int x, vmask inside, vfloat z) {
        size_t at = (size_t)(y - row0) * frame.stride + x;
        vfloat old = load(&band.inverse_z[at]);
        vmask nearer = inside & above(z, old);
        if (!any(nearer)) return;
        if (m.alpha_mode == 0) {
            store(&band.inverse_z[at], pick(nearer, z, old));
            store((float*)&band.face[at], pick(nearer, face, load((float*)&band.face[at])));
            return;
        }
        for (uint32_t left = bits(nearer); left; left &= left - 1) {
            int lane = __builtin_ctz(left);
            if (x + lane >= frame.width || !passes_mask(stage, view, m, t.face, x + lane + 0.5f, y + 0.5f)) continue;
            band.inverse_z[at + lane] = z[lane], band.face[at + lane] = t.face;
        }
    });
}

// Call visit(pixel of the band, sample, 1/z) for the samples of a blended triangle in front of everything opaque.
template <class Visit> static void each_fragment(const Frame& frame, const Triangle& t, const Band& band, int width, Visit visit) {
    int row0 = band.top * frame.S, S = frame.S;
    scan<true>(t, row0, band.end * S, [&](int y, int x, vmask inside, vfloat z) {
        vmask nearer = inside & above(z, load(&band.inverse_z.p[(size_t)(y - row0) * frame.stride + x]));
        for (uint32_t left = bits(nearer); left; left &= left - 1) {
            int lane = __builtin_ctz(left), column = x + lane;
            if (column < frame.width) visit((int64_t)((y - row0) / S) * width + column / S, y % S * S + column % S, (float)z[lane]);
        }
    });
}

static int collect_fragments(const Stage& stage, const Frame& frame, const Triangles& t, int64_t from, int64_t to, Band& band) {
    constexpr int64_t MOST = (int64_t)1 << 27;
    const MeshScene& s = stage.s;
    int64_t pixels = (int64_t)(band.end - band.top) * s.width;
    auto each = [&](auto visit) {
        for (int64_t k = from; k < to; k++) {
            const Triangle& one = t.list.p[t.members.p[k]];
            if (s.material[s.face_materials[one.face]].alpha_mode == 2)
                each_fragment(frame, one, band, s.width, [&](int64_t pixel, int sample, float z) { visit(one.face, pixel, sample, z); });
        }
    };
    if (!band.first.take_zeroed(pixels + 2)) return STATUS_NO_MEMORY;
    each([&](int32_t, int64_t pixel, int, float) { band.first[pixel + 2]++; });
    for (int64_t i = 0; i < pixels; i++) band.first[i + 2] += band.first[i + 1];
    int64_t total = band.first[pixels + 1];
    if (total > MOST) return STATUS_TOO_MANY;
    if (!band.fragments.take(total)) return STATUS_NO_MEMORY;
    each([&](int32_t face, int64_t pixel, int sample, float z) { band.fragments[band.first[pixel + 1]++] = {face, sample, z}; });
    return STATUS_OK;
}

// Fill the buffers for band `index`.
static int draw_band(const Stage& stage, const View& view, const Frame& frame, const Triangles& t, int index, Band& band) {
    const MeshScene& s = stage.s;
    band.top = index * frame.rows, band.end = band.top + frame.rows < s.height ? band.top + frame.rows : s.height;
    int64_t from = t.first.p[index], to = t.first.p[index + 1];
    int left = frame.width, right = -1;
    band.blended = false;
    for (int64_t k = from; k < to; k++) {
        const Triangle& one = t.list.p[t.members.p[k]];
        left = one.x0 < left ? one.x0 : left, right = one.x1 > right ? one.x1 : right;
        band.blended |= s.material[s.face_materials[one.face]].alpha_mode == 2;
    }
    band.left = left / frame.S, band.right = right < 0 ? 0 : right / frame.S + 1;
    if (right < 0) return STATUS_OK;
    int begin = band.left * frame.S / 16 * 16, end = (right / 16 + 1) * 16;  // whole vectors
    end = end < frame.stride ? end : frame.stride;
    int need = band.right * frame.S;
    end = end < need ? (need + 15) / 16 * 16 : end;
    for (int y = 0; y < (band.end - band.top) * frame.S; y++)
        memset(&band.inverse_z[(size_t)y * frame.stride + begin], 0, sizeof(float) * (end - begin));
    for (int64_t k = from; k < to; k++) {
        const Triangle& one = t.list.p[t.members.p[k]];
        const MeshMaterial& m = s.material[s.face_materials[one.face]];
        if (m.alpha_mode != 2) draw_opaque(stage, view, frame, one, m, band);
    }
    return band.blended ? collect_fragments(stage, frame, t, from, to, band) : STATUS_OK;
}

}  // namespace CHRONOSPLAT_ISA
