// The C ABI of the optimisation kernels: image loss, linear blend skinning and Adam. Arrays are contiguous.
// STATUS_TOO_MANY: 2^31 elements of an array, or more.
#pragma once
#include <cstdint>
#include "abi.h"

extern "C" {

// What V renderings of w x h pixels are compared with: windows of F images of W x H pixels. The loss is
//   mean((c - t)^2) + l1_weight mean(|c - t|) + alpha_weight mean((a - t_a)^2)
// with c the colour on white. Means are over V images of W x H pixels, so a window has the gradient of the whole image.
struct ImageTargets {
    int32_t views, width, height, images, full_width, full_height, threads;
    int32_t weighted;  // 0 no weights, 1 one for each view, 2 one for each pixel of the renderings
    float l1_weight, alpha_weight;
    const int32_t* which;    // [V] image of each rendering
    const int32_t* corners;  // [V, 2] x and y of its first pixel in the image
    const uint8_t* rgba;     // [F, H, W, 4] straight; or null
    const float* rgb;        // [F, H, W, 3] on white; or null
    const float* alpha;      // [F, H, W]; null with rgba
    const float* weights;    // [V] or [V, h, w]; or null
};

// Linear blend skinning of N Gaussians by K nodes at T times; J nodes move a Gaussian.
struct SkinInputs {
    int32_t times, gaussians, nodes, joints, threads;
    const float* means;          // [N, 3]
    const float* quats;          // [N, 4]
    const int64_t* skin_nodes;   // [N, J] 0 to K - 1
    const float* skin_weights;   // [N, J]
    const float* centers;        // [K, 3]
    const float* shifts;         // [T, K, 3]
    const float* turns;          // [T, K, 3] rotation vectors
};

// All are written.
struct SkinGradients {
    float *means, *quats, *shifts, *turns;
};

// R rows of C parameters with one learning rate, and the bounded values that they stand for.
struct AdamGroup {
    int64_t rows, steps;  // steps: number of this step of the group, from 1
    int32_t columns;
    int32_t activation;  // value = 0: parameter, 1: exp(parameter), 2: sigmoid(parameter)
    float lr;            // 0 leaves the group as it is
    float low, high;     // bounds of the parameter
    float spread;        // largest difference between parameters of a row: smaller ones are raised
    float* parameter;    // [R, C]
    float* value;        // [R, C] may be `parameter` without activation
    const float* gradient;  // [R, C] of the value
    float* first;           // [R, C] moments
    float* second;          // [R, C]
};

}
