// How the images, tiles and chunks of a call are numbered, and the block that carries its pairs to the backward pass.
#pragma once
#include "tiles.h"

namespace CHRONOSPLAT_ISA {

struct Layout {
    int images, tiles_x, tiles, chunks;
    uint32_t stride;  // splats of a chunk; chunks are full unless there is but one
    explicit Layout(const SplatScene& s)
        : images(s.scenes * s.views), tiles_x((s.width + TILE - 1) / TILE), tiles(tiles_x * ((s.height + TILE - 1) / TILE)),
          chunks((s.gaussians + CHUNK - 1) / CHUNK), stride(s.gaussians < CHUNK ? s.gaussians : CHUNK) {}
    size_t splats_bytes() const { return (size_t)images * chunks * stride * sizeof(Splat); }
    uint32_t chunk_of(uint32_t splat, size_t image) const { return chunks == 1 ? 0 : splat / CHUNK - (uint32_t)image * chunks; }
    TileFrame frame(const SplatScene& s, size_t item) const {
        int t = (int)(item % tiles);
        return TileFrame{(t % tiles_x) * TILE, (t / tiles_x) * TILE, s.width, s.height};
    }
};

// The pairs that changed pixels, tile by tile and front to back.
struct Pairs {
    struct Header {
        uint64_t magic, rows;
    };
    static constexpr uint64_t MAGIC = 0x3174616c70736863;
    uint64_t rows;
    uint32_t *start, *ends;  // [images * tiles + 1]; [images, chunks, tiles]: end of a chunk's rows in its tile
    uint64_t* changed;       // [rows] the blocks that a pair changed
    Pair* pairs;             // [rows]

    static size_t even(size_t n) { return (n + 1) & ~(size_t)1; }
    static size_t bytes(const Layout& at, uint64_t rows) {
        size_t items = (size_t)at.images * at.tiles;
        return sizeof(Header) + 4 * (even(items + 1) + even(items * at.chunks)) + (sizeof(uint64_t) + sizeof(Pair)) * rows;
    }
    void place(void* block, const Layout& at, uint64_t n) {
        size_t items = (size_t)at.images * at.tiles;
        rows = n;
        start = (uint32_t*)((char*)block + sizeof(Header)), ends = start + even(items + 1);
        changed = (uint64_t*)(ends + even(items * at.chunks)), pairs = (Pair*)(changed + rows);
    }
    static Pairs write_header(void* block, const Layout& at, uint64_t rows) {
        Pairs p;
        *(Header*)block = Header{MAGIC, rows};
        p.place(block, at, rows);
        size_t items = (size_t)at.images * at.tiles;
        p.start[even(items + 1) - 1] = 0, p.ends[even(items * at.chunks) - 1] = 0;  // padding: same input, same bytes
        return p;
    }
    // False if the block is not one that the forward pass wrote for this layout: nothing in it is trusted.
    bool read(void* block, int64_t size, const Layout& at) {
        if (!block || size < (int64_t)sizeof(Header)) return false;
        const Header& h = *(Header*)block;
        if (h.magic != MAGIC || h.rows > (uint64_t)size || (uint64_t)size != bytes(at, h.rows)) return false;
        place(block, at, h.rows);
        size_t items = (size_t)at.images * at.tiles, splats = (size_t)at.images * at.chunks * at.stride;
        if (start[0] != 0 || start[items] != rows) return false;
        for (size_t item = 0; item < items; item++) {
            if (start[item + 1] < start[item] || start[item + 1] > rows) return false;
            uint32_t count = start[item + 1] - start[item];
            size_t image = item / at.tiles, t = item % at.tiles;
            for (uint32_t before = 0, chunk = 0; chunk < (uint32_t)at.chunks; chunk++) {
                uint32_t end = ends[(image * at.chunks + chunk) * at.tiles + t];
                if (end < before || end > count) return false;
                before = end;
            }
            bool fits = true;
            for (uint32_t i = start[item]; i < start[item + 1]; i++) fits &= pairs[i].splat < splats && pairs[i].row < count;
            if (!fits) return false;
        }
        return true;
    }
};

}  // namespace CHRONOSPLAT_ISA
