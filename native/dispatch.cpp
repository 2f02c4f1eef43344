// The exported functions. They dispatch to the widest instruction set that the processor and the system support.
#include <strings.h>
#include "mesh.h"
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
                                    sizeof(MeshMaterial), sizeof(MeshTexture), sizeof(MeshScene)};
    const int32_t count = sizeof sizes / sizeof *sizes;
    for (int32_t i = 0; out && i < n && i < count; i++) out[i] = sizes[i];
    return count;
}

// No arguments may crash the process, as long as the arrays are as long as the sizes declare.
static int check(const SplatScene* s, const SplatImage* out) {
    if (!s || !out || !out->rgb || !out->alpha || !out->depth || !s->means || !s->opacities || !s->colors || !s->viewmats || !s->Ks)
        return STATUS_BAD_ARGUMENT;
    if (!s->covars && (!s->quats || !s->scales)) return STATUS_BAD_ARGUMENT;
    bool moving = s->velocities || s->time_centers || s->time_sigmas || s->times;
    if (moving && !(s->velocities && s->time_centers && s->time_sigmas && s->times)) return STATUS_BAD_ARGUMENT;
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
    if (!state || !state->block || (uintptr_t)state->block % 64 || !grad || !grad->means || !grad->opacities || !grad->colors) return STATUS_BAD_ARGUMENT;
    if (scene->covars ? !grad->covars : !grad->quats || !grad->scales) return STATUS_BAD_ARGUMENT;
    if (scene->velocities && (!grad->velocities || !grad->time_centers || !grad->time_sigmas)) return STATUS_BAD_ARGUMENT;
#define CALL(ns) ns::backward(*scene, *state, *out, *grad_out, *grad)
    return CHOOSE(CALL);
#undef CALL
}

EXPORT void splat_free(void* block) { chronosplat::block_give(block); }
