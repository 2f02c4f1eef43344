// The C ABI of the mesh rasteriser: textured triangles under directional lights and a sky, to straight sRGB + coverage.
// STATUS_TOO_MANY: 2^28 vertices, faces, materials, textures, lights or views, or 2^31 samples per view, or more; or 2^27
// samples of blended faces in a few rows of pixels.
#pragma once
#include <cstdint>
#include "abi.h"

extern "C" {

enum MeshShading {
    SHADING_LAMBERT = 0,  // diffuse only, every opaque sample shaded, textures at full size
    SHADING_PBR = 1,      // metallic-roughness, every face shaded once per pixel, mip-mapped textures and normal maps
};

// The order of textures and uv_sets in MeshMaterial.
enum MeshSlot { SLOT_BASE = 0, SLOT_EMISSIVE = 1, SLOT_SURFACE = 2, SLOT_NORMAL = 3, SLOT_OCCLUSION = 4 };

enum MeshWrap { WRAP_REPEAT = 0, WRAP_CLAMP = 1, WRAP_MIRROR = 2 };

struct MeshMaterial {
    float base[4];         // linear colour and alpha
    float emissive[3];     // linear
    float specular[3];     // reflectance at normal incidence where not metallic, linear
    float metallic, roughness, normal_scale, occlusion;
    float cutoff;          // alpha_mode 1: samples below are not drawn
    int32_t textures[5];   // by MeshSlot, -1 for none; surface: green roughness, blue metallic
    int32_t uv_sets[5];    // by MeshSlot
    int32_t alpha_mode;    // 0 opaque, 1 mask, 2 blend (layers are sorted per sample)
    int32_t two_sided, unlit;
};

struct MeshTexture {
    int64_t offset;         // of the first texel in `texels`; smaller levels follow, each half the size, rounded down
    int32_t width, height;  // 1 to 2^20
    int32_t levels;         // 1 to 21, at most down to 1x1
    int32_t wrap_u, wrap_v; // MeshWrap
    int32_t srgb;           // whether colours are sRGB; else linear
    int32_t nearest;        // whether magnified texels are squares
};

struct MeshScene {
    int32_t vertices, faces, materials, textures, lights, views;
    int32_t width, height;            // pixels, 1 to 2^20
    int32_t samples;                  // 1 to 64: samples x samples per pixel
    int32_t uv_sets;                  // 1 to 8
    int32_t shading;                  // MeshShading
    float near_plane;                 // above zero; faces across it are clipped
    float sky[3], ground[3];          // radiance from above and below, linear in between
    int64_t texel_count;              // of all textures and levels
    const float* positions;           // [vertices, 3] world
    const float* normals;             // [vertices, 3]
    const float* uvs;                 // [vertices, uv_sets, 2]
    const float* colors;              // [vertices, 4] linear
    const int32_t* indices;           // [faces, 3] vertices
    const int32_t* face_materials;    // [faces]
    const int32_t* face_parts;        // [faces] any ids, or null
    const MeshMaterial* material;
    const MeshTexture* texture;
    const uint8_t* texels;            // [texel_count, 4]
    const float* light_directions;    // [lights, 3] towards the light, unit length
    const float* light_colors;        // [lights, 3] radiance of a white diffuse surface that faces the light
    const float* viewmats;            // [views, 4, 4] world to camera, OpenCV axes
    const float* Ks;                  // [views, 3, 3]
    uint8_t* rgba;                    // [views, height, width, 4] out: straight sRGB, alpha = covered share
    const float* velocities;          // [vertices, 3] world, or null
    // out, weighted by visibility where anything is covered, else 0; each may be null:
    float* depth;                     // [views, height, width] along the axis
    float* motion;                    // [views, height, width, 3] velocity; null without velocities
    float* surface_normals;           // [views, height, width, 3] unit, world, on the side of the camera
    int32_t* parts;                   // [views, height, width] part that covers most; -1 where nothing is covered
};

}
