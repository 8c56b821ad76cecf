"""`fleet hosts` and its verbs."""
