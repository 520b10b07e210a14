"""The command `milepost`: tables and progress for humans, JSON for programs."""

import os

# `up` and `demo` start processes while gRPC's threads run: its handlers of fork(2) would abort some of them.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
