// Converts a chunk's moments, over all views of its scene, to the gradients of the parameters of its Gaussians.
#pragma once
#include "state.h"

namespace CHRONOSPLAT_ISA {

// The gradients of one scene's Gaussians, the first of which has this index.
INLINE SplatGradients gradients_at(SplatGradients g, size_t first) {
    auto move = [first](float*& p, size_t width) { p = p ? p + width * first : nullptr; };
    move(g.means, 3), move(g.quats, 4), move(g.scales, 3), move(g.covars, 9), move(g.opacities, 1), move(g.colors, 3);
    move(g.velocities, 3), move(g.time_centers, 1), move(g.time_sigmas, 1);
    return g;
}

struct alignas(64) ChunkBackward {
    Chunk g;
    float sums[CHUNK][MOMENTS];  // this view's moments; zero between views
    float d_mean[3][CHUNK], d_shape[9][CHUNK], d_color[3][CHUNK], d_log_opacity[CHUNK];
    float d_velocity[3][CHUNK], d_center[CHUNK], d_sigma[CHUNK];
    bool touched[CHUNK / LANES];

    // Returns false if the moments name a Gaussian that does not exist.
    bool run(const SplatScene& s, const Layout& at, const State& state, const float* moments, int scene, int chunk,
             const SplatGradients& grad, float* cameras) {
        const size_t first = (size_t)chunk * CHUNK;
        const int left = s.gaussians - (int)first, n = left < CHUNK ? left : CHUNK;
        const SplatScene own = scene_at(s, scene);
        fill_chunk(g, own, first, n);
        memset(sums, 0, sizeof sums);
        memset(d_mean, 0, (char*)(d_sigma + CHUNK) - (char*)d_mean);
        for (int view = 0; view < s.views; view++) {
            int image = scene * s.views + view;
            memset(touched, 0, sizeof touched);
            if (!sum_rows(at, state, moments, image, chunk)) return false;
            ViewGradient camera = {};
            view_backward(s, image, grad.viewmats ? &camera : nullptr);
            if (grad.viewmats) store_camera(camera, cameras + ((size_t)image * at.chunks + chunk) * 12);
        }
        store_gradients(own, first, n, gradients_at(grad, (size_t)scene * s.gaussians));
        return true;
    }

    bool sum_rows(const Layout& at, const State& state, const float* moments, int image, int chunk) {
        for (size_t item = (size_t)image * at.tiles, last = item + at.tiles; item < last; item++) {
            const uint32_t* end = state.ends + item * at.chunks + chunk;
            const float* from = moments + MOMENTS * ((size_t)state.start[item] + (chunk ? end[-1] : 0));
            for (const float* stop = moments + MOMENTS * ((size_t)state.start[item] + end[0]); from < stop; from += MOMENTS) {
                uint32_t position;
                memcpy(&position, from + 10, 4);
                if (position >= (uint32_t)g.count) return false;
                float* to = sums[position];
                for (int k = 0; k < MOMENTS; k += 4) *(vfloat4*)(to + k) += *(const vfloat4*)(from + k);
                touched[position / LANES] = true;
            }
        }
        return true;
    }

    // Transposes the moments of LANES Gaussians into vectors and resets them to zero.
    INLINE void take_moments(float (*rows)[MOMENTS], vfloat m[MOMENTS]) {
        alignas(64) float t[MOMENTS][LANES];
        for (int i = 0; i < LANES; i += 4)
            for (int k = 0; k < MOMENTS; k += 4) {
                vfloat4 a = *(vfloat4*)&rows[i][k], b = *(vfloat4*)&rows[i + 1][k], c = *(vfloat4*)&rows[i + 2][k], d = *(vfloat4*)&rows[i + 3][k];
                vfloat4 ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
                vfloat4 cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
                *(vfloat4*)&t[k][i] = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
                *(vfloat4*)&t[k + 1][i] = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
                *(vfloat4*)&t[k + 2][i] = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
                *(vfloat4*)&t[k + 3][i] = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
            }
        memset(rows, 0, LANES * sizeof *rows);
        for (int k = 0; k < MOMENTS; k++) m[k] = load(t[k]);
    }

    INLINE void add(float* to, vfloat a) { store(to, load(to) + a); }

    void view_backward(const SplatScene& s, int image, ViewGradient* camera) {
        const float *vm = s.viewmats + 16 * (size_t)image, *K = s.Ks + 9 * (size_t)image, time = s.times ? s.times[image] : 0.f;
        for (int i = 0; i < g.padded; i += LANES) {
            if (!touched[i / LANES]) continue;
            vfloat m[MOMENTS], mean[3], moved[3], shape[9];
            take_moments(&sums[i], m);
            means_at(g, i, s, time, mean);
            Projected p;
            project(p, g, i, mean, vm, K, s);
            vmask ok = in_depth_range(p, s);
            for (int k = 0; k < 10; k++) m[k] = keep(ok, m[k]);
            for (int k = 0; k < 9; k++) shape[k] = load(d_shape[k] + i);
            project_backward(p, m, ok, g, i, mean, vm, K, s, moved, shape, camera);
            for (int k = 0; k < 9; k++) store(d_shape[k] + i, shape[k]);
            for (int k = 0; k < 3; k++) add(d_mean[k] + i, moved[k]), add(d_color[k] + i, m[6 + k]);
            add(d_log_opacity + i, m[0]);
            if (!s.velocities) continue;
            vfloat dt = time - load(g.center + i), z = sigmas_away(g, i, time), inv_sigma = load(g.inv_sigma + i);
            vfloat center = m[0] * z * inv_sigma;
            for (int k = 0; k < 3; k++) add(d_velocity[k] + i, moved[k] * dt), center -= moved[k] * load(g.velocity[k] + i);
            add(d_center + i, center), add(d_sigma + i, m[0] * z * z * inv_sigma);
        }
    }

    void store_camera(const ViewGradient& camera, float out[12]) {
        vfloat v[12];
        for (int k = 0; k < 9; k++) v[k] = camera.rotation[k];
        for (int k = 0; k < 3; k++) v[9 + k] = camera.translation[k];
        alignas(64) float sum[12];
        lane_sums(v, sum);
        memcpy(out, sum, sizeof sum);
    }

    void store_gradients(const SplatScene& s, size_t offset, int n, const SplatGradients& grad) {
        auto clear = [&](float* p, size_t width) {
            if (p) memset(p + width * offset, 0, width * n * sizeof(float));
        };
        clear(grad.means, 3), clear(grad.quats, 4), clear(grad.scales, 3), clear(grad.covars, 9), clear(grad.opacities, 1);
        clear(grad.colors, 3), clear(grad.velocities, 3), clear(grad.time_centers, 1), clear(grad.time_sigmas, 1);
        for (int i = 0; i < g.count; i += LANES) {
            const uint16_t* id = g.id + i;
            int m = g.count - i < LANES ? g.count - i : LANES;
            scatter<3>(d_mean, i, m, grad.means + 3 * offset);
            scatter<3>(d_color, i, m, grad.colors + 3 * offset);
            vfloat opacity, shape[9];
            gather_rows<1>(s.opacities + offset, id, &opacity);
            vfloat d_opacity = load(d_log_opacity + i) / opacity;
            scatter_rows<1>(&d_opacity, id, m, grad.opacities + offset);
            for (int k = 0; k < 9; k++) shape[k] = load(d_shape[k] + i);
            if (s.covars) {
                vfloat full[9];
                for (int r = 0; r < 3; r++)
                    for (int k = 0; k < 3; k++) full[3 * r + k] = shape[r < k ? UPPER[r][k] : UPPER[k][r]];
                scatter_rows<9>(full, id, m, grad.covars + 9 * offset);
            } else {
                vfloat q[4], scale[3], inv_norm, R[9], d_scale[3], d_quat[4];
                gather_rows<4>(s.quats + 4 * offset, id, q);
                gather_scales(s.scales + 3 * offset, id, scale);
                rotations(q, inv_norm, R);
                shape_backward(q, inv_norm, R, scale, shape, d_scale, d_quat);
                scatter_rows<3>(d_scale, id, m, grad.scales + 3 * offset);
                scatter_rows<4>(d_quat, id, m, grad.quats + 4 * offset);
            }
            if (!s.velocities) continue;
            scatter<3>(d_velocity, i, m, grad.velocities + 3 * offset);
            scatter<1>(&d_center, i, m, grad.time_centers + offset);
            scatter<1>(&d_sigma, i, m, grad.time_sigmas + offset);
        }
    }

    template <int K> void scatter(const float (*fields)[CHUNK], int i, int n, float* rows) {
        vfloat v[K];
        for (int k = 0; k < K; k++) v[k] = load(fields[k] + i);
        scatter_rows<K>(v, g.id + i, n, rows);
    }
};

}  // namespace CHRONOSPLAT_ISA
