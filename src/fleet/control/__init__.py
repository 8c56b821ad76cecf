"""Sessions that are started, followed, answered and stopped from here, on any host that permits it.

selectors.py   what was typed -> exactly one session                    (pure)
requests.py    which open request is meant, and what is answered to it   (pure)
listing.py     what the last listing showed, so that its numbers can be typed
verbs.py       the verbs: what is asked of which host, and what came of it
direct.py      hosts reached without a daemon
by_daemon.py   hosts reached over the running daemon's connections
relayed.py     the control wire of one host over the daemon's socket
kept.py        what both have: one agent a host, for all that is asked of it
followed.py    a log that is followed across connections that break
screens.py     what is run in a person's own terminal                  (pure)
"""
