"""The verbs that start, follow, answer and stop sessions."""
