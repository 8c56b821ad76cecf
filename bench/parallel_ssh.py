"""parallel-ssh (libssh2) doing the reads of bench/fanout.py. It does not check host keys: it cannot.

Usage: parallel_ssh.py ADDRESSES PORT USER KEY COMMAND
"""

import sys
from pathlib import Path

from pssh.clients import ParallelSSHClient


def main(addresses: str, port: str, user: str, key: str, command: str) -> None:
    hosts = Path(addresses).read_text().split()
    client = ParallelSSHClient(hosts, user=user, port=int(port), pkey=key, pool_size=128, allow_agent=False)
    outputs = client.run_command(command)
    print(sum(any(True for _ in output.stdout) for output in outputs))


if __name__ == "__main__":
    main(*sys.argv[1:])
