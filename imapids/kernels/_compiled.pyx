# cython: language_level=3, boundscheck=True, wraparound=False, cdivision=True, initializedcheck=False
# cython: show_performance_hints=False
"""All kernels in one module: what Cython adds to each module is then compiled once."""

from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

include "records.pxi"
include "frames.pxi"
include "groups.pxi"
include "rows.pxi"
include "endings.pxi"
include "pieces.pxi"
include "networks.pxi"
include "counts.pxi"
include "knocks.pxi"
include "stamp.pxi"
