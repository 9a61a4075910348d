"""The terms of art of the page, each in a sentence or two."""

from __future__ import annotations

GLOSSARY: tuple[tuple[str, str], ...] = (
    ("arm", "One way of tuning that is compared with the others: a data set, with everything else alike."),
    ("base", "The model before tuning. Every change on this page is a tuned model's rate minus the base's."),
    (
        "bound",
        "The better end of the interval at the stricter level that allows for testing several metrics. A check is"
        " a drift where the bound, too, lies beyond the margin.",
    ),
    ("checkpoint", "One tuned model: an arm and a recipe, trained with one seed."),
    (
        "cluster",
        "Prompts that are about the same thing, and so tend to move together. Intervals count clusters, not "
        "prompts, as independent.",
    ),
    (
        "contrast",
        "A difference between the changes of arms that differ in one thing, which says what that thing does.",
    ),
    (
        "drift",
        "A change for the worse beyond the margin, shown by a test that allows for looking at several metrics.",
    ),
    (
        "interval",
        "In square brackets: the range of true changes that the data leave open at the stated confidence.",
    ),
    (
        "judge",
        "What reads answers and labels them: rules, a small model, or a language model. It makes errors; how many"
        " was measured stands under “Can these numbers be trusted?”.",
    ),
    ("margin", "How much worse than its base the policy lets a tuned model be."),
    (
        "memorised",
        "Repeated from the training data more often than the same kind of value of people that nobody trained on,"
        " and more often than the base repeats it.",
    ),
    (
        "not confirmed",
        "The whole interval lies beyond the margin, but not when allowing for the number of metrics that were "
        "tested. It is no pass.",
    ),
    (
        "recipe",
        "How a model is tuned: method, learning rate, epochs and the like. With two seeds or more, numbers speak "
        "of the recipe, not of one checkpoint.",
    ),
    (
        "seed",
        "Where a training run's chance starts from. The same recipe with another seed gives another checkpoint.",
    ),
    (
        "twin",
        "A made-up person drawn like those in the training data, and never trained on: what answers say of twins "
        "is what they would say without memorising.",
    ),
    (
        "undecided",
        "The interval reaches across the margin, or nothing could be measured: neither a pass nor a drift.",
    ),
)
