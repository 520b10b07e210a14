"""The tree of forks a session stands in, from wherever one looks."""

import pytest

from milepost.exceptions import NotFound
from milepost.lineage import Family, family_of
from milepost.session.v1.session_pb2 import ForkOrigin, Session


def tree(*pairs: tuple[str, str]) -> dict[str, Session]:
    """Sessions by id, of (session, origin)."""
    found = {name: Session(session_id=name) for name, _ in pairs}
    for name, origin in pairs:
        if origin:
            found[name].forked_from.CopyFrom(ForkOrigin(session_id=origin))
            if origin in found:
                found[origin].forks.append(name)
    return found


async def look(sessions: dict[str, Session], session_id: str) -> Family:
    async def look_up(name: str) -> Session:
        if name not in sessions:
            raise NotFound("SESSION_NOT_FOUND", name)
        return sessions[name]

    return await family_of(session_id, look_up)


def names(family: Family) -> object:
    return family.session_id, [names(fork) for fork in family.forks]


async def test_the_whole_tree_is_told_from_any_place_in_it() -> None:
    sessions = tree(("a", ""), ("b", "a"), ("c", "a"), ("d", "b"))
    whole = ("a", [("b", [("d", [])]), ("c", [])])
    assert [names(await look(sessions, name)) for name in sessions] == [whole] * 4


async def test_what_is_gone_is_a_leaf_or_ends_the_way_up() -> None:
    sessions = tree(("b", "gone"), ("c", "b"))
    sessions["c"].forks.append("gone too")
    family = await look(sessions, "c")
    assert names(family) == ("b", [("c", [("gone too", [])])])
    assert family.forks[0].forks[0].session is None
    with pytest.raises(NotFound):
        await look(sessions, "gone")
