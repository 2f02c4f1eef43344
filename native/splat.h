// The C ABI of the splat renderer. All arrays are contiguous float32 in the order [scene, view, ...] or [scene, n, ...].
#pragma once
#include <cstdint>

extern "C" {

// B scenes of N Gaussians, each seen by V cameras. The three temporal arrays are null together for static scenes.
struct SplatScene {
    int32_t scenes, views, gaussians, width, height;
    float eps2d, near_plane, far_plane;
    const float* means;        // [B, N, 3]
    const float* quats;        // [B, N, 4] wxyz, any length
    const float* scales;       // [B, N, 3] standard deviations
    const float* opacities;    // [B, N]
    const float* colors;       // [B, N, 3]
    const float* velocities;   // [B, N, 3] or null
    const float* time_centers; // [B, N] or null
    const float* time_sigmas;  // [B, N] or null
    const float* viewmats;     // [B, V, 4, 4] world to camera
    const float* Ks;           // [B, V, 3, 3]
    const float* times;        // [B, V] or null
    int32_t threads;
};

// Accumulated colour, coverage and depth (sum of weight * z), before any background.
struct SplatImage {
    float* rgb;    // [B, V, H, W, 3]
    float* alpha;  // [B, V, H, W]
    float* depth;  // [B, V, H, W]
};

struct SplatGradients {
    float *means, *quats, *scales, *opacities, *colors;        // shapes of the inputs
    float *velocities, *time_centers, *time_sigmas;            // null for static scenes
};

enum SplatStatus { SPLAT_OK = 0, SPLAT_NO_MEMORY = 1, SPLAT_TOO_MANY_INTERSECTIONS = 2 };

}
