"""The pod this worker runs in, as the Kubernetes API knows it: how dear it is to whoever scales in.

    PATCH <api>/api/v1/namespaces/<namespace>/pods/<pod>      a merge patch of one annotation

With the token and the authority of the pod's service account, as Kubernetes mounts them; the account may `patch` pods.
"""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import httpx

# Where Kubernetes mounts `token`, `ca.crt` and `namespace`.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
# How long the API server may take, seconds.
REQUEST_TIMEOUT_S = 5.0


class PodNotPatched(Exception):
    """The API server was not reached, or refused; the message says which."""


@dataclass(frozen=True, slots=True)
class OwnPod:
    """One pod. `api` is the address of the API server; empty: where Kubernetes says in the environment that it is."""

    name: str
    api: str = ""
    service_account: Path = SERVICE_ACCOUNT

    async def set_deletion_cost(self, cost: int) -> None:
        """Of a controller's pods the cheapest go first; one that says nothing costs 0. Raises PodNotPatched."""
        patch = {"metadata": {"annotations": {ANNOTATION: str(cost)}}}
        try:
            # Read every time: tokens and authorities are renewed while a worker lives.
            token = (self.service_account / "token").read_text().strip()
            namespace = (self.service_account / "namespace").read_text().strip()
            trusted = ssl.create_default_context(cafile=self.service_account / "ca.crt")
            async with httpx.AsyncClient(verify=trusted, timeout=REQUEST_TIMEOUT_S, trust_env=False) as client:
                answer = await client.patch(
                    f"{self.api or _api_in_environment()}/api/v1/namespaces/{namespace}/pods/{self.name}",
                    json=patch,
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"},
                )
        except (OSError, httpx.HTTPError, httpx.InvalidURL, KeyError) as error:
            raise PodNotPatched(repr(error)) from error
        if not answer.is_success:
            raise PodNotPatched(f"{answer.status_code}: {answer.text[:200]}")


def _api_in_environment() -> str:
    """Raises KeyError outside of Kubernetes."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
