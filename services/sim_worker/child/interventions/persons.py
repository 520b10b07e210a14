"""Pedestrians."""

from itertools import pairwise

from milepost.intervention.v1.intervention_pb2 import AddPerson
from sim_worker.child.interventions.looks import PEDESTRIAN, Changes, Looks, Refusal

_TO_THE_END = -1.0


def add_person(looks: Looks, asked: AddPerson) -> Changes:
    """Raises Refusal."""
    api, edges = looks.api, list(asked.walk_edges)
    if not asked.person_id:
        raise Refusal("a person needs an id", "person_id")
    if asked.person_id in api.person.getIDList():
        raise Refusal(f"there is a person {asked.person_id} already", "person_id")
    if not edges:
        raise Refusal("a walk needs an edge", "walk_edges")
    looks.edges(edges, "walk_edges")
    for edge in edges:
        if not looks.is_open(edge, PEDESTRIAN):
            raise Refusal(f"pedestrians may not walk on edge {edge}", "walk_edges")
    for edge, following in pairwise(edges):
        if not _ends(looks, edge) & _ends(looks, following):
            raise Refusal(f"edge {following} does not begin where edge {edge} ends", "walk_edges")
    length_m = api.lane.getLength(looks.lanes_of(edges[0])[0])
    if not 0.0 <= asked.depart_position_m <= length_m:
        raise Refusal(f"edge {edges[0]} is {length_m:g} m long", "depart_position_m")

    def walk() -> None:
        # A person without a stage would end the simulation.
        api.person.add(asked.person_id, edges[0], asked.depart_position_m)
        api.person.appendWalkingStage(asked.person_id, edges, _TO_THE_END)

    return [walk]


def _ends(looks: Looks, edge_id: str) -> frozenset[str]:
    """A pedestrian walks an edge in either direction."""
    edge = looks.api.edge
    return frozenset((edge.getFromJunction(edge_id), edge.getToJunction(edge_id)))
