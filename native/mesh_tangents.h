// Tangents for normal maps, by MikkTSpace's rule: the direction of growing u in the plane of the vertex normal, averaged over
// the faces of a vertex by their angle there, separately for faces whose texture is mirrored.
#pragma once
#include <cmath>
#include "mesh.h"
#include "runtime.h"
#include "simd.h"

namespace CHRONOSPLAT_ISA {

INLINE float dot(const float a[3], const float b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

INLINE void cross(const float a[3], const float b[3], float out[3]) {
    out[0] = a[1] * b[2] - a[2] * b[1], out[1] = a[2] * b[0] - a[0] * b[2], out[2] = a[0] * b[1] - a[1] * b[0];
}

INLINE bool normalize(float a[3]) {
    float length = std::sqrt(dot(a, a));
    if (!(length > 1e-20f && length < INFINITY)) return false;
    for (int k = 0; k < 3; k++) a[k] /= length;
    return true;
}

// a minus its part along the unit vector n.
INLINE void project(float a[3], const float n[3]) {
    float along = dot(a, n);
    for (int k = 0; k < 3; k++) a[k] -= along * n[k];
}

INLINE const float* uv_of(const MeshScene& s, int32_t vertex, int set) { return s.uvs + 2 * ((int64_t)vertex * s.uv_sets + set); }

// Whether the texture on a face is mirrored; v grows downwards in the image.
INLINE bool is_mirrored(const MeshScene& s, const int32_t* v, int set) {
    const float *a = uv_of(s, v[0], set), *b = uv_of(s, v[1], set), *c = uv_of(s, v[2], set);
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) > 0;
}

// Angle of a unit vector b against a unit vector a, by the polynomial of Abramowitz and Stegun 4.4.45 (error 7e-5).
INLINE float angle_between(const float a[3], const float b[3]) {
    float x = dot(a, b), y = std::fabs(x);
    y = y < 1 ? y : 1;
    float angle = std::sqrt(1 - y) * (1.5707288f + y * (-0.2121144f + y * (0.0742610f - y * 0.0187293f)));
    return x < 0 ? 3.14159265f - angle : angle;
}

// Unnormalised tangents [vertices, 2, 3]: of faces with upright, then with mirrored texture.
static bool tangents(const MeshScene& s, chronosplat::Array<float>& out) {
    if (!out.take_zeroed(6 * (size_t)s.vertices)) return false;
    for (int64_t f = 0; f < s.faces; f++) {
        const MeshMaterial& m = s.material[s.face_materials[f]];
        if (m.textures[SLOT_NORMAL] < 0) continue;
        const int32_t* v = s.indices + 3 * f;
        int set = m.uv_sets[SLOT_NORMAL], mirrored = is_mirrored(s, v, set);
        const float *a = uv_of(s, v[0], set), *b = uv_of(s, v[1], set), *c = uv_of(s, v[2], set);
        float sign = mirrored ? 1.f : -1.f, v1 = sign * (b[1] - a[1]), v2 = sign * (c[1] - a[1]), along[3];
        const float *p = s.positions + 3 * (int64_t)v[0], *q = s.positions + 3 * (int64_t)v[1], *r = s.positions + 3 * (int64_t)v[2];
        for (int k = 0; k < 3; k++) along[k] = v2 * (q[k] - p[k]) - v1 * (r[k] - p[k]);
        if (!normalize(along)) continue;
        for (int corner = 0; corner < 3; corner++) {
            int32_t at = v[corner];
            const float* here = s.positions + 3 * (int64_t)at;
            const float *first = s.positions + 3 * (int64_t)v[(corner + 1) % 3], *second = s.positions + 3 * (int64_t)v[(corner + 2) % 3];
            float n[3], t[3], e[3], g[3];
            for (int k = 0; k < 3; k++) {
                n[k] = s.normals[3 * (int64_t)at + k], t[k] = along[k], e[k] = first[k] - here[k], g[k] = second[k] - here[k];
            }
            if (!normalize(n)) continue;
            project(t, n), project(e, n), project(g, n);
            if (!normalize(t) || !normalize(e) || !normalize(g)) continue;
            float angle = angle_between(e, g), *sum = &out[6 * (size_t)at + 3 * mirrored];
            for (int k = 0; k < 3; k++) sum[k] += angle * t[k];
        }
    }
    return true;
}

}  // namespace CHRONOSPLAT_ISA
