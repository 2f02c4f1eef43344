// What both doors of the library share: the version of their C ABI and the statuses that they return.
#pragma once
#include <cstdint>

// Raise it with every change of a struct, an enum or a signature in this folder's C headers.
// chronosplat.render.native expects the same number, so that it refuses a stale build.
constexpr int32_t ABI_VERSION = 5;

enum Status {
    STATUS_OK = 0,
    STATUS_NO_MEMORY = 1,
    STATUS_TOO_MANY = 2,      // a count or a size is beyond what the library indexes; each door names its limits
    STATUS_NOT_FINITE = 3,    // a NaN or an infinity among the inputs
    STATUS_BAD_ARGUMENT = 4,  // a null pointer, a size or an index out of range, a focal length not above zero
    STATUS_BAD_STATE = 5,     // the state does not belong to these inputs (splat_backward)
};
