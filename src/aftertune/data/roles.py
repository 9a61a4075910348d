"""What files call the parties of a chat."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from aftertune.records import Role

ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "chatgpt": "assistant",
    "ai": "assistant",
}
TOOL_ROLES = frozenset(
    {"tool", "tool_call", "tool_calls", "tool_response", "tool_result", "tool_results", "function", "function_call",
     "function_response", "observation", "ipython"}
)  # fmt: skip
"""Turns of these are no turns of the chat: their texts are read for personal values alone."""
_OTHER_ROLES = frozenset(
    {"actor", "admin", "advisor", "agent", "analyst", "asker", "author", "bystander", "caller", "candidate",
     "character", "client", "coach", "context", "critic", "customer", "data", "doctor", "editor", "employee",
     "environment", "evaluator", "expert", "guest", "host", "instruction", "instructor", "interviewee",
     "interviewer", "judge", "knowledge", "learner", "manager", "mediator", "memory", "mentor", "moderator",
     "narrator", "none", "npc", "null", "operator", "other", "participant", "patient", "persona", "planner",
     "player", "plugin", "reader", "respondent", "responder", "reviewer", "robot", "seeker", "seller", "speaker",
     "staff", "student", "summarizer", "supervisor", "support", "supporter", "teacher", "therapist", "thought",
     "tutor", "unknown", "verifier", "victim", "visitor", "voter", "wizard", "worker", "writer"}
)  # fmt: skip
"""Roles that other tools have, which an error may show: any other text in their place may be somebody's name."""


def unknown_role(raw: str) -> str:
    """Return what says that a text is no role: itself where it is a word for one, else its shape: it may be a name."""
    name = raw.strip().casefold()
    known = f"known: {', '.join((*ROLES, 'tool', 'function'))}"
    if name in _OTHER_ROLES:
        return f"unknown role '{name}'; {known}"
    close = difflib.get_close_matches(name, [*ROLES, *TOOL_ROLES], n=1, cutoff=0.8)
    return f"unknown role, {shape(raw)}; " + (f"did you mean '{close[0]}'?" if close else known)


def shape(text: str) -> str:
    """Return what may be shown of a text that may be personal: how many words and characters it has."""
    words = len(text.split())
    return f"a text of {words:,} {'word' if words == 1 else 'words'} and {len(text):,} characters"
