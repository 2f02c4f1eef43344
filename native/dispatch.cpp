// The exported functions. They dispatch to the widest instruction set that the processor and the system support.
#include <strings.h>
#include "mesh_check.h"
#include "optim.h"
#include "runtime.h"
#include "splat.h"

namespace chronosplat {

Pool& pool() {
    static Pool instance;
    return instance;
}

void* pool_take(size_t bytes, size_t& capacity) {
    bytes = (bytes + 4095) & ~(size_t)4095;
    Pool& P = pool();
    pthread_mutex_lock(&P.lock);
    int best = -1;
    for (int i = 0; i < Pool::SLOTS; i++)
        if (P.block[i] && P.size[i] >= bytes && P.size[i] <= 2 * bytes + 65536 && (best < 0 || P.size[i] < P.size[best])) best = i;
    void* p = nullptr;
    if (best >= 0) {
        p = P.block[best], capacity = P.size[best];
        P.block[best] = nullptr, P.held -= capacity;
    }
    pthread_mutex_unlock(&P.lock);
    if (p) return p;
    capacity = (bytes + bytes / 8 + 4095) & ~(size_t)4095;
    return posix_memalign(&p, 4096, capacity) ? nullptr : p;
}

void pool_give(void* p, size_t capacity) {
    Pool& P = pool();
    pthread_mutex_lock(&P.lock);
    for (int i = 0; p && i < Pool::SLOTS && P.held + capacity <= Pool::HELD_MAX; i++)
        if (!P.block[i]) {
            P.block[i] = p, P.size[i] = capacity, P.held += capacity;
            p = nullptr;
        }
    pthread_mutex_unlock(&P.lock);
    free(p);
}

void* block_take(size_t bytes) {
    size_t capacity;
    char* p = (char*)pool_take(bytes + BLOCK_HEADER, capacity);
    if (!p) return nullptr;
    memcpy(p, &capacity, sizeof capacity);
    return p + BLOCK_HEADER;
}

void block_give(void* block) {
    if (!block) return;
    char* p = (char*)block - BLOCK_HEADER;
    size_t capacity;
    memcpy(&capacity, p, sizeof capacity);
    pool_give(p, capacity);
}

gomp_parallel_t gomp_parallel() {
    static gomp_parallel_t found = [] {
        const char* policy = getenv("OMP_WAIT_POLICY");
        return policy && strcasecmp(policy, "passive") == 0 ? nullptr : (gomp_parallel_t)dlsym(RTLD_DEFAULT, "GOMP_parallel");
    }();
    return found;
}

Crew& crew() {
    [[clang::require_constant_initialization]] static Crew instance;
    return instance;
}

}  // namespace chronosplat

#define DECLARE(ns)                                                                                                     \
    namespace ns {                                                                                                      \
    int forward(const SplatScene&, const SplatImage&, SplatState*);                                                     \
    int backward(const SplatScene&, const SplatState&, const SplatImage&, const SplatImage&, const SplatGradients&);    \
    int fit(const SplatScene&, const ImageTargets&, double&, const SplatGradients&);                                    \
    int image_loss(const ImageTargets&, const float*, const float*, double*, float*, float*);                           \
    int skin(const SkinInputs&, float*, float*);                                                                        \
    int skin_backward(const SkinInputs&, const float*, const float*, const SkinGradients&);                             \
    int adam(const AdamGroup*, int, float, float, float, int);                                                          \
    void pair_differences(const float*, int32_t, const int64_t*, const int64_t*, int64_t, int32_t, double*, float*, float); \
    int mesh(const MeshScene&, int);                                                                                    \
    }
#if defined(__x86_64__)
#include <cpuid.h>
DECLARE(chronosplat_v2)
DECLARE(chronosplat_v3)
DECLARE(chronosplat_v4)

// 2, 3 or 4: the level of x86-64 that both the processor and the operating system (register state) support.
static int detect_level() {
    unsigned a, b, c, d, level = 2;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1) || !(c >> 12 & 1)) return level;  // OSXSAVE, FMA
    unsigned state, high;
    __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
    if ((state & 0x6) != 0x6 || !__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 5 & 1)) return level;  // AVX2
    level = 3;
    bool avx512 = (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1);  // F, DQ, BW, VL
    return avx512 && (state & 0xe6) == 0xe6 ? 4 : level;
}
static int level() {
    static int chosen = [] {
        int most = detect_level();
        const char* requested = getenv("CHRONOSPLAT_ISA");
        return requested && atoi(requested) >= 2 && atoi(requested) < most ? atoi(requested) : most;
    }();
    return chosen;
}
#define CHOOSE(call) (level() == 4 ? call(chronosplat_v4) : level() == 3 ? call(chronosplat_v3) : call(chronosplat_v2))
#else
DECLARE(chronosplat_plain)
static int level() { return 1; }
#define CHOOSE(call) call(chronosplat_plain)
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT int32_t chronosplat_isa_level() { return level(); }

EXPORT int32_t chronosplat_abi_version() { return ABI_VERSION; }

// Writes the sizes in bytes of the first n structs of the ABI, in this order; returns how many there are.
EXPORT int32_t chronosplat_struct_sizes(int64_t* out, int32_t n) {
    static const int64_t sizes[] = {sizeof(SplatScene),   sizeof(SplatImage),  sizeof(SplatState), sizeof(SplatGradients),
                                    sizeof(MeshMaterial), sizeof(MeshTexture), sizeof(MeshScene),  sizeof(ImageTargets),
                                    sizeof(SkinInputs),   sizeof(SkinGradients), sizeof(AdamGroup)};
    const int32_t count = sizeof sizes / sizeof *sizes;
    for (int32_t i = 0; out && i < n && i < count; i++) out[i] = sizes[i];
    return count;
}

// No arguments may crash the process, as long as the arrays are as long as the sizes declare.
static int check(const SplatScene* s) {
    if (!s || !s->means || !s->opacities || !s->colors || !s->viewmats || !s->Ks) return STATUS_BAD_ARGUMENT;
    if (!s->covars && (!s->quats || !s->scales)) return STATUS_BAD_ARGUMENT;
    bool moving = s->velocities || s->time_centers || s->time_sigmas || s->times;
    if (moving && !(s->velocities && s->time_centers && s->time_sigmas && s->times)) return STATUS_BAD_ARGUMENT;
    if (s->shared && (moving || s->covars)) return STATUS_BAD_ARGUMENT;
    const int32_t most = 1 << 20;  // pixels along an edge
    if (s->scenes < 1 || s->views < 1 || s->gaussians < 1 || s->width < 1 || s->height < 1 || s->width > most || s->height > most)
        return STATUS_BAD_ARGUMENT;
    const float options[] = {s->eps2d, s->near_plane, s->far_plane, s->radius_clip, s->weight_min, s->opacity_min};
    for (float x : options)
        if (!(x >= 0) || !chronosplat::all_finite(&x, 1)) return STATUS_BAD_ARGUMENT;
    if (!(s->near_plane > 0)) return STATUS_BAD_ARGUMENT;
    int64_t tiles = (int64_t)((s->width + TILE - 1) / TILE) * ((s->height + TILE - 1) / TILE), images = (int64_t)s->scenes * s->views;
    int64_t chunks = ((int64_t)s->gaussians + CHUNK - 1) / CHUNK;
    if (images >> 31 || (images * tiles) >> 31 || (images * chunks) >> 31 || (double)images * tiles * chunks > 4e9) return STATUS_TOO_MANY;
    for (int64_t i = 0; i < images; i++) {
        using chronosplat::all_finite;
        if (!all_finite(s->viewmats + 16 * i, 16) || !all_finite(s->Ks + 9 * i, 9) || (s->times && !all_finite(s->times + i, 1)))
            return STATUS_NOT_FINITE;
        if (!(s->Ks[9 * i] > 0 && s->Ks[9 * i + 4] > 0)) return STATUS_BAD_ARGUMENT;
    }
    return STATUS_OK;
}

static int check(const SplatScene* s, const SplatImage* out) {
    return out && out->rgb && out->alpha && out->depth ? check(s) : STATUS_BAD_ARGUMENT;
}

// Whether gradients have what the scene has.
static bool fits(const SplatScene& s, const SplatGradients* grad) {
    if (!grad || !grad->means || !grad->opacities || !grad->colors) return false;
    if (s.covars ? !grad->covars : !grad->quats || !grad->scales) return false;
    return !s.velocities || (grad->velocities && grad->time_centers && grad->time_sigmas);
}

// Renders. `state`, if not null, receives the state for splat_backward: a block that the caller frees with splat_free.
EXPORT int32_t splat_forward(const SplatScene* scene, const SplatImage* out, SplatState* state) {
    if (state) *state = SplatState{};
    if (int status = check(scene, out)) return status;
#define CALL(ns) ns::forward(*scene, *out, state)
    int status = CHOOSE(CALL);
#undef CALL
    if (status && state) {
        chronosplat::block_give(state->block);
        *state = SplatState{};
    }
    return status;
}

// Writes every gradient that is not null. The state is only read and can be used again.
EXPORT int32_t splat_backward(const SplatScene* scene, const SplatState* state, const SplatImage* out, const SplatImage* grad_out,
                            const SplatGradients* grad) {
    if (int status = check(scene, out)) return status;
    if (int status = check(scene, grad_out)) return status;
    if (!state || !state->block || (uintptr_t)state->block % 64 || !fits(*scene, grad)) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::backward(*scene, *state, *out, *grad_out, *grad)
    return CHOOSE(CALL);
#undef CALL
}

EXPORT void splat_free(void* block) { chronosplat::block_give(block); }

static int check(const ImageTargets* t) {
    if (!t || !t->which || !t->corners || (!t->rgba && (!t->rgb || !t->alpha))) return STATUS_BAD_ARGUMENT;
    const int32_t most = 1 << 20;
    if (t->views < 1 || t->width < 1 || t->height < 1 || t->images < 1 || t->full_width > most || t->full_height > most) return STATUS_BAD_ARGUMENT;
    if (t->weighted < 0 || t->weighted > 2 || (t->weighted && !t->weights)) return STATUS_BAD_ARGUMENT;
    const float options[] = {t->l1_weight, t->alpha_weight};
    for (float x : options)
        if (!(x >= 0) || !chronosplat::all_finite(&x, 1)) return STATUS_BAD_ARGUMENT;
    for (int64_t view = 0; view < t->views; view++) {
        const int64_t x = t->corners[2 * view], y = t->corners[2 * view + 1];
        if (t->which[view] < 0 || t->which[view] >= t->images) return STATUS_BAD_ARGUMENT;
        if (x < 0 || y < 0 || x + t->width > t->full_width || y + t->height > t->full_height) return STATUS_BAD_ARGUMENT;
    }
    return (int64_t)t->width * t->height * t->views >> 31 ? STATUS_TOO_MANY : STATUS_OK;
}

// Writes the loss of the renderings and its gradients by rgb [V, h, w, 3] (colour times coverage) and alpha [V, h, w], unless both are null.
EXPORT int32_t image_loss(const ImageTargets* targets, const float* rgb, const float* alpha, double* loss, float* grad_rgb, float* grad_alpha) {
    if (int status = check(targets)) return status;
    if (!rgb || !alpha || !loss || !grad_rgb != !grad_alpha) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::image_loss(*targets, rgb, alpha, loss, grad_rgb, grad_alpha)
    return CHOOSE(CALL);
#undef CALL
}

// Renders the scenes' views, compares them with the targets, and writes the loss and its gradients. The targets' views are the
// scene's, in the order [scene, view].
EXPORT int32_t splat_fit(const SplatScene* scene, const ImageTargets* targets, double* loss, const SplatGradients* grad) {
    if (int status = check(scene)) return status;
    if (int status = check(targets)) return status;
    if (!loss || !fits(*scene, grad) || targets->width != scene->width || targets->height != scene->height) return STATUS_BAD_ARGUMENT;
    if ((int64_t)scene->scenes * scene->views != targets->views) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::fit(*scene, *targets, *loss, *grad)
    return CHOOSE(CALL);
#undef CALL
}

static int check(const SkinInputs* s) {
    if (!s || !s->means || !s->quats || !s->skin_nodes || !s->skin_weights || !s->centers || !s->shifts || !s->turns) return STATUS_BAD_ARGUMENT;
    if (s->times < 1 || s->gaussians < 1 || s->nodes < 1 || s->joints < 1) return STATUS_BAD_ARGUMENT;
    const double most = 2147483648.;
    if ((double)s->times * s->gaussians * 4 >= most || (double)s->gaussians * s->joints >= most || (double)s->times * s->nodes * 16 >= most)
        return STATUS_TOO_MANY;
    for (int64_t i = 0, n = (int64_t)s->gaussians * s->joints; i < n; i++)
        if (s->skin_nodes[i] < 0 || s->skin_nodes[i] >= s->nodes) return STATUS_BAD_ARGUMENT;
    return STATUS_OK;
}

// Writes means [T, N, 3] and quaternions [T, N, 4].
EXPORT int32_t skin_forward(const SkinInputs* inputs, float* means, float* quats) {
    if (int status = check(inputs)) return status;
    if (!means || !quats) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::skin(*inputs, means, quats)
    return CHOOSE(CALL);
#undef CALL
}

EXPORT int32_t skin_backward(const SkinInputs* inputs, const float* grad_means, const float* grad_quats, const SkinGradients* grad) {
    if (int status = check(inputs)) return status;
    if (!grad_means || !grad_quats || !grad || !grad->means || !grad->quats || !grad->shifts || !grad->turns) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::skin_backward(*inputs, grad_means, grad_quats, *grad)
    return CHOOSE(CALL);
#undef CALL
}

// Takes a step of Adam; STATUS_NOT_FINITE leaves everything as it is if a gradient is not finite.
EXPORT int32_t adam_step(const AdamGroup* groups, int32_t count, float beta1, float beta2, float eps, int32_t threads) {
    if (count < 0 || (count && !groups) || !(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && eps >= 0)) return STATUS_BAD_ARGUMENT;
    for (int32_t k = 0; k < count; k++) {
        const AdamGroup& g = groups[k];
        if (g.rows < 0 || g.steps < 1 || g.columns < 1 || g.activation < 0 || g.activation > 2 || !(g.spread >= 0) || !(g.low <= g.high)) return STATUS_BAD_ARGUMENT;
        if (!chronosplat::all_finite(&g.lr, 1)) return STATUS_BAD_ARGUMENT;
        if ((double)g.rows * g.columns >= 2147483648.) return STATUS_TOO_MANY;
        if (g.rows && !(g.parameter && g.value && g.gradient && g.first && g.second)) return STATUS_BAD_ARGUMENT;
        if (g.activation && g.value == g.parameter) return STATUS_BAD_ARGUMENT;
    }
#define CALL(ns) ns::adam(groups, count, beta1, beta2, eps, threads)
    return CHOOSE(CALL);
#undef CALL
}

// Writes the mean of |values[others[i, k]] - values[rows[i]]|^2 over all components, for rows [P], others [P, K] and values [N, C],
// and its gradient [N, C].
EXPORT int32_t pair_differences(const float* values, int64_t count, int32_t columns, const int64_t* rows, const int64_t* others, int64_t pairs,
                                int32_t each, double* loss, float* grad) {
    if (!values || !rows || !others || !loss || !grad || count < 1 || columns < 1 || pairs < 1 || each < 1) return STATUS_BAD_ARGUMENT;
    const double size = (double)pairs * each * columns;
    if (size >= 2147483648. || (double)count * columns >= 2147483648.) return STATUS_TOO_MANY;
    for (int64_t i = 0; i < pairs; i++)
        if (rows[i] < 0 || rows[i] >= count) return STATUS_BAD_ARGUMENT;
    for (int64_t i = 0; i < pairs * each; i++)
        if (others[i] < 0 || others[i] >= count) return STATUS_BAD_ARGUMENT;
    memset(grad, 0, (size_t)count * columns * sizeof(float));
#define CALL(ns) ns::pair_differences(values, columns, rows, others, pairs, each, loss, grad, (float)(2 / size))
    CHOOSE(CALL);
#undef CALL
    *loss /= size;
    return STATUS_OK;
}

EXPORT int32_t mesh_render(const MeshScene* scene, int32_t threads) {
    if (int status = chronosplat::check_mesh(scene)) return status;
#define CALL(ns) ns::mesh(*scene, threads)
    return CHOOSE(CALL);
#undef CALL
}
