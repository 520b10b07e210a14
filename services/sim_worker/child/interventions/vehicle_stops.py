"""Vehicles that stand on their way: incidents."""

from functools import partial

from milepost.intervention.v1.intervention_pb2 import ReleaseVehicle, StopVehicle
from sim_worker.child.interventions.looks import Changes, Looks, Refusal

# Beyond where it could stand at the earliest, m: SUMO refuses a stop that comes a step too late.
_MARGIN_M = 2.0
# SUMO's shortest stop, m.
_SHORTEST_M = 0.2
_INTERNAL = ":"


def stop_vehicle(looks: Looks, asked: StopVehicle) -> Changes:
    """Raises Refusal."""
    vehicle_id = asked.vehicle_id
    looks.vehicles([vehicle_id], "vehicle_id")
    if not 0.0 < asked.duration_s < float("inf"):
        raise Refusal("the duration must be positive", "duration_s")
    if asked.edge_id:
        edge, position_m, lane_index = asked.edge_id, asked.position_m, asked.lane_index
        _look_at(looks, asked)
    else:
        edge, position_m, lane_index = _soonest(looks, vehicle_id)
    stop = looks.api.vehicle.setStop
    return [partial(stop, vehicle_id, edge, max(_SHORTEST_M, position_m), lane_index, asked.duration_s)]


def release_vehicle(looks: Looks, asked: ReleaseVehicle) -> Changes:
    """Raises Refusal."""
    looks.vehicles([asked.vehicle_id], "vehicle_id")
    if not looks.api.vehicle.isStopped(asked.vehicle_id):
        raise Refusal(f"vehicle {asked.vehicle_id} does not stand at a stop", "vehicle_id")
    return [partial(looks.api.vehicle.resume, asked.vehicle_id)]


def _look_at(looks: Looks, asked: StopVehicle) -> None:
    looks.edges([asked.edge_id], "edge_id")
    vehicle = looks.api.vehicle
    ahead = vehicle.getRoute(asked.vehicle_id)[max(0, vehicle.getRouteIndex(asked.vehicle_id)) :]
    if asked.edge_id not in ahead:
        raise Refusal(f"edge {asked.edge_id} is not ahead of vehicle {asked.vehicle_id}", "edge_id")
    lanes = looks.lanes_of(asked.edge_id)
    if not 0 <= asked.lane_index < len(lanes):
        raise Refusal(f"edge {asked.edge_id} has {len(lanes)} lanes", "lane_index")
    lane = lanes[asked.lane_index]
    length_m = looks.api.lane.getLength(lane)
    if not 0.0 <= asked.position_m <= length_m:
        raise Refusal(f"lane {lane} is {length_m:g} m long", "position_m")
    if vehicle.getVehicleClass(asked.vehicle_id) in looks.closed_to(lane):
        raise Refusal(f"lane {lane} is closed to vehicle {asked.vehicle_id}", "lane_index")


def _soonest(looks: Looks, vehicle_id: str) -> tuple[str, float, int]:
    """Edge, position and lane where it can stand first. Raises Refusal."""
    vehicle, lane = looks.api.vehicle, looks.api.lane
    speed_mps, step_s = vehicle.getSpeed(vehicle_id), looks.api.simulation.getDeltaT()
    left_m = speed_mps * (speed_mps / (2.0 * vehicle.getDecel(vehicle_id)) + step_s) + _MARGIN_M
    road = vehicle.getRoadID(vehicle_id)
    if not road:
        raise Refusal(f"vehicle {vehicle_id} has not departed", "vehicle_id")
    ahead = vehicle.getRoute(vehicle_id)[max(0, vehicle.getRouteIndex(vehicle_id)) :]
    if road.startswith(_INTERNAL):
        ahead = ahead[1:]
    else:
        index = vehicle.getLaneIndex(vehicle_id)
        left_m += vehicle.getLanePosition(vehicle_id)
        if left_m <= (length_m := lane.getLength(f"{road}_{index}")):
            return road, left_m, index
        left_m -= length_m
        ahead = ahead[1:]
    vehicle_class = vehicle.getVehicleClass(vehicle_id)
    for edge in ahead:
        lanes = looks.lanes_of(edge)
        length_m = lane.getLength(lanes[0])
        usable = [index for index, lane_id in enumerate(lanes) if vehicle_class not in looks.closed_to(lane_id)]
        if left_m <= length_m and usable:
            return edge, left_m, usable[0]
        left_m -= length_m
    raise Refusal(f"vehicle {vehicle_id} arrives before it could stand", "vehicle_id")
