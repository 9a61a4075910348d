"""A closed, generated world: people, actions, wording and dialogues, all deterministic from a seed."""
