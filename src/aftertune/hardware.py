"""The cores, memory, processor and GPUs of this machine, found out without loading a library."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
from pathlib import Path


def cores() -> int:
    """Return how many cores this process may use; all of them on macOS, which does not tell."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed is not None else os.cpu_count() or 1


def memory() -> int:
    """Return the bytes of memory that this process may take, a container's limit included; `sys.maxsize` if unknown."""
    if not hasattr(os, "sysconf"):
        return sys.maxsize
    own = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else ""
    return min(own, int(text)) if text.isdigit() else own


def processor() -> dict[str, str]:
    """Return the properties of the processor that decide the last digits of sums: its kind and vector instructions."""
    flags: set[str] = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                flags = set(line.partition(":")[2].split())
                break
    vectors = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma", "sve", "asimd", "bf16")))
    return {"machine": platform.machine(), "vectors": " ".join(vectors)}


def gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that this process may use; the driver is asked, no library is loaded."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1"):
        return []
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return sorted(
        {line.strip() for line in listing.stdout.splitlines() if line.strip()} if not listing.returncode else ()
    )
