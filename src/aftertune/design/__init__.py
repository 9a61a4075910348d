"""What a person writes: a study design and its parts, a gate's policy, and the TOML behind both."""
