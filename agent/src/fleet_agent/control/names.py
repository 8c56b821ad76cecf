"""Memorable names for runs: two words, `calm-otter`. The words are common, short, and clear to the ear."""

import secrets
from collections.abc import Callable, Container, Sequence

ADJECTIVES = (  # noqa: SIM905 - to be read by people
    "able amber apt bold brave brief bright brisk broad calm candid chief civil clean clear clever cosy"
    " crisp daring deep eager early easy even exact fair famous fancy fast fine firm fleet fond frank"
    " fresh gentle giant glad golden good grand great green happy hardy honest humble ideal jolly keen"
    " kind lasting lean level light lively loyal lucky major mellow merry mild modest neat nimble noble"
    " open patient plain polite prime proud pure quick quiet rapid rare ready regal rich robust rosy round"
    " royal safe sharp silent silver simple sleek smart smooth snug solid sound spry steady still stout"
    " strong sunny super sure sweet swift tame tender tidy trim true trusty upbeat urban vast vivid warm"
    " wide wise witty young zesty"
).split()
NOUNS = (  # noqa: SIM905 - to be read by people
    "acorn anchor apple arrow aspen badger bamboo basil beacon beaver birch bison breeze bridge brook"
    " camel canyon castle cedar cherry cliff clover comet copper coral crane creek cricket dawn delta"
    " dolphin dove dragon dune eagle echo elm ember falcon fern ferry field finch fjord forest fossil fox"
    " garden gecko ginger glacier grove gull harbor hawk hazel heron hill honey island ivory jade jaguar"
    " juniper kestrel koala lagoon lake lantern lark laurel lemon lily lion lotus lynx magpie mango maple"
    " marble marten meadow melon meteor mint moon moose moth mountain nutmeg oak ocean olive opal orbit"
    " orchid osprey otter owl panda panther peach pearl pebble pepper pigeon pine planet plum pond poplar"
    " prairie puffin quail quartz rabbit raven reef ridge river robin rocket saffron sail salmon sequoia"
    " shore sparrow spruce star stone stork stream summit swan tiger timber topaz trout tulip tundra"
    " turtle valley violet walnut walrus willow wolf wren zebra"
).split()
_TRIES = 64


def memorable(taken: Container[str], choose: Callable[[Sequence[str]], str] = secrets.choice) -> str:
    """A name that is not `taken`; once those are rare, one with a number behind it.

    >>> memorable({"able-acorn", "able-acorn-2"}, lambda words: words[0])
    'able-acorn-3'
    """
    name = ""
    for _ in range(_TRIES):
        name = f"{choose(ADJECTIVES)}-{choose(NOUNS)}"
        if name not in taken:
            return name
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"
