// Z-buffered triangle rasteriser: a regular grid of samples per pixel, shading per sample, averaging in linear light.
#include "mesh.h"
#include <cmath>
#include "runtime.h"

using chronosplat::all_finite;
using chronosplat::Array;

namespace {

struct Screen {
    float x, y, z;
};

struct Color {
    float r, g, b, a;
};

// A BLEND material with alpha a covers the samples whose threshold is below a. Thresholds are evenly spaced and scattered.
float threshold(int sx, int sy, int samples) {
    int count = samples * samples, step = 7;
    auto shares_factor = [](int a, int b) {
        while (b) {
            int rest = a % b;
            a = b, b = rest;
        }
        return a > 1;
    };
    while (shares_factor(step, count)) step += 2;
    return ((sy * samples + sx) * step % count + 0.5f) / count;
}

// x - floor(x), in [0, 1]; 0 where x is NaN or infinite, because interpolation may overflow.
float fraction(float x) {
    float part = x - std::floor(x);
    return part >= 0 && part <= 1 ? part : 0.f;
}

// Clamps x to [0, 1]; NaN becomes 0, so that every colour converts to a byte.
float clip(float x) { return x > 0 ? (x < 1 ? x : 1.f) : 0.f; }

Color texel(const MeshScene& s, int texture, float u, float v) {
    const MeshTexture& t = s.texture[texture];
    u = fraction(u) * t.width - 0.5f, v = fraction(v) * t.height - 0.5f;
    int iu = (int)std::floor(u), iv = (int)std::floor(v);
    float fu = u - iu, fv = v - iv;
    int x0 = (iu + t.width) % t.width, x1 = (iu + 1) % t.width, y0 = (iv + t.height) % t.height, y1 = (iv + 1) % t.height;
    const float* base = s.texels + 4 * t.offset;
    const float *a = base + 4 * ((int64_t)y0 * t.width + x0), *b = base + 4 * ((int64_t)y0 * t.width + x1);
    const float *c = base + 4 * ((int64_t)y1 * t.width + x0), *d = base + 4 * ((int64_t)y1 * t.width + x1);
    float w00 = (1 - fu) * (1 - fv), w01 = fu * (1 - fv), w10 = (1 - fu) * fv, w11 = fu * fv, out[4];
    for (int k = 0; k < 4; k++) out[k] = w00 * a[k] + w01 * b[k] + w10 * c[k] + w11 * d[k];
    return {out[0], out[1], out[2], out[3]};
}

struct Face {
    const MeshScene* s;
    const int32_t* v;        // three vertex indices
    const MeshMaterial* m;
};

template <int K> void interpolate(const float* attribute, const int32_t* v, const float w[3], float out[K]) {
    for (int k = 0; k < K; k++) out[k] = w[0] * attribute[K * v[0] + k] + w[1] * attribute[K * v[1] + k] + w[2] * attribute[K * v[2] + k];
}

// Base colour and alpha before lighting.
Color base_color(const Face& f, const float w[3]) {
    float c[4], uv[4];
    interpolate<4>(f.s->colors, f.v, w, c);
    Color out{c[0] * f.m->base[0], c[1] * f.m->base[1], c[2] * f.m->base[2], c[3] * f.m->base[3]};
    if (f.m->texture >= 0) {
        interpolate<4>(f.s->uvs, f.v, w, uv);
        Color t = texel(*f.s, f.m->texture, uv[0], uv[1]);
        out = {out.r * t.r, out.g * t.g, out.b * t.b, out.a * t.a};
    }
    return out;
}

// Lambertian shading plus ambient and emission. The normal is flipped towards the camera.
Color shade(const Face& f, const float w[3], const float eye[3]) {
    Color c = base_color(f, w);
    if (!f.m->unlit) {
        float n[3], p[3];
        interpolate<3>(f.s->normals, f.v, w, n);
        interpolate<3>(f.s->positions, f.v, w, p);
        float length = std::sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2]) + 1e-12f;
        float facing = n[0] * (eye[0] - p[0]) + n[1] * (eye[1] - p[1]) + n[2] * (eye[2] - p[2]);
        float sign = (facing < 0 ? -1.f : 1.f) / length, light = f.s->ambient;
        for (int k = 0; k < f.s->lights; k++) {
            const float* d = f.s->light_directions + 3 * k;
            float cosine = sign * (n[0] * d[0] + n[1] * d[1] + n[2] * d[2]);
            if (cosine > 0) light += f.s->light_energies[k] * cosine;
        }
        c.r *= light, c.g *= light, c.b *= light;
    }
    float e[3] = {f.m->emissive[0], f.m->emissive[1], f.m->emissive[2]};
    if (f.m->emissive_texture >= 0) {
        float uv[4];
        interpolate<4>(f.s->uvs, f.v, w, uv);
        Color t = texel(*f.s, f.m->emissive_texture, uv[2], uv[3]);
        e[0] *= t.r, e[1] *= t.g, e[2] *= t.b;
    }
    return {clip(c.r + e[0]), clip(c.g + e[1]), clip(c.b + e[2]), 1.f};
}

uint8_t to_srgb(float x) {
    float y = x <= 0.0031308f ? 12.92f * x : 1.055f * std::pow(x, 1 / 2.4f) - 0.055f;
    return (uint8_t)(y * 255.f + 0.5f);
}

// Perspective-correct barycentric weights of a sample; returns false outside the triangle.
bool weights(const Screen& a, const Screen& b, const Screen& c, float px, float py, float w[3], float& z) {
    float area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
    float w0 = ((b.x - px) * (c.y - py) - (b.y - py) * (c.x - px)) / area;
    float w1 = ((c.x - px) * (a.y - py) - (c.y - py) * (a.x - px)) / area, w2 = 1 - w0 - w1;
    if (!(w0 >= 0 && w1 >= 0 && w2 >= 0)) return false;
    w0 /= a.z, w1 /= b.z, w2 /= c.z;
    z = 1 / (w0 + w1 + w2);
    w[0] = w0 * z, w[1] = w1 * z, w[2] = w2 * z;
    return true;
}

int render_view(const MeshScene& s, int view) {
    const float *vm = s.viewmats + 16 * (size_t)view, *K = s.Ks + 9 * (size_t)view;
    int S = s.samples, W = s.width * S, H = s.height * S;
    Array<Screen> screen;
    Array<float> depth;
    Array<int32_t> hit;
    if (!screen.take(s.vertices) || !depth.take((size_t)W * H) || !hit.take((size_t)W * H)) return STATUS_NO_MEMORY;
    for (int i = 0; i < s.vertices; i++) {
        const float* p = s.positions + 3 * (size_t)i;
        float c[3];
        for (int r = 0; r < 3; r++) c[r] = vm[4 * r] * p[0] + vm[4 * r + 1] * p[1] + vm[4 * r + 2] * p[2] + vm[4 * r + 3];
        screen[i] = {(K[0] * c[0] / c[2] + K[2]) * S, (K[4] * c[1] / c[2] + K[5]) * S, c[2]};
    }
    for (size_t i = 0; i < (size_t)W * H; i++) depth[i] = INFINITY, hit[i] = -1;
    for (int f = 0; f < s.faces; f++) {
        const int32_t* v = s.indices + 3 * (size_t)f;
        const Screen &a = screen[v[0]], &b = screen[v[1]], &c = screen[v[2]];
        if (!(a.z > s.near_plane && b.z > s.near_plane && c.z > s.near_plane)) continue;
        float area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
        const MeshMaterial& m = s.material[s.face_materials[f]];
        if (!(std::fabs(area) < INFINITY) || area == 0) continue;  // a finite area means finite corners
        if (area > 0 && !m.two_sided) continue;                    // image y points down: front faces have negative area
        auto least = [](float p, float q, float r) { return p < q ? (p < r ? p : r) : (q < r ? q : r); };
        float left = std::ceil(least(a.x, b.x, c.x) - 0.5f), right = std::floor(-least(-a.x, -b.x, -c.x) - 0.5f);
        float top = std::ceil(least(a.y, b.y, c.y) - 0.5f), bottom = std::floor(-least(-a.y, -b.y, -c.y) - 0.5f);
        int x0 = left > 0 ? (int)std::fmin(left, (float)W) : 0, x1 = right < W - 1 ? (int)std::fmax(right, -1.f) : W - 1;
        int y0 = top > 0 ? (int)std::fmin(top, (float)H) : 0, y1 = bottom < H - 1 ? (int)std::fmax(bottom, -1.f) : H - 1;
        Face face{&s, v, &m};
        for (int y = y0; y <= y1; y++)
            for (int x = x0; x <= x1; x++) {
                float w[3], z;
                if (!weights(a, b, c, x + 0.5f, y + 0.5f, w, z) || !(z < depth[(size_t)y * W + x])) continue;
                if (m.alpha_mode && base_color(face, w).a < (m.alpha_mode == 1 ? m.cutoff - 1e-6f : threshold(x % S, y % S, S))) continue;
                depth[(size_t)y * W + x] = z, hit[(size_t)y * W + x] = f;
            }
    }
    const float eye[3] = {-(vm[0] * vm[3] + vm[4] * vm[7] + vm[8] * vm[11]), -(vm[1] * vm[3] + vm[5] * vm[7] + vm[9] * vm[11]),
                          -(vm[2] * vm[3] + vm[6] * vm[7] + vm[10] * vm[11])};
    for (int y = 0; y < s.height; y++)
        for (int x = 0; x < s.width; x++) {
            Color sum{0, 0, 0, 0};
            float depth_sum = 0, motion_sum[3] = {0, 0, 0};
            for (int sy = 0; sy < S; sy++)
                for (int sx = 0; sx < S; sx++) {
                    int X = x * S + sx, Y = y * S + sy, f = hit[(size_t)Y * W + X];
                    if (f < 0) continue;
                    const int32_t* v = s.indices + 3 * (size_t)f;
                    float w[3], z;
                    if (!weights(screen[v[0]], screen[v[1]], screen[v[2]], X + 0.5f, Y + 0.5f, w, z)) continue;
                    Color c = shade(Face{&s, v, &s.material[s.face_materials[f]]}, w, eye);
                    sum.r += c.r, sum.g += c.g, sum.b += c.b, sum.a += 1;
                    depth_sum += z;
                    if (!s.motion) continue;
                    float moved[3];
                    interpolate<3>(s.velocities, v, w, moved);
                    for (int k = 0; k < 3; k++) motion_sum[k] += moved[k];
                }
            size_t pixel = ((size_t)view * s.height + y) * s.width + x;
            if (s.depth) s.depth[pixel] = sum.a > 0 ? depth_sum / sum.a : 0;
            for (int k = 0; s.motion && k < 3; k++) s.motion[3 * pixel + k] = sum.a > 0 ? motion_sum[k] / sum.a : 0;
            uint8_t* out = s.rgba + 4 * pixel;
            out[0] = out[1] = out[2] = out[3] = 0;
            if (sum.a == 0) continue;
            out[0] = to_srgb(sum.r / sum.a), out[1] = to_srgb(sum.g / sum.a), out[2] = to_srgb(sum.b / sum.a);
            out[3] = (uint8_t)(255.f * sum.a / (S * S) + 0.5f);
        }
    return 0;
}

constexpr int32_t EDGE_MAX = 1 << 20, COUNT_MAX = 1 << 28, SAMPLES_MAX = 64;

bool in_range(const int32_t* values, size_t n, int32_t end) {
    uint32_t most = 0;  // negative values are large as unsigned
    for (size_t i = 0; i < n; i++) most = (uint32_t)values[i] > most ? (uint32_t)values[i] : most;
    return n == 0 || most < (uint32_t)end;
}

int check_sizes(const MeshScene& s) {
    const int32_t counts[] = {s.vertices, s.faces, s.materials, s.textures, s.lights, s.views};
    for (int32_t n : counts)
        if (n < 0) return STATUS_BAD_ARGUMENT;
    if (s.width < 1 || s.height < 1 || s.width > EDGE_MAX || s.height > EDGE_MAX) return STATUS_BAD_ARGUMENT;
    if (s.samples < 1 || s.samples > SAMPLES_MAX || s.texel_count < 0) return STATUS_BAD_ARGUMENT;
    for (int32_t n : counts)
        if (n >= COUNT_MAX) return STATUS_TOO_MANY;
    return ((int64_t)s.width * s.samples * s.height * s.samples) >> 31 ? STATUS_TOO_MANY : STATUS_OK;
}

// Null pointers are allowed only where the count is zero.
bool has_arrays(const MeshScene& s) {
    if (s.vertices && !(s.positions && s.normals && s.uvs && s.colors)) return false;
    if (s.faces && !(s.indices && s.face_materials)) return false;
    if ((s.materials && !s.material) || (s.textures && !(s.texture && s.texels))) return false;
    if (s.lights && !(s.light_directions && s.light_energies)) return false;
    if (s.views && !(s.viewmats && s.Ks && s.rgba)) return false;
    return !s.motion || s.velocities;
}

int check_tables(const MeshScene& s) {
    for (int32_t i = 0; i < s.materials; i++) {
        const MeshMaterial& m = s.material[i];
        if (m.texture < -1 || m.texture >= s.textures || m.emissive_texture < -1 || m.emissive_texture >= s.textures) return STATUS_BAD_ARGUMENT;
        if (m.alpha_mode < 0 || m.alpha_mode > 2) return STATUS_BAD_ARGUMENT;
        if (!all_finite(m.base, 4) || !all_finite(m.emissive, 3) || !all_finite(&m.cutoff, 1)) return STATUS_NOT_FINITE;
    }
    for (int32_t i = 0; i < s.textures; i++) {
        const MeshTexture& t = s.texture[i];
        if (t.width < 1 || t.height < 1 || t.width > EDGE_MAX || t.height > EDGE_MAX) return STATUS_BAD_ARGUMENT;
        if (t.offset < 0 || t.offset > s.texel_count - (int64_t)t.width * t.height) return STATUS_BAD_ARGUMENT;
    }
    return STATUS_OK;
}

// No arguments may crash the process, as long as the arrays are as long as the sizes declare. Texels are not checked:
// they are large, and any value renders safely.
int check(const MeshScene* scene) {
    if (!scene) return STATUS_BAD_ARGUMENT;
    const MeshScene& s = *scene;
    if (int status = check_sizes(s)) return status;
    if (!has_arrays(s)) return STATUS_BAD_ARGUMENT;
    if (!all_finite(&s.ambient, 1) || !all_finite(&s.near_plane, 1)) return STATUS_NOT_FINITE;
    if (!(s.near_plane > 0)) return STATUS_BAD_ARGUMENT;
    if (int status = check_tables(s)) return status;
    size_t vertices = s.vertices, faces = s.faces, lights = s.lights, views = s.views;
    if (!in_range(s.indices, 3 * faces, s.vertices) || !in_range(s.face_materials, faces, s.materials)) return STATUS_BAD_ARGUMENT;
    if (!all_finite(s.positions, 3 * vertices) || !all_finite(s.normals, 3 * vertices) || !all_finite(s.uvs, 4 * vertices)) return STATUS_NOT_FINITE;
    if (!all_finite(s.colors, 4 * vertices) || (s.velocities && !all_finite(s.velocities, 3 * vertices))) return STATUS_NOT_FINITE;
    if (!all_finite(s.light_directions, 3 * lights) || !all_finite(s.light_energies, lights)) return STATUS_NOT_FINITE;
    if (!all_finite(s.viewmats, 16 * views) || !all_finite(s.Ks, 9 * views)) return STATUS_NOT_FINITE;
    for (size_t i = 0; i < views; i++)
        if (!(s.Ks[9 * i] > 0 && s.Ks[9 * i + 4] > 0)) return STATUS_BAD_ARGUMENT;
    return STATUS_OK;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int32_t mesh_render(const MeshScene* scene, int32_t threads) {
    if (int status = check(scene)) return status;
    std::atomic<int> failed{STATUS_OK};
    chronosplat::parallel_for(scene->views, threads, [&](int64_t view, int) {
        if (int status = render_view(*scene, (int)view)) failed = status;
    });
    return failed;
}
