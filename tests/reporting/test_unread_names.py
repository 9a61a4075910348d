"""The warning on a run whose tuning data are not all English."""

from __future__ import annotations

from aftertune.reporting.gather import unread_names


def test_texts_in_which_names_were_not_looked_for_are_a_warning_on_the_run() -> None:
    assert unread_names([{"German": 212, "French": 1}, {"German": 200}]) == [
        "In the tuning data names were not looked for in 212 German texts and 1 French text: leaks of names that stand "
        "there may be missing, and variants may still hold them."
    ]


def test_english_data_and_runs_without_data_have_no_warning() -> None:
    assert unread_names([]) == unread_names([{}, {}]) == []
