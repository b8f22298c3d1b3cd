"""
Sets the Python interpreter up for a service whose threads share it with an event loop that must answer at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0005
"""
How long a busy thread keeps the interpreter before another may have it. Measured with one such thread, p95 of a round trip on the event
loop: 24-31 ms at Python's 5 ms, 2.4 ms at 1 ms, 0.1-1.8 ms at 0.5 ms.
"""

GC_THRESHOLDS: Final = (20_000, 20, 50)
"""
Rows are containers without cycles, which counting references frees at once; at Python's own 700 a batch of 2,000 rows is looked through
three times in vain, and now and then with all else that is alive, which takes tens of milliseconds.
"""


@contextmanager
def responsive(switch_interval_s: float = SWITCH_INTERVAL_S) -> Iterator[None]:
    """
    While inside, let waiting threads run soon and the garbage collector seldom look at what stays for ever anyway.

    Args:
        switch_interval_s: Seconds, see `SWITCH_INTERVAL_S`.
    """
    switch, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(switch_interval_s)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        sys.setswitchinterval(switch)
