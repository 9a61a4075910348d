"""Models before their weights load: identity, soundness of files, chat templates, and the contract of backends."""
