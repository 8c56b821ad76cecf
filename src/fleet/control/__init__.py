"""Sessions that are started, followed, answered and stopped from here, on any host that permits it.

selectors.py   what was typed -> exactly one session                    (pure)
requests.py    which open request is meant, and what is answered to it   (pure)
listing.py     what the last listing showed, so that its numbers can be typed
verbs.py       the verbs: what is asked of which host, and what came of it
direct.py      hosts reached without a daemon
screens.py     what is run in a person's own terminal                  (pure)
"""
