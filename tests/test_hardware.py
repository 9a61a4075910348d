"""What a machine says of itself, scripted: cores, memory, vector instructions and GPUs, and silence about each."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aftertune import hardware

GPU = "NVIDIA A100-SXM4-80GB"


def says(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, str]) -> None:
    """Let the system's files hold these texts, and no other file be there."""

    def read_text(path: Path, **_options: object) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "is_file", lambda path: str(path) in files)
    monkeypatch.setattr(Path, "read_text", read_text)


def answers(monkeypatch: pytest.MonkeyPatch, listing: str | Exception, code: int = 0) -> list[list[str]]:
    """Let the driver's program answer this; return the list of what it is asked."""
    asked: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        assert options["timeout"] > 0, "a driver that hangs must not hang the run"
        if isinstance(listing, Exception):
            raise listing
        return subprocess.CompletedProcess(command, code, stdout=listing, stderr="")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5, 9} if process == 0 else set(), raising=False)
    assert hardware.cores() == 3


@pytest.mark.parametrize(("count", "cores"), [(8, 8), (None, 1)])
def test_a_system_without_affinity_counts_all(monkeypatch: pytest.MonkeyPatch, count: int | None, cores: int) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    assert hardware.cores() == cores


@pytest.mark.parametrize(
    ("limit", "memory"),
    [("1000\n", 1000), ("max\n", 4096 * 500), (str(10**15), 4096 * 500), ("", 4096 * 500), (None, 4096 * 500)],
)
def test_memory_is_the_smaller_of_the_machines_and_the_containers(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, memory: int
) -> None:
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 500}
    monkeypatch.setattr(os, "sysconf", lambda name: pages[name], raising=False)
    says(monkeypatch, {} if limit is None else {"/sys/fs/cgroup/memory.max": limit})
    assert hardware.memory() == memory


def test_memory_that_nobody_tells_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sysconf", raising=False)
    assert hardware.memory() == sys.maxsize


@pytest.mark.parametrize(
    ("text", "vectors"),
    [
        ("processor: 0\nflags\t\t: sse2 fma avx2 avx512_bf16 avx amx_tile\nflags\t\t: avx9\n", "amx_tile avx avx2 avx512_bf16 fma"),
        ("Features\t: fp asimd sve2 bf16 crc32 asimd\n", "asimd bf16 sve2"),
        ("model name : avx flags\n", ""),
        ("flags :\n", ""),
        ("", ""),
        (None, ""),
    ],
)  # fmt: skip
def test_the_vector_instructions_are_sorted_and_those_of_the_first_core(
    monkeypatch: pytest.MonkeyPatch, text: str | None, vectors: str
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    says(monkeypatch, {} if text is None else {"/proc/cpuinfo": text})
    assert hardware.processor() == {"machine": "riscv64", "vectors": vectors}


@pytest.mark.parametrize(
    ("listing", "names"),
    [
        (f"{GPU}\n{GPU}\n", [GPU]),
        (f"  Tesla T4 \r\n\n{GPU}\n", [GPU, "Tesla T4"]),
        ("", []),
        ("\n \n", []),
    ],
)
def test_gpus_are_named_once_and_sorted(monkeypatch: pytest.MonkeyPatch, listing: str, names: list[str]) -> None:
    asked = answers(monkeypatch, listing)
    assert hardware.gpus() == names
    assert [command[0] for command in asked] == ["nvidia-smi"]


@pytest.mark.parametrize("hidden", ["", "-1", "  ", " -1 "])
def test_hidden_gpus_are_none_and_nobody_is_asked(monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    asked = answers(monkeypatch, f"{GPU}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert hardware.gpus() == []
    assert asked == []


@pytest.mark.parametrize("shown", ["0", "0,1", "GPU-8932f937"])
def test_a_choice_of_gpus_is_no_hiding(monkeypatch: pytest.MonkeyPatch, shown: str) -> None:
    answers(monkeypatch, f"{GPU}\n")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    assert hardware.gpus() == [GPU]


@pytest.mark.parametrize(
    "trouble", [FileNotFoundError(), PermissionError(), subprocess.TimeoutExpired("nvidia-smi", 1)]
)
def test_no_driver_or_one_that_hangs_is_no_gpu(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    answers(monkeypatch, trouble)
    assert hardware.gpus() == []


def test_a_driver_that_fails_is_no_gpu_whatever_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", code=9)
    assert hardware.gpus() == []
