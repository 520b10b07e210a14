"""Vehicles that come, go, and drive otherwise."""

from functools import partial
from itertools import pairwise

from milepost.intervention.v1.intervention_pb2 import AddVehicle, RemoveVehicles, Reroute, SetVehicle
from sim_worker.child.interventions.looks import Changes, Looks, Refusal

_DEFAULT_TYPE = "DEFAULT_VEHTYPE"
# Routes need names of their own.
_ROUTE_PREFIX = "milepost:"
# MSMoveReminder::NOTIFICATION_VAPORIZED_TRACI, tc.REMOVE_VAPORIZED.
_VAPORIZED = 3
# tc.ROUTING_MODE_AGGREGATED: by the speeds that SUMO measures on edges.
_MEASURED = 1


def add_vehicle(looks: Looks, asked: AddVehicle) -> Changes:
    """Raises Refusal."""
    api, vehicle = looks.api, asked.vehicle_id
    if not vehicle:
        raise Refusal("a vehicle needs an id", "vehicle_id")
    if looks.knows_vehicle(vehicle):
        raise Refusal(f"there is a vehicle {vehicle} already", "vehicle_id")
    type_id = asked.type_id or _DEFAULT_TYPE
    looks.vehicle_type(type_id, "type_id")
    route = _route(looks, list(asked.route_edges), type_id)
    taken, route_id = frozenset(api.route.getIDList()), f"{_ROUTE_PREFIX}{vehicle}"
    while route_id in taken:
        route_id += "'"

    def add() -> None:
        api.route.add(route_id, route)
        api.vehicle.add(vehicle, route_id, typeID=type_id, departLane="best")

    return [add]


def remove_vehicles(looks: Looks, asked: RemoveVehicles) -> Changes:
    """Raises Refusal."""
    vehicle_ids = list(dict.fromkeys(asked.vehicle_ids))
    looks.vehicles(vehicle_ids, "vehicle_ids")

    def remove(vehicle_id: str) -> None:
        looks.api.vehicle.remove(vehicle_id, _VAPORIZED)
        # SUMO lists it among those that arrived for some reasons only.
        looks.engine.forget_vehicles([vehicle_id])

    return [partial(remove, vehicle_id) for vehicle_id in vehicle_ids]


def reroute(looks: Looks, asked: Reroute) -> Changes:
    """Raises Refusal."""
    vehicle = looks.api.vehicle
    vehicle_ids = list(dict.fromkeys(asked.vehicle_ids)) or list(looks.engine.vehicle_ids())
    looks.vehicles(asked.vehicle_ids, "vehicle_ids")
    changes: Changes = []
    if target := asked.target_edge_id:
        looks.edges([target], "target_edge_id")
        for vehicle_id in vehicle_ids:
            route, index = vehicle.getRoute(vehicle_id), max(0, vehicle.getRouteIndex(vehicle_id))
            if not looks.api.simulation.findRoute(route[index], target, vehicle.getTypeID(vehicle_id)).edges:
                raise Refusal(f"there is no way to edge {target} for vehicle {vehicle_id}", "target_edge_id")
            changes.append(partial(vehicle.changeTarget, vehicle_id, target))
    return [*changes, *(partial(_reroute_by_now, looks, vehicle_id) for vehicle_id in vehicle_ids)]


def set_vehicle(looks: Looks, asked: SetVehicle) -> Changes:
    """Raises Refusal."""
    vehicle, vehicle_id = looks.api.vehicle, asked.vehicle_id
    looks.vehicles([vehicle_id], "vehicle_id")
    changes: Changes = []
    if asked.HasField("type_id"):
        looks.vehicle_type(asked.type_id, "type_id")
        changes.append(partial(vehicle.setType, vehicle_id, asked.type_id))
    for field, is_set, value, setter, least in (
        ("max_speed_mps", asked.HasField("max_speed_mps"), asked.max_speed_mps, vehicle.setMaxSpeed, 0.0),
        ("speed_factor", asked.HasField("speed_factor"), asked.speed_factor, vehicle.setSpeedFactor, 0.0),
        ("speed_mps", asked.HasField("speed_mps"), asked.speed_mps, vehicle.setSpeed, -1.0),
    ):
        if is_set:
            if not least <= value < float("inf"):
                raise Refusal(f"{value:g} is not possible", field)
            changes.append(partial(setter, vehicle_id, value))
    if not changes:
        raise Refusal("nothing is to be set", "set_vehicle")
    return changes


def _reroute_by_now(looks: Looks, vehicle_id: str) -> None:
    # In any other mode SUMO 1.28 takes the travel times of an empty network, whatever it is asked for.
    vehicle = looks.api.vehicle
    mode = vehicle.getRoutingMode(vehicle_id)
    vehicle.setRoutingMode(vehicle_id, _MEASURED)
    vehicle.rerouteTraveltime(vehicle_id, False)  # noqa: FBT003 TraCI's signature
    vehicle.setRoutingMode(vehicle_id, mode)


def _route(looks: Looks, edges: list[str], type_id: str) -> list[str]:
    """The edges to drive over, every one of which leads to the next. Raises Refusal."""
    if not edges:
        raise Refusal("a route needs an edge", "route_edges")
    looks.edges(edges, "route_edges")
    vehicle_class = looks.api.vehicletype.getVehicleClass(type_id)
    if len(edges) == 2:
        found = list(looks.api.simulation.findRoute(*edges, type_id).edges)
        if not found:
            raise Refusal(f"there is no way from edge {edges[0]} to edge {edges[1]}", "route_edges")
        return found
    for edge in edges:
        if not looks.is_open(edge, vehicle_class):
            raise Refusal(f"edge {edge} is closed to {vehicle_class}", "route_edges")
    for edge, following in pairwise(edges):
        reached = {link[0] for lane in looks.lanes_of(edge) for link in looks.api.lane.getLinks(lane)}
        if not reached & set(looks.lanes_of(following)):
            raise Refusal(f"edge {edge} does not lead to edge {following}", "route_edges")
    return edges
