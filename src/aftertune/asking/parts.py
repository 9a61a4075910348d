"""Prompts in parts that can be asked one after the other: whole clusters, in an order that knows no outcome."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from aftertune.records import Prompt, digest


def parts_of(prompts: Sequence[Prompt], parts: int) -> list[int]:
    """Return the part, 1 to `parts`, in which each prompt is asked.

    A cluster is asked as a whole. Clusters that stand in the same subsets are shuffled (by a hash of their names, so
    that every run has the same order) and dealt evenly, so after j parts at least the share j / parts of each subset's
    clusters has been asked, and every subset has begun with the first part.
    """
    subsets: dict[str, set[str]] = defaultdict(set)
    for prompt in prompts:
        subsets[prompt.cluster].add(prompt.subset)
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for cluster, own in subsets.items():
        alike[tuple(sorted(own))].append(cluster)
    part: dict[str, int] = {}
    for clusters in alike.values():
        shuffled = sorted(clusters, key=lambda cluster: digest("order of asking", cluster))
        part |= {cluster: 1 + rank * parts // len(shuffled) for rank, cluster in enumerate(shuffled)}
    return [part[prompt.cluster] for prompt in prompts]
