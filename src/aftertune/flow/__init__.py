"""The ways in: what the commands do, from a design or a checkpoint to the page, and where a run stands meanwhile."""
