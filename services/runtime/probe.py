"""`python -m runtime.probe`: is the service of this container serving? What its engine asks now and then.

Asks by gRPC at the port of `MILEPOST_LISTEN`. Kubernetes asks by itself and needs none of this.
"""

import os
import sys

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

# Less than the time-out of the engine, seconds.
_TIMEOUT_S = 3.0


def main() -> int:
    """0 when it serves, 1 and a sentence on standard error when it does not."""
    port = os.environ.get("MILEPOST_LISTEN", "").rpartition(":")[2]
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=HealthCheckRequest.SerializeToString,
                response_deserializer=HealthCheckResponse.FromString,
            )
            answer = check(HealthCheckRequest(), timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        sys.stderr.write(f"no answer at port {port}: {error}\n")
        return 1
    return 0 if answer.status == HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main())
