"""Settings of the process that training runs in."""

from __future__ import annotations

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, malloc.h
_KEPT_BYTES = 32 << 20  # glibc takes no larger threshold on 64 bits


def tune_process() -> None:
    """Keep freed memory and leave start-up objects out of garbage collection.

    A training step allocates and frees tensors of some megabytes many times over. Left alone, the
    C library returns each to the kernel, which hands it back page by page; and Python's collector
    walks through all modules again and again. Without glibc the first part changes nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    gc.collect()
    gc.freeze()


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Within it torch computes on one thread, afterwards on as many as before.

    Tensors of a control step are small: a second thread gains nothing on them, and while it waits
    for work it takes a core from the physics.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
