"""Start-up: commands that touch no other machine, as a ratio to `python -c pass` in the same environment.

Usage: python bench/startup.py [--repeat R]        (default: 15 times)

CPU of the whole process tree: `fleet status` includes the agent that it runs as a subprocess. All commands run
in turn within each repetition, on one processor; printed are medians of the ratios of one repetition.
"""

import argparse
import os
import statistics
import sys
import tempfile

import measure

CPU = 0
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import typer'": ["-c", "import typer"],
    "fleet --version": ["-m", "fleet", "--version"],
    "fleet --help": ["-m", "fleet", "--help"],
    "fleet schema": ["-m", "fleet", "schema"],
    "fleet-agent snapshot": ["-m", "fleet_agent", "snapshot"],
    "fleet status (this machine)": ["-m", "fleet", "status"],
}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=15)
    repeat = parser.parse_args().repeat
    costs: dict[str, list[measure.Cost]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as home:
        env = {"HOME": home, "PATH": os.environ["PATH"]}
        for _ in range(repeat):
            for name, arguments in COMMANDS.items():
                cost = measure.run([sys.executable, *arguments], cpu=CPU, env=env)
                if cost.status:
                    sys.exit(f"{name} exited with {cost.status}: {cost.stderr[-500:].decode()}")
                costs[name].append(cost)
    base = costs["python -c pass"]
    print(f"{'':30}{'CPU, ms':>10}{'ratio':>8}{'wall, ms':>10}{'ratio':>8}")
    for name, mine in costs.items():
        cells = [_median(mine, base, field) for field in ("cpu_s", "wall_s")]
        print(f"{name:30}" + "".join(f"{ms:>10.0f}{ratio:>8.1f}" for ms, ratio in cells))


def _median(mine: list[measure.Cost], base: list[measure.Cost], field: str) -> tuple[float, float]:
    values = [getattr(cost, field) for cost in mine]
    ratios = [value / getattr(cost, field) for value, cost in zip(values, base, strict=True)]
    return statistics.median(values) * 1000, statistics.median(ratios)


if __name__ == "__main__":
    main()
