"""`fleet hosts add|remove|list|show|import`: a home of its own, no SSH but to a closed port."""

import json
import os
import pty
import subprocess
import sys
import termios
from pathlib import Path

import pytest

Ran = subprocess.CompletedProcess[str]


class Home:
    """A home without any configuration."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / ".config" / "fleet" / "hosts.toml"
        self.env = {
            "HOME": str(path),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "FLEET_RUNTIME_DIR": str(path / "run"),
        }

    def hosts(self, *arguments: str) -> Ran:
        command = [sys.executable, "-m", "fleet", "hosts", *arguments]
        return subprocess.run(
            command, env=self.env, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )

    def ssh_config(self, text: str, name: str = "config") -> None:
        """A file of ~/.ssh. `ssh` itself looks for it in the account's home, so it is named to fleet."""
        path = self.path / ".ssh" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_first_host_makes_the_file(home: Home) -> None:
    """For its owner alone; the check says which step fails, and the exit code that one did."""
    ran = home.hosts(
        "add", "gpu01", "--address", "127.0.0.1", "--port", "1", "--group", "gpu", "--tag", "berlin"
    )
    assert ran.returncode == 5
    assert f"gpu01 is in {home.config}\n" in ran.stdout
    assert "tcp       failed   127.0.0.1:1: Connection refused" in ran.stdout
    assert "fix: nothing listens there" in ran.stdout
    assert home.config.stat().st_mode & 0o777 == 0o600
    assert home.config.parent.stat().st_mode & 0o777 == 0o700
    assert home.hosts("list", "@gpu").stdout == home.hosts("list", "@berlin").stdout == "gpu01\n"


def test_the_mode_of_a_file_that_is_there_is_kept(home: Home) -> None:
    """And so are a symbolic link and every comment."""
    home.config.parent.mkdir(parents=True)
    real = home.path / "dotfiles.toml"
    real.write_text("# mine\n[hosts.a]\n")
    real.chmod(0o644)
    home.config.symlink_to(real)
    assert home.hosts("add", "b", "--no-check").returncode == 0
    assert home.config.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o644
    assert real.read_text() == "# mine\n[hosts.a]\n\n[hosts.b]\n"
    assert home.hosts("remove", "b").returncode == 0
    assert real.read_text().startswith("# mine\n[hosts.a]\n")
    assert home.hosts("list").stdout == "local\na\n"
    assert [path.name for path in home.config.parent.iterdir()] == ["hosts.toml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "a"), "there is a host 'a' already"),
        (("add", "a b"), "'a b' cannot be a host's name"),
        (("add", "b", "--port", "0"), "[hosts.b] port = 0: must be a number from 1 to 65535"),
        (("add", "b", "--jump", "x y"), "[hosts.b] jump = 'x y': must be text without spaces"),
        (("add", "b", "--group", "g/h"), "[groups] 'g/h': use letters"),
        (("remove", "b"), "there is no host 'b'; `fleet hosts list` names them all"),
        (("show", "b"), "there is no host 'b'"),
        (("trust", "b"), "there is no host 'b' to ssh to"),
        (("restrict", "a"), "a: name the key with --key"),
        (("restrict", "a", "--key", "/nope"), "/nope.pub: No such file or directory"),
        (("list", "zz"), "no host 'zz'"),
        (("check", "zz"), "no host 'zz'"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(home: Home, arguments: tuple[str, ...], words: str) -> None:
    """Thing, reason and fix, on stderr, with exit code 2 (PROMISES 25)."""
    home.config.parent.mkdir(parents=True)
    home.config.write_text("[hosts.a]\n")
    ran = home.hosts(*arguments)
    assert ran.returncode == 2
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert home.config.read_text() == "[hosts.a]\n"


def test_a_broken_file_is_not_touched(home: Home) -> None:
    """What cannot be read is mended by its owner first."""
    home.config.parent.mkdir(parents=True)
    home.config.write_text("[hosts.a\n")
    for arguments in (("add", "b"), ("remove", "a"), ("import", "--all")):
        ran = home.hosts(*arguments)
        assert ran.returncode == 2
        assert f"{home.config}: " in ran.stderr
    assert home.config.read_text() == "[hosts.a\n"


def test_a_jump_that_is_no_host_is_pointed_out(home: Home) -> None:
    """It may be an address, or a slip."""
    assert home.hosts("add", "bastion", "--no-check").returncode == 0
    assert "no host of that file" in home.hosts("add", "a", "--jump", "bastoin", "--no-check").stdout
    assert "no host of that file" not in home.hosts("add", "b", "--jump", "bastion", "--no-check").stdout
    assert "is the jump of b" in home.hosts("remove", "bastion").stderr


def test_show_says_where_each_setting_comes_from(home: Home) -> None:
    """The file, its defaults, ssh_config, fleet."""
    home.ssh_config("Host a\n  HostName 10.9.8.7\n  Port 2222\n", "mine")
    home.config.parent.mkdir(parents=True)
    home.config.write_text(
        f'[defaults]\nssh_config = "{home.path}/.ssh/mine"\n[hosts.a]\nuser = "me"\nidentity = ["~/x", "~/y"]\n'
    )
    rows = {line.split()[0]: line.split()[1:] for line in home.hosts("show", "a").stdout.splitlines()}
    assert rows["address"] == ["10.9.8.7", "ssh"]
    assert rows["port"] == ["2222", "ssh"]
    assert rows["user"] == ["me", "[hosts.a]"]
    assert rows["identity"] == ["~/x,", "~/y", "[hosts.a]"]
    assert rows["privacy"] == ["meta", "default"]
    assert rows["ssh_config"][-1] == "[defaults]"
    told = json.loads(home.hosts("show", "a", "--json").stdout)
    assert {"key": "port", "value": 2222, "source": "ssh"} in told["settings"]
    listed = json.loads(home.hosts("list", "--json").stdout)
    assert [host["name"] for host in listed["hosts"]] == ["local", "a"]


def test_show_fits_a_terminal(home: Home) -> None:
    """A long value goes on below itself; the columns stay in line."""
    home.config.parent.mkdir(parents=True)
    files = ", ".join(f'"/srv/keys/of/the/fleet/known_hosts_{i}"' for i in range(5))
    home.config.write_text(f"[hosts.a]\ncontrol = true\nssh_config = 'none'\nknown_hosts = [{files}]\n")
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    try:
        command = [sys.executable, "-m", "fleet", "hosts", "show", "a"]
        subprocess.run(command, env=home.env, stdin=theirs, stdout=theirs, check=True, timeout=60)
        lines = os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert max(map(len, lines)) <= 80
    (control,) = [line for line in lines if line.startswith("control ")]
    assert control.split() == ["control", "true", "[hosts.a]"]
    assert len({line.index("[hosts.a]") for line in lines if "[hosts.a]" in line}) == 1


def test_import_takes_aliases_and_nothing_else(home: Home) -> None:
    """Included files are followed; patterns and what is there already are passed over."""
    home.ssh_config(
        "Host gpu01 gpu02 *.x !y # of ours\n  Port 3\nInclude more/*\nMatch host foo\nhost=web\nHost gpu01\n"
    )
    home.ssh_config('Host "with space" db? db2\n', "more/a")
    tried = home.hosts("import", "--all", "--dry-run")
    assert tried.stdout.splitlines()[1:] == ["gpu01", "gpu02", "db2", "web"]
    assert not home.config.exists()
    assert home.hosts("import").returncode == 2  # nobody to ask
    assert "no new alias is named so" in home.hosts("import", "nope*").stderr
    assert home.hosts("import", "web").stdout.startswith("1 host more in ")
    assert home.hosts("import", "gpu*").stdout.startswith("2 hosts more in ")
    assert home.hosts("import", "--all").returncode == 0
    assert home.hosts("list").stdout.split() == ["local", "web", "gpu01", "gpu02", "db2"]
    assert "none of them new" in home.hosts("import", "--all").stderr


def test_import_from_another_file_remembers_which(home: Home) -> None:
    """The alias means what that file says."""
    home.ssh_config("Host a\n  Port 3\nInclude config\n", "other")
    home.ssh_config("Host b\nInclude other\n")
    circle = home.hosts("import", "--all", "--from", f"{home.path}/.ssh/other")
    assert "include each other" in circle.stderr
    home.ssh_config("Host b\n")
    other = home.path / ".ssh" / "other"
    assert home.hosts("import", "a", "--from", str(other)).returncode == 0
    assert home.config.read_text() == f'[hosts.a]\nssh_config = "{other}"\n'
    assert "cannot be read" in home.hosts("import", "--all", "--from", "/nope").stderr


@pytest.mark.parametrize(
    ("answer", "status", "chosen"), [("gpu*, web", 0, "gpu01, gpu02, web"), ("cpu*", 2, "")]
)
def test_import_asks_which_on_a_terminal(home: Home, answer: str, status: int, chosen: str) -> None:
    """All that are new are listed; names and patterns choose, and one that names nothing changes nothing."""
    home.ssh_config("Host gpu01 gpu02 web db\n  Port 3\n")
    command = [sys.executable, "-m", "fleet", "hosts", "import"]
    ours, theirs = pty.openpty()
    try:
        os.write(ours, f"{answer}\n".encode())
        asked = subprocess.run(command, env=home.env, stdin=theirs, capture_output=True, text=True, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert asked.returncode == status, asked.stderr
    assert asked.stdout.startswith("gpu01\ngpu02\nweb\ndb\n")
    assert home.config.exists() is bool(chosen)
    assert asked.stdout.strip().endswith(f": {chosen}".strip())
