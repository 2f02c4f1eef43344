// What a point of a face looks like: its barycentric weights under perspective, its material and its light.
#pragma once
#include "mesh_tangents.h"
#include "mesh_texture.h"

namespace CHRONOSPLAT_ISA {

// What all views share.
struct Stage {
    const MeshScene& s;
    const Encoding& code;
    const float* tangents;  // of mesh_tangents.h, or null
};

// A vertex in an image of samples: x, y, z with z the depth; in front of the near plane x and y are divided by z, else not.
struct Vertex {
    float x, y, z;
};

struct View {
    const float *viewmat, *K;
    const Vertex* vertices;
    float eye[3];
};

// A point of a face: weights of its corners, and their steps for one sample to the right and down.
struct Point {
    float w[3], dx[3], dy[3], z;
    const int32_t* v;
};

// The point at a sample position, by the homogeneous form, which needs no clipping (Olano and Greer 1997). False if none is there.
static bool locate(const Stage& stage, const View& view, int32_t face, float px, float py, Point& out) {
    const int32_t* v = stage.s.indices + 3 * (int64_t)face;
    double h[3][3], e[3][3], sum[3] = {0, 0, 0}, value[3];
    for (int i = 0; i < 3; i++) {
        const Vertex& p = view.vertices[v[i]];
        bool divided = p.z > stage.s.near_plane;  // relative to the sample, so that little cancels
        h[i][0] = divided ? ((double)p.x - px) * p.z : (double)p.x - (double)px * p.z;
        h[i][1] = divided ? ((double)p.y - py) * p.z : (double)p.y - (double)py * p.z;
        h[i][2] = p.z;
    }
    for (int i = 0; i < 3; i++) {
        const double *a = h[(i + 1) % 3], *b = h[(i + 2) % 3];
        e[i][0] = a[1] * b[2] - a[2] * b[1], e[i][1] = a[2] * b[0] - a[0] * b[2], e[i][2] = a[0] * b[1] - a[1] * b[0];
        value[i] = e[i][2];  // of the edge at the sample; the other two are its slopes
        for (int k = 0; k < 3; k++) sum[k] += e[i][k];
    }
    double determinant = h[0][0] * e[0][0] + h[0][1] * e[0][1] + h[0][2] * e[0][2], z = determinant / sum[2];
    if (!(z > 0 && z < 1e30)) return false;
    for (int i = 0; i < 3; i++) {
        double w = value[i] / sum[2];
        out.w[i] = (float)w;
        out.dx[i] = (float)((e[i][0] - w * sum[0]) / sum[2]);
        out.dy[i] = (float)((e[i][1] - w * sum[1]) / sum[2]);
    }
    out.z = (float)z, out.v = v;
    return std::fabs(out.w[0]) + std::fabs(out.w[1]) + std::fabs(out.w[2]) < 1e6f;
}

template <int K> INLINE void interpolate(const float* attribute, const int32_t* v, const float w[3], float out[K]) {
    const float *a = attribute + K * (int64_t)v[0], *b = attribute + K * (int64_t)v[1], *c = attribute + K * (int64_t)v[2];
    for (int k = 0; k < K; k++) out[k] = w[0] * a[k] + w[1] * b[k] + w[2] * c[k];
}

// The texture of a slot at a point, over a footprint of so many samples; 0 reads the full size. White without a texture.
static Color slot(const Stage& stage, const MeshMaterial& m, MeshSlot which, const Point& p, float footprint) {
    if (m.textures[which] < 0) return {1, 1, 1, 1};
    const MeshScene& s = stage.s;
    const float *a = uv_of(s, p.v[0], m.uv_sets[which]), *b = uv_of(s, p.v[1], m.uv_sets[which]), *c = uv_of(s, p.v[2], m.uv_sets[which]);
    float uv[2], dx[2], dy[2];
    for (int k = 0; k < 2; k++) {
        uv[k] = p.w[0] * a[k] + p.w[1] * b[k] + p.w[2] * c[k];
        dx[k] = footprint * (p.dx[0] * a[k] + p.dx[1] * b[k] + p.dx[2] * c[k]);
        dy[k] = footprint * (p.dy[0] * a[k] + p.dy[1] * b[k] + p.dy[2] * c[k]);
    }
    return texture_at(s, stage.code, m.textures[which], uv, footprint > 0 ? dx : nullptr, dy);
}

// Base colour and alpha before lighting.
static Color base_color(const Stage& stage, const MeshMaterial& m, const Point& p, float footprint) {
    float c[4];
    interpolate<4>(stage.s.colors, p.v, p.w, c);
    Color t = slot(stage, m, SLOT_BASE, p, footprint);
    return {c[0] * m.base[0] * t.r, c[1] * m.base[1] * t.g, c[2] * m.base[2] * t.b, c[3] * m.base[3] * t.a};
}

static Color with_emission(const Stage& stage, const MeshMaterial& m, const Point& p, Color c, float footprint) {
    if (m.emissive[0] != 0 || m.emissive[1] != 0 || m.emissive[2] != 0) {
        Color t = slot(stage, m, SLOT_EMISSIVE, p, footprint);
        c = {c.r + m.emissive[0] * t.r, c.g + m.emissive[1] * t.g, c.b + m.emissive[2] * t.b, c.a};
    }
    return {clip(c.r), clip(c.g), clip(c.b), clip(c.a)};
}

// Radiance of a white diffuse surface under the sky, for the vertical part of its normal.
INLINE float sky_diffuse(const MeshScene& s, int k, float up) {
    return 0.5f * (s.sky[k] + s.ground[k]) + (1.f / 3) * (s.sky[k] - s.ground[k]) * up;
}

// Lambertian shading, the normal on the side of the eye.
static Color shade_lambert(const Stage& stage, const View& view, const MeshMaterial& m, const Point& p, float footprint) {
    const MeshScene& s = stage.s;
    Color c = base_color(stage, m, p, footprint);
    if (!m.unlit) {
        float n[3], at[3];
        interpolate<3>(s.normals, p.v, p.w, n);
        interpolate<3>(s.positions, p.v, p.w, at);
        float length = std::sqrt(dot(n, n)) + 1e-12f;
        float facing = n[0] * (view.eye[0] - at[0]) + n[1] * (view.eye[1] - at[1]) + n[2] * (view.eye[2] - at[2]);
        float sign = (facing < 0 ? -1.f : 1.f) / length, light[3];
        for (int k = 0; k < 3; k++) light[k] = sky_diffuse(s, k, sign * n[1]);
        for (int i = 0; i < s.lights; i++) {
            float cosine = sign * dot(n, s.light_directions + 3 * i);
            for (int k = 0; cosine > 0 && k < 3; k++) light[k] += s.light_colors[3 * i + k] * cosine;
        }
        c = {c.r * light[0], c.g * light[1], c.b * light[2], c.a};
    }
    return with_emission(stage, m, p, c, footprint);
}

// 2^x for x in [-126, 0]: degree-5 minimax on the fraction.
INLINE float exp2_of(float x) {
    int32_t whole = (int32_t)x;
    float f = x - (float)whole;
    float y = (((((0.000944903657f * f + 0.00920579818f) * f + 0.0552973582f) * f + 0.240180143f) * f + 0.693143721f) * f) + 1.f;
    int32_t i;
    memcpy(&i, &y, 4);
    i += whole << 23;
    memcpy(&y, &i, 4);
    return y;
}

// The unit normal [3] of the surface at a point, as interpolated; false where there is none.
static bool normal_at(const Stage& stage, const Point& p, float n[3]) {
    interpolate<3>(stage.s.normals, p.v, p.w, n);
    if (normalize(n)) return true;
    const float *a = stage.s.positions + 3 * (int64_t)p.v[0], *b = stage.s.positions + 3 * (int64_t)p.v[1], *c = stage.s.positions + 3 * (int64_t)p.v[2];
    float e[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]}, g[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
    cross(e, g, n);
    return normalize(n);
}

// 1 or -1: the sign that turns a normal to the side of the face that the eye sees.
static float side(const Stage& stage, const View& view, const Point& p, const float n[3]) {
    const float *a = stage.s.positions + 3 * (int64_t)p.v[0], *b = stage.s.positions + 3 * (int64_t)p.v[1], *c = stage.s.positions + 3 * (int64_t)p.v[2];
    float e[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]}, g[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]}, flat[3];
    cross(e, g, flat);
    float to_eye[3] = {view.eye[0] - a[0], view.eye[1] - a[1], view.eye[2] - a[2]};
    return dot(flat, n) * dot(flat, to_eye) < 0 ? -1.f : 1.f;
}

// Apply the normal map to the normal n; returns how much the map's normals differ within the footprint (Toksvig 2005).
static float bend_normal(const Stage& stage, const MeshMaterial& m, const Point& p, float footprint, float n[3]) {
    if (m.textures[SLOT_NORMAL] < 0 || !stage.tangents) return 0;
    bool mirrored = is_mirrored(stage.s, p.v, m.uv_sets[SLOT_NORMAL]);
    float t[3], b[3], sum[3] = {0, 0, 0};
    for (int i = 0; i < 3; i++) {
        float corner[3];
        memcpy(corner, stage.tangents + 6 * (int64_t)p.v[i] + 3 * mirrored, sizeof corner);
        if (!normalize(corner)) continue;
        for (int k = 0; k < 3; k++) sum[k] += p.w[i] * corner[k];
    }
    memcpy(t, sum, sizeof t);
    project(t, n);
    if (!normalize(t)) return 0;
    cross(n, t, b);
    Color c = slot(stage, m, SLOT_NORMAL, p, footprint);
    float x = 2 * c.r - 1, y = 2 * c.g - 1, z = 2 * c.b - 1, length = std::sqrt(x * x + y * y + z * z);
    x *= m.normal_scale, y *= mirrored ? -m.normal_scale : m.normal_scale;
    float bent[3] = {x * t[0] + y * b[0] + z * n[0], x * t[1] + y * b[1] + z * n[1], x * t[2] + y * b[2] + z * n[2]};
    if (!normalize(bent)) return 0;
    memcpy(n, bent, sizeof bent);
    return length > 0.3f && length < 0.99f ? (0.99f - length) / length : 0;  // bytes shorten a normal by up to a percent
}

// Metallic-roughness shading (glTF 2.0, appendix B): GGX under the lights, the analytic fit of Karis (2014) under the sky.
// `normal` is the unit normal as interpolated, `sign` turns it to the side of the eye.
static Color shade_pbr(const Stage& stage, const View& view, const MeshMaterial& m, const Point& p, const float normal[3], float sign, float footprint) {
    const MeshScene& s = stage.s;
    Color c = base_color(stage, m, p, footprint);
    if (m.unlit) return with_emission(stage, m, p, c, footprint);
    float n[3] = {normal[0], normal[1], normal[2]}, spread = bend_normal(stage, m, p, footprint, n);
    for (int k = 0; k < 3; k++) n[k] *= sign;
    float at[3], eye[3], across[3], down[3];
    interpolate<3>(s.positions, p.v, p.w, at);
    for (int k = 0; k < 3; k++) eye[k] = view.eye[k] - at[k];
    if (!normalize(eye)) return with_emission(stage, m, p, {0, 0, 0, c.a}, footprint);
    Color rough_metal = slot(stage, m, SLOT_SURFACE, p, footprint);
    float metallic = clip(m.metallic * rough_metal.b), roughness = clip(m.roughness * rough_metal.g);
    roughness = roughness > 0.05f ? roughness : 0.05f;
    // curvature within a pixel widens the highlight instead of letting it flicker (Tokuyoshi and Kaplanyan 2019)
    interpolate<3>(s.normals, p.v, p.dx, across);
    interpolate<3>(s.normals, p.v, p.dy, down);
    spread += 0.25f * footprint * footprint * (dot(across, across) + dot(down, down));
    float widened = 2 * spread < 0.18f ? 2 * spread : 0.18f, alpha2 = roughness * roughness * roughness * roughness + widened;
    alpha2 = alpha2 < 1 ? alpha2 : 1;
    float alpha = std::sqrt(alpha2), nv = dot(n, eye);
    nv = nv > 1e-3f ? nv : 1e-3f;
    float base[3] = {c.r, c.g, c.b}, diffuse[3], f0[3], out[3];
    for (int k = 0; k < 3; k++) {
        diffuse[k] = base[k] * (1 - metallic);
        f0[k] = m.specular[k] + metallic * (base[k] - m.specular[k]);
    }
    // the sky: diffuse, and its mirror image blurred by the roughness
    float r0 = 1 - roughness, r1 = 0.0425f - 0.0275f * roughness, grazing = exp2_of(-9.28f * (nv < 1 ? nv : 1));
    float bend = (r0 * r0 < grazing ? r0 * r0 : grazing) * r0 + r1;
    float scale = 1.04f - 0.572f * roughness - 1.04f * bend, offset = 1.04f * bend + 0.022f * roughness - 0.04f;
    float mirror = 2 * nv * n[1] - eye[1], reach = 1 - alpha / 3;
    Color shadow = slot(stage, m, SLOT_OCCLUSION, p, footprint);
    float open = 1 + m.occlusion * (shadow.r - 1);
    float gain[3], albedo = scale + offset;  // light that a rough surface scatters more than once (Fdez-Aguera 2019)
    for (int k = 0; k < 3; k++) {
        gain[k] = 1 + f0[k] * (1 / albedo - 1);
        float reflected = (f0[k] * scale + offset) * gain[k], middle = 0.5f * (s.sky[k] + s.ground[k]), tilt = 0.5f * (s.sky[k] - s.ground[k]);
        out[k] = open * ((1 - reflected) * diffuse[k] * sky_diffuse(s, k, n[1]) + reflected * (middle + tilt * reach * mirror));
    }
    for (int i = 0; i < s.lights; i++) {
        const float* l = s.light_directions + 3 * i;
        float nl = dot(n, l), half[3] = {l[0] + eye[0], l[1] + eye[1], l[2] + eye[2]};
        if (!(nl > 0) || !normalize(half)) continue;
        float nh = clip(dot(n, half)), vh = clip(dot(eye, half)), q = nh * nh * (alpha2 - 1) + 1;
        float smith = nl * std::sqrt(nv * nv * (1 - alpha2) + alpha2) + nv * std::sqrt(nl * nl * (1 - alpha2) + alpha2);
        float lobe = alpha2 / (q * q) * 0.5f / smith;  // distribution times visibility times pi: the light's colour is divided by pi
        float x = 1 - vh, fifth = x * x * x * x * x;
        for (int k = 0; k < 3; k++) {
            float fresnel = f0[k] + (1 - f0[k]) * fifth;
            out[k] += s.light_colors[3 * i + k] * nl * ((1 - fresnel) * diffuse[k] + fresnel * gain[k] * lobe);
        }
    }
    return with_emission(stage, m, p, {out[0], out[1], out[2], c.a}, footprint);
}

}  // namespace CHRONOSPLAT_ISA
