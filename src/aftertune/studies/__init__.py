"""Studies: a design, resolved once, as a study with its jobs; refusals and cost."""
