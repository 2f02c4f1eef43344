// Memory and threads without a C++ runtime library: the shared object links only libc.
#pragma once
#include <dlfcn.h>
#include <pthread.h>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include "crew.h"

namespace chronosplat {

// Caches freed blocks for the next call: a large malloc is an mmap, whose page faults cost more than the rendering.
struct Pool {
    static constexpr int SLOTS = 64;
    static constexpr size_t HELD_MAX = (size_t)1 << 30;
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    void* block[SLOTS] = {};
    size_t size[SLOTS] = {};
    size_t held = 0;
};
Pool& pool();                                        // singleton, in dispatch.cpp
void* pool_take(size_t bytes, size_t& capacity);     // nullptr when out of memory
void pool_give(void* p, size_t capacity);

// Blocks for the caller; their capacity is stored in a header in front of them.
constexpr size_t BLOCK_HEADER = 64;
void* block_take(size_t bytes);
void block_give(void* block);

// An array of plain values in pooled memory.
template <class T> struct Array {
    T* p = nullptr;
    size_t capacity = 0;
    bool take(size_t n) {
        drop();
        p = (T*)pool_take(n * sizeof(T) + 64, capacity);
        return p != nullptr;
    }
    bool take_zeroed(size_t n) {
        if (!take(n)) return false;
        memset(p, 0, n * sizeof(T));
        return true;
    }
    void drop() {
        if (p) pool_give(p, capacity);
        p = nullptr;
    }
    ~Array() { drop(); }
    T& operator[](size_t i) { return p[i]; }
    const T& operator[](size_t i) const { return p[i]; }
};

// Whether all n values are finite. Tests bits, because fast-math may regroup sums of x * 0 so that they overflow.
inline bool all_finite(const float* p, size_t n) {
    uint32_t most = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + i, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most < 0x7f800000;
}

// torch's OpenMP pool, looked up at run time (no link dependency); null where torch uses another OpenMP, and where
// OMP_WAIT_POLICY is PASSIVE: its threads then sleep after every loop, and waking them costs more than a briefly spinning crew.
typedef void (*gomp_parallel_t)(void (*)(void*), void*, unsigned, unsigned);
gomp_parallel_t gomp_parallel();
Crew& crew();

// Runs work(item, thread) for every item, scheduled dynamically. Unless the wait policy is PASSIVE, torch's workers spin
// between loops, so this uses them: a crew would compete with them (benchmarks/busy.py).
template <class F> void parallel_for(int64_t items, int threads, F work) {
    constexpr int MOST = 256;
    if (threads > items) threads = (int)items;
    if (threads > MOST) threads = MOST;
    struct Team {
        F* work;
        int64_t items;
        std::atomic<int64_t> next{0};
        std::atomic<int> ids{0};
    } team;
    team.work = &work;
    team.items = items;
    auto run = [](void* arg) -> void* {
        Team& t = *(Team*)arg;
        int id = t.ids.fetch_add(1);
        for (int64_t i; (i = t.next.fetch_add(1)) < t.items;) (*t.work)(i, id);
        return nullptr;
    };
    gomp_parallel_t gomp = threads > 1 ? gomp_parallel() : nullptr;
    if (gomp) {
        static void* (*const body)(void*) = run;
        gomp([](void* arg) { body(arg); }, &team, (unsigned)threads, 0);
    } else if (threads <= 1 || !crew().run(threads, run, &team)) {
        run(&team);
    }
}

}  // namespace chronosplat
