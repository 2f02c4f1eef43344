// The C ABI of the mesh rasteriser: coloured, textured triangles under directional lights, to straight sRGB + coverage.
// STATUS_TOO_MANY: 2^28 vertices, faces, materials, textures, lights or views, or 2^31 samples per view, or more.
#pragma once
#include <cstdint>
#include "abi.h"

extern "C" {

struct MeshMaterial {
    float base[4];        // linear colour and alpha
    float emissive[3];    // linear
    float cutoff;         // alpha_mode 1: samples below are not drawn
    int32_t texture, emissive_texture;  // index of a texture, -1 for none
    int32_t alpha_mode;   // 0 opaque, 1 mask, 2 blend (drawn as coverage: a share of the samples)
    int32_t two_sided, unlit;
};

struct MeshTexture {
    int64_t offset;         // of the first texel in `texels`
    int32_t width, height;  // 1 to 2^20
};

struct MeshScene {
    int32_t vertices, faces, materials, textures, lights, views;
    int32_t width, height;            // pixels, 1 to 2^20
    int32_t samples;                  // 1 to 64: samples x samples per pixel
    float ambient, near_plane;        // near_plane is above zero
    int64_t texel_count;              // of all textures
    const float* positions;           // [vertices, 3] world
    const float* normals;             // [vertices, 3]
    const float* uvs;                 // [vertices, 4]: base colour uv, emissive uv
    const float* colors;              // [vertices, 4] linear
    const int32_t* indices;           // [faces, 3] vertices
    const int32_t* face_materials;    // [faces]
    const MeshMaterial* material;
    const MeshTexture* texture;
    const float* texels;              // [texel_count, 4] linear RGBA; NaN counts as black
    const float* light_directions;    // [lights, 3] towards the light, unit length
    const float* light_energies;      // [lights]
    const float* viewmats;            // [views, 4, 4] world to camera, OpenCV axes
    const float* Ks;                  // [views, 3, 3]
    uint8_t* rgba;                    // [views, height, width, 4] out: straight sRGB, alpha = covered share
    const float* velocities;          // [vertices, 3] world, or null
    float* depth;                     // [views, height, width] out: mean depth along the axis where covered, else 0; or null
    float* motion;                    // [views, height, width, 3] out: mean velocity where covered; null without velocities
};

}
