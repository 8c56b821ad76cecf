"""OpenAI Codex CLI: its processes, its locks and its rollout files."""
