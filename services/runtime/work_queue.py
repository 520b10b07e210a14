"""The consumer of the work queue, as the one who publishes orders and those who pull them both know it."""

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from runtime.broker import subject

# The class of every session until classes are offered.
WORK_CLASS = "standard"


def work_consumer(*, pool: str, tenant: str, lease_s: float) -> ConsumerConfig:
    """The consumer workers of a pool pull a tenant's orders from. Unlimited, because the defaults hide orders (R7)."""
    return ConsumerConfig(
        durable_name=f"{pool}-{WORK_CLASS}-{tenant}",
        filter_subject=subject(WorkOrder, pool=pool, **{"class": WORK_CLASS}, tenant=tenant, session="*"),
        deliver_policy=DeliverPolicy.ALL,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=lease_s,
        max_deliver=-1,
        max_ack_pending=-1,
    )
