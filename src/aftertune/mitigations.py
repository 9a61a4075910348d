"""Mitigations for training scripts of one's own: callbacks for TRL's and transformers' trainers."""

from __future__ import annotations

from aftertune.tuning.kl_callback import kl_to_base

__all__ = ["kl_to_base"]
