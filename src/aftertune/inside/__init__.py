"""Inside: analyses of what moved within the model."""
