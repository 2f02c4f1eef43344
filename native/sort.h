// Lazy depth sort of one tile's Gaussians: most tiles become opaque long before their last Gaussian.
#pragma once
#include "simd.h"

namespace CHRONOSPLAT_ISA {

// Keys hold the depth's bits above the splat's index; positive floats order as their bits do, equal depths by index.
typedef uint64_t DepthKey;
INLINE DepthKey depth_key(float depth, uint32_t index) {
    uint32_t bits;
    memcpy(&bits, &depth, 4);
    return (uint64_t)bits << 32 | index;
}

static void sort_few(DepthKey* key, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        DepthKey k = key[i];
        uint32_t j = i;
        for (; j && key[j - 1] > k; j--) key[j] = key[j - 1];
        key[j] = k;
    }
}

// Stable radix sort by depth, in as few byte passes as the range of depths needs; keys of equal depth stay in order.
static void sort_many(DepthKey* key, DepthKey* other, uint32_t n) {
    uint32_t least = ~0u, most = 0;
    for (uint32_t i = 0; i < n; i++) least = lower(least, (uint32_t)(key[i] >> 32)), most = upper(most, (uint32_t)(key[i] >> 32));
    if (least == most) return;
    int width = 32 - __builtin_clz(most - least), passes = (width + 7) / 8;
    DepthKey* const home = key;
    for (int p = 0; p < passes; p++) {
        uint32_t count[256] = {}, sum = 0;
        for (uint32_t i = 0; i < n; i++) count[(((uint32_t)(key[i] >> 32) - least) >> (8 * p)) & 255]++;
        for (auto& c : count) {
            uint32_t here = c;
            c = sum, sum += here;
        }
        for (uint32_t i = 0; i < n; i++) other[count[(((uint32_t)(key[i] >> 32) - least) >> (8 * p)) & 255]++] = key[i];
        DepthKey* swap = key;
        key = other, other = swap;
    }
    if (key != home) memcpy(home, key, n * sizeof(DepthKey));
}

// Distributes keys into up to 1024 buckets of ascending depth, and sorts a bucket when it is reached.
struct DepthOrder {
    DepthKey *key, *spare;  // in buckets; free space of the same size
    uint32_t count, sorted = 0, end[1024];
    int bucket = 0, buckets;

    // `keys` (n, in ascending index) is only read; `scratch` and `spare` have space for n keys each.
    DepthOrder(const DepthKey* keys, uint32_t n, DepthKey* scratch, DepthKey* spare) : key(scratch), spare(spare), count(n) {
        uint32_t least = ~0u, most = 0, sum = 0;
        for (uint32_t i = 0; i < n; i++) least = lower(least, (uint32_t)(keys[i] >> 32)), most = upper(most, (uint32_t)(keys[i] >> 32));
        int buckets_log2 = n ? 31 - __builtin_clz(n) : 0;  // one or two in each
        if (buckets_log2 > 10) buckets_log2 = 10;
        int width = n && most > least ? 32 - __builtin_clz(most - least) : 0;
        int shift = width > buckets_log2 ? width - buckets_log2 : 0;
        buckets = n ? (int)((most - least) >> shift) + 1 : 0;
        memset(end, 0, buckets * sizeof *end);
        for (uint32_t i = 0; i < n; i++) end[((uint32_t)(keys[i] >> 32) - least) >> shift]++;
        for (int b = 0; b < buckets; b++) {
            uint32_t here = end[b];
            end[b] = sum, sum += here;
        }
        for (uint32_t i = 0; i < n; i++) key[end[((uint32_t)(keys[i] >> 32) - least) >> shift]++] = keys[i];
    }
    // Sorts at least the first n: large buckets by radix sort, then all together by insertion sort, as few are out of place.
    void reach(uint32_t n) {
        uint32_t from = sorted;
        for (; sorted < n && sorted < count; sorted = end[bucket++]) {
            uint32_t size = end[bucket] - sorted;
            if (size > 48) sort_many(key + sorted, spare, size);
        }
        sort_few(key + from, sorted - from);
    }
    uint32_t index(uint32_t i) const { return (uint32_t)key[i]; }
};

}  // namespace CHRONOSPLAT_ISA
