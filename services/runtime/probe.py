"""`python -m runtime.probe`: is the service of this container serving? What its engine asks now and then.

Asks at the port of `MILEPOST_LISTEN`: by gRPC, or by HTTP where `SERVICE` is the gateway. Kubernetes asks by itself and
needs none of this.
"""

import os
import sys
from http import HTTPStatus
from http.client import HTTPConnection

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

# Less than the time-out of the engine, seconds.
_TIMEOUT_S = 3.0


def main() -> int:
    """0 when it serves, 1 and a sentence on standard error when it does not."""
    port = os.environ.get("MILEPOST_LISTEN", "").rpartition(":")[2]
    return _ask_gateway(port) if os.environ.get("SERVICE") == "gateway" else _ask_service(port)


def _ask_gateway(port: str) -> int:
    connection = HTTPConnection(f"127.0.0.1:{port}", timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/livez")
        return 0 if connection.getresponse().status == HTTPStatus.OK else 1
    except OSError as error:
        sys.stderr.write(f"no answer at port {port}: {error}\n")
        return 1
    finally:
        connection.close()


def _ask_service(port: str) -> int:
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
