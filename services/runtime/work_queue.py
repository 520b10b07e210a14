"""The lines of the work queue, as those who publish orders and those who pull them both know them.

A line is what one consumer serves: the orders of one tenant and one class for one pool (log.md R8). The priority is
part of the class's token, so that a tenant's urgent orders stand in a line of their own:

    milepost.work.sumo-1_28_0.standard_high.acme.202601010000-abcdefghij
                  └ pool      └ class       └ tenant └ session
"""

from dataclasses import dataclass

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from milepost.dispatch.v1.dispatch_pb2 import WorkOrder
from milepost.session.v1.session_pb2 import Priority, Scheduling, WorkClass
from runtime.broker import subject, tokens_of

_CLASSES = {
    WorkClass.WORK_CLASS_INTERACTIVE: "interactive",
    WorkClass.WORK_CLASS_STANDARD: "standard",
    WorkClass.WORK_CLASS_BATCH: "batch",
}
_PRIORITIES = {Priority.PRIORITY_HIGH: "_high", Priority.PRIORITY_LOW: "_low"}
# The class of a session that names none.
DEFAULT_CLASS = "standard"


def class_token(scheduling: Scheduling) -> str:
    """The class of a session as subjects have it, its priority included."""
    return _CLASSES.get(scheduling.work_class, DEFAULT_CLASS) + _PRIORITIES.get(scheduling.priority, "")


@dataclass(frozen=True, slots=True)
class Line:
    """One tenant's orders of one class, as its token has it, for one pool."""

    pool: str
    work_class: str
    tenant: str

    @property
    def consumer(self) -> str:
        """Name of its consumer. No two lines share one: no part of a pool's name is that of a class."""
        return f"{self.pool}-{self.work_class}-{self.tenant}"

    def subject(self, session_id: str = "*") -> str:
        """Where a session's order is published; without one, all of them."""
        return subject(WorkOrder, pool=self.pool, **{"class": self.work_class}, tenant=self.tenant, session=session_id)

    @classmethod
    def of_subject(cls, name: str) -> "Line | None":
        """The line of an order, or of a consumer's filter; None when the name is neither."""
        try:
            tokens = tokens_of(WorkOrder, name)
        except ValueError:
            return None
        return cls(tokens["pool"], tokens["class"], tokens["tenant"])

    def config(self, *, lease_s: float) -> ConsumerConfig:
        """What its consumer is made with. Unlimited, because the defaults hide orders (R7)."""
        return ConsumerConfig(
            durable_name=self.consumer,
            filter_subject=self.subject(),
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=lease_s,
            max_deliver=-1,
            max_ack_pending=-1,
        )
