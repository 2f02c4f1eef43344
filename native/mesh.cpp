// Mesh rasteriser: a regular grid of samples per pixel, each face shaded where it is visible, averaging in linear light.
//
// The arithmetic is strict IEEE (native/build.py), so that every instruction set and any number of threads give the same bytes.
#include "mesh_band.h"

namespace CHRONOSPLAT_ISA {
namespace {

// The part of a pixel that one face covers.
struct Group {
    int32_t face, count;  // samples
    int64_t x, y;         // sums of their positions, twice, in samples of the pixel
    float weight;         // visible samples
    bool found;           // whether the face has a point there; not where numbers overflow
    Color color;          // linear, a is the opacity
    Point point;          // the mean of the samples
    float normal[3];
};

struct Pixel {
    Array<Group> groups;
    Array<int32_t> of_sample;  // [S * S] group of the opaque face; -1 none
    int count = 0;

    // The group of a face among those from `first` on, made if it is new.
    int group(int32_t face, int first) {
        for (int i = count - 1; i >= first; i--)
            if (groups[i].face == face) return i;
        Group& g = groups[count];
        g.face = face, g.count = 0, g.x = g.y = 0, g.weight = 0;
        return count++;
    }
    void add(int i, int sample, int S) {
        Group& g = groups[i];
        g.count++, g.x += 2 * (sample % S) + 1, g.y += 2 * (sample / S) + 1;
    }
};

// Fragments by sample, the nearest first; faces in their order where depths are equal.
bool before(const Fragment& a, const Fragment& b) {
    if (a.sample != b.sample) return a.sample < b.sample;
    return a.inverse_z != b.inverse_z ? a.inverse_z > b.inverse_z : a.face < b.face;
}

void sort_fragments(Fragment* list, int64_t n) {
    static const int64_t gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};  // Shell sort with Ciura's gaps
    for (int64_t gap : gaps)
        for (int64_t i = gap; i < n; i++) {
            Fragment moved = list[i];
            int64_t j = i;
            for (; j >= gap && before(moved, list[j - gap]); j -= gap) list[j] = list[j - gap];
            list[j] = moved;
        }
}

// Composite the blended layers of a pixel over its opaque faces: fills the weights of all groups.
void composite(Pixel& pixel, const Fragment* list, int64_t n, int first_blended, int samples) {
    int64_t k = 0;
    for (int sample = 0; sample < samples; sample++) {
        float through = 1;
        for (; k < n && list[k].sample == sample; k++) {
            Group& g = pixel.groups[pixel.group(list[k].face, first_blended)];
            g.weight += through * g.color.a, through *= 1 - g.color.a;
        }
        if (pixel.of_sample[sample] >= 0) pixel.groups[pixel.of_sample[sample]].weight += through;
    }
}

struct Painter {
    const Stage& stage;
    const View& view;
    const Frame& frame;
    int index;  // of the view
    Pixel pixel;

    // The colour of a group; X, Y is the first sample of the pixel.
    Color shade(const Group& g, float sign, int X, int Y) {
        const MeshMaterial& m = stage.s.material[stage.s.face_materials[g.face]];
        if (stage.s.shading == SHADING_PBR) return shade_pbr(stage, view, m, g.point, g.normal, sign, (float)frame.S);
        if (m.alpha_mode == 2) return shade_lambert(stage, view, m, g.point, (float)frame.S);
        Color sum{0, 0, 0, 1};
        int shaded = 0;
        for (int i = 0; i < frame.S * frame.S; i++) {
            Point p;
            if (pixel.of_sample[i] < 0 || &pixel.groups[pixel.of_sample[i]] != &g) continue;
            if (!locate(stage, view, g.face, X + i % frame.S + 0.5f, Y + i / frame.S + 0.5f, p)) continue;
            Color one = shade_lambert(stage, view, m, p, 0);
            sum.r += one.r, sum.g += one.g, sum.b += one.b, shaded++;
        }
        if (shaded) sum.r /= shaded, sum.g /= shaded, sum.b /= shaded;
        return sum;
    }

    // Shade the groups of a pixel.
    void shade_all(int X, int Y) {
        for (int i = 0; i < pixel.count; i++) {
            Group& g = pixel.groups[i];
            float px = X + 0.5f * g.x / g.count, py = Y + 0.5f * g.y / g.count;
            g.found = locate(stage, view, g.face, px, py, g.point) && normal_at(stage, g.point, g.normal);
            g.color = {0, 0, 0, 0};
            if (!g.found) continue;
            float sign = side(stage, view, g.point, g.normal);
            g.color = shade(g, sign, X, Y);
            if (stage.s.material[stage.s.face_materials[g.face]].alpha_mode != 2) g.color.a = 1;
            for (int k = 0; k < 3; k++) g.normal[k] *= sign;
        }
    }

    void clear(size_t at) {
        const MeshScene& s = stage.s;
        memset(s.rgba + 4 * at, 0, 4);
        if (s.depth) s.depth[at] = 0;
        if (s.motion) memset(s.motion + 3 * at, 0, 3 * sizeof(float));
        if (s.surface_normals) memset(s.surface_normals + 3 * at, 0, 3 * sizeof(float));
        if (s.parts) s.parts[at] = -1;
    }

    // Write the mean of the groups by their weights.
    void write(size_t at) {
        const MeshScene& s = stage.s;
        float total = 0, color[3] = {0, 0, 0}, depth = 0, motion[3] = {0, 0, 0}, normal[3] = {0, 0, 0}, most = 0;
        int32_t part = -1;
        for (int i = 0; i < pixel.count; i++) {
            const Group& g = pixel.groups[i];
            if (!(g.found && g.weight > 0)) continue;
            total += g.weight, depth += g.weight * g.point.z;
            color[0] += g.weight * g.color.r, color[1] += g.weight * g.color.g, color[2] += g.weight * g.color.b;
            float moved[3] = {0, 0, 0};
            if (s.motion) interpolate<3>(s.velocities, g.point.v, g.point.w, moved);
            for (int k = 0; k < 3; k++) motion[k] += g.weight * moved[k], normal[k] += g.weight * g.normal[k];
            if (!s.parts) continue;
            int32_t mine = s.face_parts ? s.face_parts[g.face] : 0;
            float share = 0;
            for (int j = 0; j < pixel.count; j++)
                if ((s.face_parts ? s.face_parts[pixel.groups[j].face] : 0) == mine) share += pixel.groups[j].weight;
            if (share > most || (share == most && mine < part)) most = share, part = mine;
        }
        uint8_t alpha = (uint8_t)(255.f * clip(total / (frame.S * frame.S)) + 0.5f);
        if (!(total > 0) || alpha == 0) return clear(at);
        uint8_t* out = s.rgba + 4 * at;
        for (int k = 0; k < 3; k++) out[k] = stage.code.encode(clip(color[k] / total));
        out[3] = alpha;
        if (s.depth) s.depth[at] = depth / total;
        for (int k = 0; s.motion && k < 3; k++) s.motion[3 * at + k] = motion[k] / total;
        if (s.surface_normals) {
            if (!normalize(normal)) normal[0] = normal[1] = normal[2] = 0;
            memcpy(s.surface_normals + 3 * at, normal, sizeof normal);
        }
        if (s.parts) s.parts[at] = part;
    }

    // Find the faces of a pixel; false where there are none.
    bool gather(const Band& band, int x, int y, const Fragment* fragments, int64_t n, int& opaque) {
        int S = frame.S;
        pixel.count = 0;
        for (int sy = 0; sy < S; sy++) {
            size_t row = (size_t)((y - band.top) * S + sy) * frame.stride + (size_t)x * S;
            for (int sx = 0; sx < S; sx++) {
                int& group = pixel.of_sample[sy * S + sx];
                group = -1;
                if (!(band.inverse_z[row + sx] > 0)) continue;
                group = pixel.group(band.face[row + sx], 0);
                pixel.add(group, sy * S + sx, S);
            }
        }
        opaque = pixel.count;
        for (int64_t i = 0; i < n; i++) pixel.add(pixel.group(fragments[i].face, opaque), fragments[i].sample, S);
        return pixel.count > 0;
    }

    int paint(Band& band) {
        const MeshScene& s = stage.s;
        int samples = frame.S * frame.S, opaque = 0;
        int64_t most = 0, pixels = (int64_t)(band.end - band.top) * s.width;
        for (int64_t i = 0; band.blended && i < pixels; i++) most = band.first[i + 1] - band.first[i] > most ? band.first[i + 1] - band.first[i] : most;
        if (!pixel.of_sample.take(samples) || !pixel.groups.take(samples + most)) return STATUS_NO_MEMORY;
        for (int y = band.top; y < band.end; y++)
            for (int x = 0; x < s.width; x++) {
                size_t at = ((size_t)index * s.height + y) * s.width + x;
                int64_t here = (int64_t)(y - band.top) * s.width + x, n = band.blended ? band.first[here + 1] - band.first[here] : 0;
                Fragment* fragments = n ? &band.fragments[band.first[here]] : nullptr;
                if (x < band.left || x >= band.right || !gather(band, x, y, fragments, n, opaque)) {
                    clear(at);
                    continue;
                }
                shade_all(x * frame.S, y * frame.S);
                for (int i = 0; i < opaque && !n; i++) pixel.groups[i].weight = (float)pixel.groups[i].count;
                if (n) sort_fragments(fragments, n), composite(pixel, fragments, n, opaque, samples);
                write(at);
            }
        return STATUS_OK;
    }
};

// Render bands `share`, share + shares, ... of a view.
int render(const Stage& stage, int index, int share, int shares) {
    const MeshScene& s = stage.s;
    Frame frame = frame_of(s);
    Array<Vertex> vertices;
    Triangles triangles;
    Band band;
    size_t samples = (size_t)frame.rows * frame.S * frame.stride;
    if (!vertices.take(s.vertices) || !band.inverse_z.take(samples) || !band.face.take(samples)) return STATUS_NO_MEMORY;
    project_vertices(s, index, frame, vertices.p);
    if (int status = set_up(s, frame, vertices.p, triangles)) return status;
    if (int status = bin(frame, triangles)) return status;
    const float* m = s.viewmats + 16 * (size_t)index;
    View view{m, s.Ks + 9 * (size_t)index, vertices.p, {}};
    for (int k = 0; k < 3; k++) view.eye[k] = -(m[k] * m[3] + m[4 + k] * m[7] + m[8 + k] * m[11]);
    Painter painter{stage, view, frame, index, {}};
    for (int b = share; b < frame.bands; b += shares) {
        if (int status = draw_band(stage, view, frame, triangles, b, band)) return status;
        if (int status = painter.paint(band)) return status;
    }
    return STATUS_OK;
}

}  // namespace

int mesh(const MeshScene& s, int threads) {
    Encoding code;
    Array<float> tangent;
    bool bumpy = false;
    for (int i = 0; i < s.materials; i++) bumpy |= s.shading == SHADING_PBR && s.material[i].textures[SLOT_NORMAL] >= 0;
    if (bumpy && !tangents(s, tangent)) return STATUS_NO_MEMORY;
    Stage stage{s, code, tangent.p};
    int bands = frame_of(s).bands, shares = s.views && threads > s.views ? (threads - 1) / s.views + 1 : 1;
    shares = shares < bands ? shares : bands;
    std::atomic<int> failed{STATUS_OK};
    chronosplat::parallel_for((int64_t)s.views * shares, threads, [&](int64_t item, int) {
        if (int status = render(stage, (int)(item / shares), (int)(item % shares), shares)) failed = status;
    });
    return failed;
}

}  // namespace CHRONOSPLAT_ISA
