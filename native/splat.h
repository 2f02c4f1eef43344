// The C ABI of the splat renderer. All arrays are contiguous float32 in the order [scene, view, ...] or [scene, n, ...].
// STATUS_TOO_MANY: 2^31 (Gaussian, tile) intersections or more, or 2^31 projected Gaussians.
#pragma once
#include <cstdint>
#include "abi.h"

constexpr int TILE = 32;     // pixels along a tile's edge
constexpr int CHUNK = 1024;  // Gaussians worked on together

extern "C" {

// B scenes of N Gaussians, each seen by V cameras. Shapes are quats and scales, or covars. The temporal arrays are
// null together for static scenes. With `shared` the scenes are static, and differ in means and quats alone: scales,
// opacities, colors and their gradients have a first dimension of 1.
struct SplatScene {
    int32_t scenes, views, gaussians, width, height, threads, antialiased, shared;
    float eps2d, near_plane, far_plane, radius_clip;
    float weight_min, opacity_min;  // not drawn: temporal weight, or opacity times it, below these
    const float* means;         // [B, N, 3]
    const float* quats;         // [B, N, 4] wxyz, any length; or null
    const float* scales;        // [B, N, 3] standard deviations; or null
    const float* covars;        // [B, N, 3, 3]; or null
    const float* opacities;     // [B, N]
    const float* colors;        // [B, N, 3]
    const float* velocities;    // [B, N, 3] or null
    const float* time_centers;  // [B, N] or null
    const float* time_sigmas;   // [B, N] or null
    const float* viewmats;      // [B, V, 4, 4] world to camera
    const float* Ks;            // [B, V, 3, 3]
    const float* times;         // [B, V] or null
};

// Accumulated colour, coverage and depth (sum of weight * z), before any background.
struct SplatImage {
    float* rgb;    // [B, V, H, W, 3]
    float* alpha;  // [B, V, H, W]
    float* depth;  // [B, V, H, W]
};

// What the backward pass needs of the forward pass: a block without pointers in it, which may be copied and moved.
struct SplatState {
    void* block;  // 64-byte aligned
    int64_t bytes;
};

// Null where a gradient is not wanted or its input is not there; means, opacities and colors always.
struct SplatGradients {
    float *means, *quats, *scales, *covars, *opacities, *colors, *velocities, *time_centers, *time_sigmas;
    float* viewmats;  // [B, V, 4, 4]
};

}
