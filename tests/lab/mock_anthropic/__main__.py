"""`python -m lab.mock_anthropic`: the mock model API in the foreground, until Ctrl-C."""

from lab.mock_anthropic import MockAnthropic
from lab.model_api import in_foreground

if __name__ == "__main__":
    in_foreground(MockAnthropic, "lab.mock_anthropic", 8765)
