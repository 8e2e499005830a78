"""What the C library's allocator is told about a run: columns come and go by megabytes, records stay."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _MAPPED_BYTES = -3, 32 << 10
"""malloc.h, and the column of some thousand packets."""


def keep_columns_apart() -> None:
    """Tells glibc to map what is long by itself (mallopt(3)): among the columns of batches, records that stay would pin
    the pages of the heap, more of them with each busy minute (measured: 2 MiB less after some minutes)."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_freed_memory_back() -> None:
    """Asks glibc to hand free pages back (malloc_trim(3)); other allocators do so by themselves."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
