// One view's triangles: projected, culled, clipped at the near plane, and binned into bands of rows that fit the cache.
#pragma once
#include "mesh_shade.h"

namespace CHRONOSPLAT_ISA {

using chronosplat::Array;

// Corners in samples, wound so that the edge functions are positive inside; 1/z is linear in x and y.
struct Triangle {
    float x[3], y[3];
    float inverse_z, slope_x, slope_y, least, most;  // at the first corner; its range over the corners
    int32_t face, x0, x1, y0, y1;                    // the samples it may cover, inclusive
};

struct Triangles {
    Array<Triangle> list;
    int64_t count = 0;
    Array<int64_t> first;  // [bands + 1] into `members`
    Array<int32_t> members;
};

// The sizes of one view in samples, and of the bands it is cut into.
struct Frame {
    int S, width, height, stride;  // samples; a row of the sample buffers has `stride` of them
    int rows, bands;               // rows of pixels in a band
};

static Frame frame_of(const MeshScene& s) {
    constexpr int64_t BAND = 1 << 16;  // samples of 8 bytes: half the second-level cache
    Frame f;
    f.S = s.samples, f.width = s.width * f.S, f.height = s.height * f.S;
    f.stride = (f.width + 15) / 16 * 16;
    int64_t rows = BAND / ((int64_t)f.stride * f.S);
    f.rows = rows < 1 ? 1 : rows > s.height ? s.height : (int)rows;
    f.bands = (s.height + f.rows - 1) / f.rows;
    return f;
}

static void project_vertices(const MeshScene& s, int view, const Frame& frame, Vertex* out) {
    const float *m = s.viewmats + 16 * (size_t)view, *K = s.Ks + 9 * (size_t)view;
    for (int i = 0; i < s.vertices; i++) {
        const float* p = s.positions + 3 * (size_t)i;
        float c[3];
        for (int r = 0; r < 3; r++) c[r] = m[4 * r] * p[0] + m[4 * r + 1] * p[1] + m[4 * r + 2] * p[2] + m[4 * r + 3];
        if (c[2] > s.near_plane) {
            out[i] = {(K[0] * c[0] / c[2] + K[2]) * frame.S, (K[4] * c[1] / c[2] + K[5]) * frame.S, c[2]};
        } else {
            out[i] = {(K[0] * c[0] + K[2] * c[2]) * frame.S, (K[4] * c[1] + K[5] * c[2]) * frame.S, c[2]};
        }
    }
}

// Where the edge from a (in front of the near plane) to b (not in front) meets the plane.
static Vertex meet_plane(const Vertex& a, const Vertex& b, float near) {
    double t = ((double)near - a.z) / ((double)b.z - a.z), x = (double)a.x * a.z, y = (double)a.y * a.z;
    return {(float)((x + t * (b.x - x)) / near), (float)((y + t * (b.y - y)) / near), near};
}

static void add_triangle(const Frame& frame, const Vertex& a, const Vertex& b, const Vertex& c, int32_t face, bool two_sided, Triangles& out) {
    float area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
    if (!(std::fabs(area) < INFINITY) || area == 0) return;  // a finite area means finite corners
    if (area > 0 && !two_sided) return;                      // image y points down: front faces have negative area
    auto least = [](float p, float q, float r) { return p < q ? (p < r ? p : r) : (q < r ? q : r); };
    float left = std::ceil(least(a.x, b.x, c.x) - 0.5f), right = std::floor(-least(-a.x, -b.x, -c.x) - 0.5f);
    float top = std::ceil(least(a.y, b.y, c.y) - 0.5f), bottom = std::floor(-least(-a.y, -b.y, -c.y) - 0.5f);
    int W = frame.width, H = frame.height;
    if (!(left < W && top < H && right >= 0 && bottom >= 0 && left <= right && top <= bottom)) return;
    const Vertex &second = area > 0 ? b : c, &third = area > 0 ? c : b;
    Triangle t{{a.x, second.x, third.x}, {a.y, second.y, third.y}};
    t.face = face;
    t.x0 = left > 0 ? (int)left : 0, t.x1 = right < W - 1 ? (int)right : W - 1;
    t.y0 = top > 0 ? (int)top : 0, t.y1 = bottom < H - 1 ? (int)bottom : H - 1;
    double ia = 1.0 / a.z, ib = 1.0 / b.z - ia, ic = 1.0 / c.z - ia, whole = area;
    t.inverse_z = (float)ia;
    t.slope_x = (float)((ib * (c.y - a.y) - ic * (b.y - a.y)) / whole);
    t.slope_y = (float)((ic * (b.x - a.x) - ib * (c.x - a.x)) / whole);
    t.least = 1 / -least(-a.z, -b.z, -c.z), t.most = 1 / least(a.z, b.z, c.z);
    out.list[out.count++] = t;
}

// Project, cull and clip all faces of a view.
static int set_up(const MeshScene& s, const Frame& frame, const Vertex* vertices, Triangles& out) {
    int64_t most = 0;
    for (int64_t f = 0; f < s.faces; f++) {
        const int32_t* v = s.indices + 3 * f;
        int inside = 0;
        for (int k = 0; k < 3; k++) inside += vertices[v[k]].z > s.near_plane;
        most += inside == 2 ? 2 : inside > 0;
    }
    if (!out.list.take(most)) return STATUS_NO_MEMORY;
    for (int32_t f = 0; f < s.faces; f++) {
        const int32_t* v = s.indices + 3 * (size_t)f;
        bool two_sided = s.material[s.face_materials[f]].two_sided;
        const Vertex* p[3] = {&vertices[v[0]], &vertices[v[1]], &vertices[v[2]]};
        bool in[3] = {p[0]->z > s.near_plane, p[1]->z > s.near_plane, p[2]->z > s.near_plane};
        int inside = in[0] + in[1] + in[2];
        if (inside == 3) {
            add_triangle(frame, *p[0], *p[1], *p[2], f, two_sided, out);
        } else if (inside) {
            Vertex ring[4];
            int n = 0;
            for (int k = 0; k < 3; k++) {
                int next = (k + 1) % 3;
                if (in[k]) ring[n++] = *p[k];
                if (in[k] && !in[next]) ring[n++] = meet_plane(*p[k], *p[next], s.near_plane);
                if (!in[k] && in[next]) ring[n++] = meet_plane(*p[next], *p[k], s.near_plane);
            }
            for (int k = 2; k < n; k++) add_triangle(frame, ring[0], ring[k - 1], ring[k], f, two_sided, out);
        }
    }
    return STATUS_OK;
}

// Sort the triangles into bands, in the order of the faces.
static int bin(const Frame& frame, Triangles& t) {
    int per_band = frame.rows * frame.S;
    if (!t.first.take_zeroed(frame.bands + 2)) return STATUS_NO_MEMORY;
    auto each_band = [&](int64_t i, auto visit) {
        for (int band = t.list[i].y0 / per_band; band <= t.list[i].y1 / per_band; band++) visit(band);
    };
    for (int64_t i = 0; i < t.count; i++) each_band(i, [&](int band) { t.first[band + 2]++; });
    for (int band = 0; band < frame.bands; band++) t.first[band + 2] += t.first[band + 1];
    if (!t.members.take(t.first[frame.bands + 1])) return STATUS_NO_MEMORY;
    for (int64_t i = 0; i < t.count; i++) each_band(i, [&](int band) { t.members[t.first[band + 1]++] = (int32_t)i; });
    return STATUS_OK;
}

INLINE vfloat lane_centers() {
    float x[LANES];
    for (int i = 0; i < LANES; i++) x[i] = i + 0.5f;
    vfloat centers;
    memcpy(&centers, x, sizeof centers);
    return centers;
}

// Call visit(y, x, inside, 1/z) for LANES samples at a time that a triangle may cover, in rows [from, to) of the samples.
//
// An edge is evaluated from its lower end whichever face has it, so two neighbours agree on its sign to the last bit: no sample
// between them is lost. With `exclusive`, a sample on the edge belongs to one of them only.
template <bool EXCLUSIVE, class Visit> INLINE void scan(const Triangle& t, int from, int to, Visit visit) {
    float ax[3], ay[3], rise[3], run[3];  // the edge function is rise - run: both from the lower end
    bool closed[3];
    for (int k = 0; k < 3; k++) {
        int i = k, j = (k + 1) % 3;
        bool swap = t.x[i] > t.x[j] || (t.x[i] == t.x[j] && t.y[i] > t.y[j]);
        int low = swap ? j : i, high = swap ? i : j;
        float sign = swap ? -1.f : 1.f;
        ax[k] = t.x[low], ay[k] = t.y[low];
        rise[k] = sign * (t.x[high] - t.x[low]), run[k] = sign * (t.y[high] - t.y[low]);
        closed[k] = !EXCLUSIVE || !swap;
    }
    int y0 = t.y0 > from ? t.y0 : from, y1 = t.y1 < to - 1 ? t.y1 : to - 1, x0 = t.x0 & ~(LANES - 1);
    const vfloat centers = lane_centers(), least = splat(t.least), most = splat(t.most);
    for (int y = y0; y <= y1; y++) {
        float py = y + 0.5f, e[3], z = t.inverse_z + t.slope_y * (py - t.y[0]);
        for (int k = 0; k < 3; k++) e[k] = rise[k] * (py - ay[k]);
        for (int x = x0; x <= t.x1; x += LANES) {
            vfloat px = centers + (float)x;
            vmask inside = closed[0] ? at_least(e[0] - run[0] * (px - ax[0]), splat(0)) : above(e[0] - run[0] * (px - ax[0]), splat(0));
            for (int k = 1; k < 3; k++) {
                vfloat value = e[k] - run[k] * (px - ax[k]);
                inside = inside & (closed[k] ? at_least(value, splat(0)) : above(value, splat(0)));
            }
            if (!any(inside)) continue;
            visit(y, x, inside, lower(upper(z + t.slope_x * (px - t.x[0]), least), most));
        }
    }
}

}  // namespace CHRONOSPLAT_ISA
