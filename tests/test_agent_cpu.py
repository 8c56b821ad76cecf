"""fleet_agent.cpu: what a tree of processes used between two readings."""

from fleet_agent.cpu import Use, used_s

SINCE = 100.0


def use(cpu_s: float, ppid: int = 0, created_at: float = 0.0, born: float = 1.0) -> Use:
    return Use(born, created_at, ppid, cpu_s)


def test_what_all_used_more_than_before() -> None:
    """The sum over the tree."""
    before = {1: use(10.0), 2: use(1.0, 1)}
    assert used_s(before, {1: use(10.5), 2: use(3.0, 1)}, SINCE) == 2.5


def test_what_started_since_counts_whole_and_what_joined_counts_from_now() -> None:
    """A new process's CPU was all used since; another one's was used before it was in the tree."""
    now = {1: use(10.0), 2: use(0.7, 1, created_at=101.0), 3: use(500.0, 1, created_at=50.0)}
    assert used_s({1: use(10.0)}, now, SINCE) == 0.7


def test_who_ended_is_found_in_its_parent() -> None:
    """It had used 4 s, 1 s more before it ended; the parent waited for it, and has all 5 now."""
    before = {1: use(10.0), 2: use(4.0, 1)}
    assert used_s(before, {1: use(15.0)}, SINCE) == 1.0


def test_who_began_and_ended_in_between_is_found_in_its_parent() -> None:
    """A build starts a thousand compilers between two readings; none of them is ever seen."""
    assert used_s({1: use(10.0)}, {1: use(17.0)}, SINCE) == 7.0


def test_a_whole_branch_that_ended_is_found_in_what_is_left() -> None:
    """A make and its compiler end together: each waited for its own children."""
    before = {1: use(0.0), 2: use(1.0, 1), 3: use(2.0, 2)}
    assert used_s(before, {1: use(3.5)}, SINCE) == 0.5


def test_who_ended_outside_of_the_tree_takes_nothing_away() -> None:
    """A daemon's threads do not own the daemon, which waits for their processes."""
    assert used_s({2: use(4.0, 1), 3: use(1.0, 1)}, {3: use(1.5, 1)}, SINCE) == 0.5


def test_nothing_is_ever_negative() -> None:
    """A parent that does not wait for its children (SIGCHLD ignored) never gets their time."""
    assert used_s({1: use(10.0), 2: use(4.0, 1)}, {1: use(10.0)}, SINCE) == 0.0


def test_a_reused_pid_is_another_process() -> None:
    """Its predecessor's figure is not compared with its own."""
    before = {1: use(0.0), 2: use(9.0, 1)}
    assert used_s(before, {1: use(9.0), 2: use(0.25, 1, created_at=101.0, born=2.0)}, SINCE) == 0.25


def test_parents_in_a_circle_do_not_hang() -> None:
    """What /proc says of two processes need not fit together."""
    assert used_s({2: use(1.0, 3), 3: use(1.0, 2)}, {1: use(1.0)}, SINCE) == 0.0
