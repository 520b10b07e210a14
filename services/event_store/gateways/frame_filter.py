"""What of a frame a watcher asked for."""

import zlib

from milepost.event.v1.frame_pb2 import Frame, FrameOptions

# Vehicles in a frame when the watcher names no number.
DEFAULT_MAX_VEHICLES = 5000


def filtered(frame: Frame, options: FrameOptions) -> Frame:
    """Only vehicles inside the box; of too many those with the lowest hash of their id, so that the same ones stay."""
    chosen = range(len(frame.ids))
    if options.HasField("box"):
        box = options.box
        chosen = [  # type: ignore[assignment]
            i for i in chosen if box.x_min <= frame.x[i] <= box.x_max and box.y_min <= frame.y[i] <= box.y_max
        ]
    limit = options.max_vehicles or DEFAULT_MAX_VEHICLES
    if len(chosen) > limit:
        lowest = sorted(chosen, key=lambda i: zlib.crc32(frame.ids[i].encode()))[:limit]
        chosen = sorted(lowest)  # type: ignore[assignment]
    if len(chosen) == len(frame.ids):
        return frame
    return Frame(
        step=frame.step,
        sim_time_s=frame.sim_time_s,
        ids=[frame.ids[i] for i in chosen],
        x=[frame.x[i] for i in chosen],
        y=[frame.y[i] for i in chosen],
        speed_mps=[frame.speed_mps[i] for i in chosen],
        angle_deg=[frame.angle_deg[i] for i in chosen],
        vehicles_total=frame.vehicles_total,
    )
