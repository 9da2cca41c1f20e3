"""A robot that lets go however the process that drives it ends."""

from __future__ import annotations

import atexit
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from wildrobot_torch.deploy.runtime.hardware import Hardware

H = TypeVar("H", bound=Hardware)


@contextmanager
def released(hardware: H) -> Iterator[H]:
    """Within the block `hardware` is driven; after it the hardware is released and closed.

    After it means: at its end, by an exception, by Ctrl-C, by SIGTERM (which becomes SystemExit
    with 143, in the main thread), and at the interpreter's exit. A process that is killed can
    release nothing: then a robot in another process lets go by itself, servos on a bus hold their
    last target.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if main else None
    atexit.register(hardware.close)
    try:
        yield hardware
    finally:
        hardware.release()
        hardware.close()
        atexit.unregister(hardware.close)
        if main:
            signal.signal(signal.SIGTERM, before)
