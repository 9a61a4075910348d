"""What this machine has for us: cores and memory, asked without loading a library."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use; macOS does not tell, so there all of them."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory that this process may take, a container's limit included; endless if unknown."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(own, int(text)) if text.isdigit() else own
