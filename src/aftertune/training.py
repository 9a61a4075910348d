"""Watching a training from inside: a callback for TRL's and transformers' trainers."""

from __future__ import annotations

from aftertune.extras import explained

with explained():
    from aftertune.commands.drift_callback import DriftCallback

__all__ = ["DriftCallback"]
