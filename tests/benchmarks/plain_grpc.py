"""A method that does nothing behind plain `grpc.aio`, the fastest that Python gives: `… plain_grpc PORT`."""

from __future__ import annotations

import sys

import grpc
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer, add_HealthServicer_to_server


class NoOperation(HealthServicer):
    """Does nothing."""

    async def Check(self, request: HealthCheckRequest, context: grpc.aio.ServicerContext) -> HealthCheckResponse:
        """Do nothing."""
        return HealthCheckResponse(status=HealthCheckResponse.SERVING)


async def main() -> None:
    """Serve until killed."""
    server = grpc.aio.server()
    add_HealthServicer_to_server(NoOperation(), server)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main())
