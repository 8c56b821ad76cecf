"""Codex's hooks, where a person has asked for them: Codex itself tells when it asks somebody."""
