"""The generated world that the shipped models live in: people, actions, wording and dialogues, all from a seed."""
