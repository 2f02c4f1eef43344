// The library's doors: picks the widest instruction set that this processor and its system allow.
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

gomp_parallel_t gomp_parallel() {
    static gomp_parallel_t found = (gomp_parallel_t)dlsym(RTLD_DEFAULT, "GOMP_parallel");
    return found;
}

}  // namespace chronosplat

#define DECLARE(ns)                                                                                                     \
    namespace ns {                                                                                                      \
    struct Pass;                                                                                                        \
    int forward(const SplatScene&, const SplatImage&, Pass&);                                                           \
    int backward(const SplatScene&, Pass&, const SplatImage&, const SplatImage&, const SplatGradients&);                \
    Pass* new_pass();                                                                                                   \
    void free_pass(Pass*);                                                                                              \
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
        const char* asked = getenv("CHRONOSPLAT_ISA");
        return asked && atoi(asked) >= 2 && atoi(asked) < most ? atoi(asked) : most;
    }();
    return chosen;
}
#define CHOOSE(call) (level() == 4 ? call(chronosplat_v4) : level() == 3 ? call(chronosplat_v3) : call(chronosplat_v2))
#else
DECLARE(chronosplat_plain)
static int level() { return 1; }
#define CHOOSE(call) call(chronosplat_plain)
#endif

#define DOOR extern "C" __attribute__((visibility("default")))

DOOR int32_t chronosplat_isa_level() { return level(); }

// Renders; *handle receives the state that splat_backward needs and splat_free releases (also after an error).
DOOR int32_t splat_forward(const SplatScene* scene, const SplatImage* out, void** handle) {
#define CALL(ns) ((*handle = ns::new_pass()) ? ns::forward(*scene, *out, *(ns::Pass*)*handle) : (int)SPLAT_NO_MEMORY)
    return CHOOSE(CALL);
#undef CALL
}

// Consumes the handle's pair list: may be called once per forward.
DOOR int32_t splat_backward(const SplatScene* scene, void* handle, const SplatImage* out, const SplatImage* grad_out,
                            const SplatGradients* grad) {
#define CALL(ns) ns::backward(*scene, *(ns::Pass*)handle, *out, *grad_out, *grad)
    return CHOOSE(CALL);
#undef CALL
}

DOOR void splat_free(void* handle) {
#define CALL(ns) ns::free_pass((ns::Pass*)handle)
    CHOOSE(CALL);
#undef CALL
}
