// Checks of a mesh scene at the door: no arguments may crash the process, as long as the arrays are as long as the sizes declare.
#pragma once
#include "mesh.h"
#include "runtime.h"

namespace chronosplat {

constexpr int32_t MESH_EDGE_MAX = 1 << 20, MESH_COUNT_MAX = 1 << 28, MESH_SAMPLES_MAX = 64, MESH_UV_SETS_MAX = 8, MESH_LEVELS_MAX = 21;

inline bool in_range(const int32_t* values, size_t n, int32_t end) {
    uint32_t most = 0;  // negative values are large as unsigned
    for (size_t i = 0; i < n; i++) most = (uint32_t)values[i] > most ? (uint32_t)values[i] : most;
    return n == 0 || most < (uint32_t)end;
}

inline int check_sizes(const MeshScene& s) {
    const int32_t counts[] = {s.vertices, s.faces, s.materials, s.textures, s.lights, s.views};
    for (int32_t n : counts)
        if (n < 0) return STATUS_BAD_ARGUMENT;
    if (s.width < 1 || s.height < 1 || s.width > MESH_EDGE_MAX || s.height > MESH_EDGE_MAX) return STATUS_BAD_ARGUMENT;
    if (s.samples < 1 || s.samples > MESH_SAMPLES_MAX || s.texel_count < 0) return STATUS_BAD_ARGUMENT;
    if (s.uv_sets < 1 || s.uv_sets > MESH_UV_SETS_MAX) return STATUS_BAD_ARGUMENT;
    if (s.shading != SHADING_LAMBERT && s.shading != SHADING_PBR) return STATUS_BAD_ARGUMENT;
    for (int32_t n : counts)
        if (n >= MESH_COUNT_MAX) return STATUS_TOO_MANY;
    return ((int64_t)s.width * s.samples * s.height * s.samples) >> 31 ? STATUS_TOO_MANY : STATUS_OK;
}

// Null pointers are allowed only where the count is zero.
inline bool has_arrays(const MeshScene& s) {
    if (s.vertices && !(s.positions && s.normals && s.uvs && s.colors)) return false;
    if (s.faces && !(s.indices && s.face_materials)) return false;
    if ((s.materials && !s.material) || (s.textures && !(s.texture && s.texels))) return false;
    if (s.lights && !(s.light_directions && s.light_colors)) return false;
    if (s.views && !(s.viewmats && s.Ks && s.rgba)) return false;
    return !s.motion || s.velocities;
}

inline int check_material(const MeshScene& s, const MeshMaterial& m) {
    for (int k = 0; k < 5; k++) {
        if (m.textures[k] < -1 || m.textures[k] >= s.textures) return STATUS_BAD_ARGUMENT;
        if (m.uv_sets[k] < 0 || m.uv_sets[k] >= s.uv_sets) return STATUS_BAD_ARGUMENT;
    }
    if (m.alpha_mode < 0 || m.alpha_mode > 2) return STATUS_BAD_ARGUMENT;
    bool finite = all_finite(m.base, 4) && all_finite(m.emissive, 3) && all_finite(m.specular, 3) && all_finite(&m.metallic, 1);
    finite = finite && all_finite(&m.roughness, 1) && all_finite(&m.normal_scale, 1) && all_finite(&m.occlusion, 1);
    return finite && all_finite(&m.cutoff, 1) ? STATUS_OK : STATUS_NOT_FINITE;
}

inline int check_texture(const MeshScene& s, const MeshTexture& t) {
    if (t.width < 1 || t.height < 1 || t.width > MESH_EDGE_MAX || t.height > MESH_EDGE_MAX) return STATUS_BAD_ARGUMENT;
    if (t.levels < 1 || t.levels > MESH_LEVELS_MAX) return STATUS_BAD_ARGUMENT;
    if (!in_range(&t.wrap_u, 1, 3) || !in_range(&t.wrap_v, 1, 3)) return STATUS_BAD_ARGUMENT;
    int64_t texels = 0;
    for (int32_t k = 0, w = t.width, h = t.height; k < t.levels; k++) {
        if (k && w == 1 && h == 1) return STATUS_BAD_ARGUMENT;  // nothing is smaller
        w = k && w > 1 ? w / 2 : w, h = k && h > 1 ? h / 2 : h;
        texels += (int64_t)w * h;
    }
    return t.offset < 0 || t.offset > s.texel_count - texels ? STATUS_BAD_ARGUMENT : STATUS_OK;
}

inline int check_mesh(const MeshScene* scene) {
    if (!scene) return STATUS_BAD_ARGUMENT;
    const MeshScene& s = *scene;
    if (int status = check_sizes(s)) return status;
    if (!has_arrays(s)) return STATUS_BAD_ARGUMENT;
    if (!all_finite(s.sky, 3) || !all_finite(s.ground, 3) || !all_finite(&s.near_plane, 1)) return STATUS_NOT_FINITE;
    if (!(s.near_plane > 0)) return STATUS_BAD_ARGUMENT;
    for (int32_t i = 0; i < s.materials; i++)
        if (int status = check_material(s, s.material[i])) return status;
    for (int32_t i = 0; i < s.textures; i++)
        if (int status = check_texture(s, s.texture[i])) return status;
    size_t vertices = s.vertices, faces = s.faces, lights = s.lights, views = s.views;
    if (!in_range(s.indices, 3 * faces, s.vertices) || !in_range(s.face_materials, faces, s.materials)) return STATUS_BAD_ARGUMENT;
    bool finite = all_finite(s.positions, 3 * vertices) && all_finite(s.normals, 3 * vertices) && all_finite(s.colors, 4 * vertices);
    finite = finite && all_finite(s.uvs, 2 * vertices * s.uv_sets) && (!s.velocities || all_finite(s.velocities, 3 * vertices));
    finite = finite && all_finite(s.light_directions, 3 * lights) && all_finite(s.light_colors, 3 * lights);
    if (!finite || !all_finite(s.viewmats, 16 * views) || !all_finite(s.Ks, 9 * views)) return STATUS_NOT_FINITE;
    for (size_t i = 0; i < views; i++)
        if (!(s.Ks[9 * i] > 0 && s.Ks[9 * i + 4] > 0)) return STATUS_BAD_ARGUMENT;
    return STATUS_OK;
}

}  // namespace chronosplat
