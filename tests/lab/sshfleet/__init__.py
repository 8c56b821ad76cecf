"""sshfleet: N real SSH hosts on loopback, healthy or broken, for tests and benchmarks.

Every "host" is a loopback address (127.x.y.z) on one port, served by a real OpenSSH `sshd` with its own keys
and its own configuration. Nothing of the machine's own sshd, its host keys or anybody's ~/.ssh is read or
written, and nothing listens outside 127.0.0.0/8. Linux only.

In Python:

    with SshFleet(tmp_path / "fleet", hosts=3, faults={"blackhole": 1, "link": 1}) as fleet:
        fleet.hosts["h0001"].address, fleet.port, fleet.key, fleet.known_hosts
        fleet.kill("h0002"); fleet.revive("h0002"); fleet.link("link1", delay_ms=80)

On the command line (with tests/ on PYTHONPATH), `python -m lab.sshfleet`:

    up     DIR -n 200 [--fault ROLE=COUNT ...]   start, print a summary
    run    DIR -n 5 -- COMMAND ...               start, run a command, stop
    status DIR                                   what is up, how many sessions
    drop   DIR HOST...                           cut the host's live sessions (it stays reachable)
    kill   DIR HOST...  /  revive DIR HOST...    the host goes away: sessions and listener; and comes back
    freeze DIR HOST...  /  thaw DIR HOST...      SIGSTOP: TCP stays up, nobody answers
    link   DIR HOST... [--delay-ms 80] [--cut | --heal]    role "link" only
    stop   DIR
    roles                                        the faults, and what a client sees of each

Files written under DIR:

    ssh_config         one Host block per host (alias, address, port, key, known_hosts)
    ssh_config.min     one `Host *` block: use it with bare addresses (cheapest for ssh)
    known_hosts        one plain line per host; known_hosts.hashed: the same, hashed
    hosts, addresses   one alias, one address per line, of the healthy hosts; hosts.all: with the faulty ones
    fleet.json         everything, for programs (names, addresses, roles, pids)
    id_ed25519         the client key; log/: one log per sshd

Inside a session a host knows who it is: $SSHFLEET_HOST is its alias, $SSHFLEET_ROOT is DIR, and $HOME is
DIR/home/ALIAS, so an agent installed on one host is not on another. `fleet.processes("h0001")` lists what
commands have left running there, found by those variables, session or no session. (The working directory is
still the account's: sshd enters it before it sets HOME.)

How it is built: sshd takes at most 16 ListenAddress lines, so hosts are served in shards of up to 16 addresses,
told apart by `Match LocalAddress`; `per_sshd=1` gives each host an sshd of its own, which is what kill, revive
and freeze need. Faults below SSH are played by one small process, faultd.
"""

from lab.sshfleet.agents import install_agent
from lab.sshfleet.faults import FAULTS
from lab.sshfleet.fleet import SshFleet
from lab.sshfleet.machine import obstacle

__all__ = ["FAULTS", "SshFleet", "install_agent", "obstacle"]
