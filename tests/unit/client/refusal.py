"""A failed call, as the services make it."""

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


class Refusal:
    """A failure as the services send it."""

    def __init__(self, code: grpc.StatusCode, reason: str, *details: Message, metadata: dict[str, str] | None = None):
        self.code = code
        packed = []
        for detail in (error_details_pb2.ErrorInfo(reason=reason, domain="milepost", metadata=metadata), *details):
            one = Any()
            one.Pack(detail)
            packed.append(one)
        self.status = status_pb2.Status(code=code.value[0], message=f"because {reason}", details=packed)

    async def send(self, context: grpc.aio.ServicerContext) -> None:
        trailer = (("grpc-status-details-bin", self.status.SerializeToString()),)
        await context.abort(self.code, self.status.message, trailing_metadata=trailer)
