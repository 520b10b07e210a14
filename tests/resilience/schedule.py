"""What is going to happen in a round: sessions, commands, faults. Pure: the same seed gives the same schedule.

What comes of it depends on the machine's timing, too; the seed says what was tried.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from resilience.faults import Blow, Fault, Victim

# Pauses go from nothing to more than two leases, so that the paused is missed, replaced, and wakes up beside its heir.
_LONGEST_PAUSE_LEASES = 2.5
_PAUSED = (Victim.WORKER, Victim.CHILD, Victim.ZYGOTE, Victim.STORE, Victim.API, Victim.BROKER)


@dataclass(frozen=True, slots=True)
class Order:
    """A command, `wait_s` after the one before; `pick` of 0 to 1 says the rest."""

    wait_s: float
    verb: str
    pick: float
    command_id: str


@dataclass(frozen=True, slots=True)
class Wish:
    """A session. `source` is the index of its scenario, `length_s` its simulated time."""

    session_id: str
    request_id: str
    begin_s: float
    source: int
    seed: int
    length_s: float
    orders: Sequence[Order]


@dataclass(frozen=True, slots=True)
class Schedule:
    """A round."""

    wishes: Sequence[Wish]
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """How rough a round is. Times in wall seconds unless said."""

    duration_s: float = 20.0
    sessions: int = 10
    sources: int = 1
    length_s: float = 1500.0
    """Simulated time of a session."""
    verbs: Sequence[str] = ("cancel",)
    orders_per_session: float = 0.3
    victims: Sequence[Victim] = (Victim.WORKER, Victim.ZYGOTE, Victim.STORE, Victim.API, Victim.BROKER)
    fault_every_s: float = 1.5
    lease_s: float = 2.0


def draw(seed: int, climate: Climate) -> Schedule:
    """The schedule of a seed."""
    dice = random.Random(seed)
    wishes = [_wish(dice, number, climate) for number in range(climate.sessions)]
    faults, at_s = [], 1.0
    while climate.victims and at_s < climate.duration_s:
        faults.append(_fault(dice, at_s, climate))
        at_s += dice.uniform(0.3, 1.7) * climate.fault_every_s
    return Schedule(sorted(wishes, key=lambda wish: wish.begin_s), faults)


def _wish(dice: random.Random, number: int, climate: Climate) -> Wish:
    count = int(climate.orders_per_session) + (dice.random() < climate.orders_per_session % 1)
    return Wish(
        session_id=f"chaos-{number}-{dice.randrange(16**6):06x}",
        request_id=_uuid(dice),
        begin_s=dice.uniform(0, climate.duration_s * 0.7),
        source=dice.randrange(climate.sources),
        # Few seeds: sessions of equal inputs must be equal to each other, and share one undisturbed run.
        seed=dice.randrange(1, 4),
        length_s=climate.length_s,
        orders=[
            Order(dice.uniform(0, 3), dice.choice(list(climate.verbs)), dice.random(), _uuid(dice))
            for _ in range(count if climate.verbs else 0)
        ],
    )


def _fault(dice: random.Random, at_s: float, climate: Climate) -> Fault:
    victim = dice.choice(list(climate.victims))
    lasts_s = dice.uniform(0, _LONGEST_PAUSE_LEASES) * climate.lease_s
    blows = [Blow.KILL, Blow.KILL]
    if victim is Victim.DISK:
        blows = [Blow.FILL]
    elif victim in _PAUSED:
        blows.append(Blow.PAUSE)
    if victim is Victim.WORKER:
        blows += [Blow.PAUSE, Blow.DRAIN]
    return Fault(at_s, victim, dice.choice(blows), dice.random(), lasts_s)


def _uuid(dice: random.Random) -> str:
    text = f"{dice.randrange(16**32):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"
