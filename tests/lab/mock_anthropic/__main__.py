"""`python -m lab.mock_anthropic`: the mock model API in the foreground, until Ctrl-C."""

import argparse
import contextlib
import threading
from pathlib import Path

from lab.mock_anthropic import MockAnthropic


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.mock_anthropic", description="an offline model API")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument(
        "--log", type=Path, default=Path("/dev/null"), help="append requests, a line of JSON each"
    )
    args = parser.parse_args()
    with args.log.open("a") as log, MockAnthropic(args.port, log=log) as api:
        print(f"mock on {api.url}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
