"""`python -m lab.mock_responses`: the mock model API in the foreground, until Ctrl-C."""

from lab.mock_responses import MockResponses
from lab.model_api import in_foreground

if __name__ == "__main__":
    in_foreground(MockResponses, "lab.mock_responses", 18080)
