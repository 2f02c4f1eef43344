// Numbering of images, tiles and chunks, and the block that stores records for the backward pass.
#pragma once
#include "tiles.h"

namespace CHRONOSPLAT_ISA {

struct Layout {
    int images, tiles_x, tiles, chunks;
    uint32_t stride;  // splats per chunk; all chunks are full unless there is only one
    explicit Layout(const SplatScene& s)
        : images(s.scenes * s.views), tiles_x((s.width + TILE - 1) / TILE), tiles(tiles_x * ((s.height + TILE - 1) / TILE)),
          chunks((s.gaussians - 1) / CHUNK + 1), stride(s.gaussians < CHUNK ? s.gaussians : CHUNK) {}
    uint32_t chunk_of(uint32_t splat, size_t image) const { return chunks == 1 ? 0 : splat / CHUNK - (uint32_t)image * chunks; }
    TileFrame frame(const SplatScene& s, size_t item) const {
        int t = (int)(item % tiles);
        return TileFrame{(t % tiles_x) * TILE, (t / tiles_x) * TILE, s.width, s.height};
    }
};

// The records of all tiles, front to back in each.
struct State {
    struct Header {
        uint64_t magic, rows, unused[6];
    };
    static constexpr uint64_t MAGIC = 0x3174616c70736863;
    uint64_t rows;
    Record* records;         // [rows]
    uint32_t *start, *ends;  // [images * tiles + 1]; [images, tiles, chunks]: end of a chunk's rows in the tile

    static size_t bytes(const Layout& at, uint64_t rows) {
        size_t items = (size_t)at.images * at.tiles;
        return sizeof(Header) + sizeof(Record) * rows + sizeof(uint32_t) * (items + 1 + items * at.chunks);
    }
    void place(void* block, const Layout& at, uint64_t n) {
        rows = n, records = (Record*)((char*)block + sizeof(Header));
        start = (uint32_t*)(records + n), ends = start + (size_t)at.images * at.tiles + 1;
    }
    static State write_header(void* block, const Layout& at, uint64_t rows) {
        State state;
        *(Header*)block = Header{MAGIC, rows, {}};
        state.place(block, at, rows);
        return state;
    }
    // Returns false if the forward pass did not write the block for this layout. Tiles and records are checked where they are read.
    bool read(const void* block, int64_t size, const Layout& at) {
        Header h;
        if (!block || size < (int64_t)sizeof h) return false;
        memcpy(&h, block, sizeof h);
        if (h.magic != MAGIC || h.rows > (uint64_t)size || (uint64_t)size != bytes(at, h.rows)) return false;
        place((void*)block, at, h.rows);
        size_t items = (size_t)at.images * at.tiles;
        if (start[0] != 0 || start[items] != rows) return false;
        for (size_t item = 0; item < items; item++)
            if (start[item + 1] < start[item] || start[item + 1] > rows) return false;
        return true;
    }
    // Whether the assignment of a tile's rows to chunks is valid.
    bool tile_fits(const Layout& at, size_t item) const {
        uint32_t before = 0;
        for (int chunk = 0; chunk < at.chunks; chunk++) {
            uint32_t end = ends[item * at.chunks + chunk];
            if (end < before) return false;
            before = end;
        }
        return before == start[item + 1] - start[item];
    }
};

}  // namespace CHRONOSPLAT_ISA
