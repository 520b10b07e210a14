"""A container engine for tests: podman and podman-compose as Debian packages them, images built as users build them.

    with engine.composed(project, folder) as stack: ...

Skips in words where no engine can be had. No image registry is needed: the base image is made from Debian packages
once and kept by the engine, and the broker's image is our own, which has a nats-server in it.
"""

import configparser
import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from milepost.up.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
SERVICES = ("session_api", "event_store", "sim_worker", "gateway")
# What Debian's package of the engine is and needs.
PROGRAMS = ("podman", "podman-compose", "runc", "aardvark-dns", "iptables", "mmdebstrap")
# Names another base; anything that `FROM` takes.
BASE_VARIABLE = "MILEPOST_TEST_BASE"
_BASE = "localhost/milepost-base:bookworm"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_LIBEXEC = "/usr/lib/podman"
# Building all images on two busy cores, seconds; a command to the engine otherwise.
_BUILD_S, _COMMAND_S = 1500.0, 400.0
# Containers inherit the limits of this process, which may be forbidden to raise them; nobody here runs the timers of
# health checks.
RUN_ARGUMENTS = ("--ulimit", "host", "--no-healthcheck")


class Engine:
    """Podman, with settings of its own."""

    def __init__(self, folder: Path) -> None:
        missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:{_LIBEXEC}") is None]
        if missing or os.geteuid() != 0:
            pytest.skip(f"no container engine: {', '.join(missing) or 'root'} needed (Debian packages)")
        settings = folder / "containers.conf"
        # crun, the default, refuses machines whose control groups are of both versions.
        settings.write_text(
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            '[network]\nnetwork_backend = "netavark"\n[containers]\ndefault_ulimits = []\n'
        )
        self._folder = folder
        self._environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
        tried = self.podman("network", "create", "milepost-trial", check=False)
        self.podman("network", "rm", "-f", "milepost-trial", check=False)
        if tried.returncode != 0:
            pytest.skip(f"the container engine does not work here: {tried.stderr}")

    def podman(self, *arguments: str, check: bool = True, timeout_s: float = _COMMAND_S) -> subprocess.CompletedProcess:
        """Run a command of the engine; its outcome. Fails with what it said."""
        return self._run(["podman", *arguments], check=check, timeout_s=timeout_s)

    def build(self) -> dict[str, str]:
        """The images of all services by their module's name, built from what lies here."""
        base = os.environ.get(BASE_VARIABLE) or self._base()
        images = {}
        for service in SERVICES:
            images[service] = f"localhost/milepost-test/{service.replace('_', '-')}:latest"
            self.podman(
                *("build", "--quiet", "--network", "host", "--format", "docker"),
                *("--file", str(ROOT / "deploy" / "Dockerfile"), *self._secrets()),
                *("--build-arg", f"BASE={base}", "--build-arg", f"SERVICE={service}", "--tag", images[service]),
                str(ROOT),
                timeout_s=_BUILD_S,
            )
        return images

    def compose(self, project: str, environment: dict[str, str], *arguments: str) -> None:
        """Run a command of compose on deploy/compose.yaml."""
        options = ["-p", project, "-f", str(COMPOSE), f"--podman-run-args={' '.join(RUN_ARGUMENTS)}"]
        self._run(["podman-compose", *options, *arguments], environment=environment, timeout_s=_COMMAND_S)

    def _run(
        self, command: list[str], *, check: bool = True, timeout_s: float, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        env = {**self._environment, **(environment or {})}
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done

    def _base(self) -> str:
        """A Debian 12 with nothing but its essentials."""
        if self.podman("image", "exists", _BASE, check=False).returncode != 0:
            tar = self._folder / "base.tar"
            options = ["--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"]
            self._run(["mmdebstrap", *options, "bookworm", str(tar)], timeout_s=_BUILD_S)
            self.podman("import", "--quiet", str(tar), _BASE)
            tar.unlink()
        return _BASE

    def _secrets(self) -> list[str]:
        """What pip is told here, for the time of the build."""
        pip = configparser.RawConfigParser()
        pip.read(["/etc/pip.conf", Path.home() / ".pip" / "pip.conf", Path.home() / ".config" / "pip" / "pip.conf"])
        said = dict(pip["global"]) if pip.has_section("global") else {}
        for name in ("cert", "index-url", "extra-index-url", "trusted-host"):
            if value := os.environ.get(f"PIP_{name.upper().replace('-', '_')}"):
                said[name] = value
        file = self._folder / "pip.conf"
        file.write_text("\n".join(["[global]", *(f"{name} = {value}" for name, value in said.items()), ""]))
        return ["--secret", f"id=pip,src={file}", "--secret", f"id=authorities,src={_AUTHORITIES}"]


@dataclass(frozen=True)
class Composed:
    """deploy/compose.yaml, running. Container names are `<project>_<service>_<number>`."""

    engine: Engine
    project: str
    session_api: str
    event_store: str
    environment: dict[str, str]

    def name(self, service: str, number: int = 1) -> str:
        """A container's name."""
        return f"{self.project}_{service}_{number}"

    def containers(self) -> list[str]:
        """Names of all containers that run."""
        label = f"label=io.podman.compose.project={self.project}"
        return self.engine.podman("ps", "--filter", label, "--format", "{{.Names}}").stdout.split()

    def inside(self, container: str, *command: str) -> subprocess.CompletedProcess:
        """Run a command in a container; its outcome, whichever it is."""
        return self.engine.podman("exec", container, *command, check=False)

    def exit_code(self, container: str) -> int:
        """What the container's process ended with."""
        return int(self.engine.podman("inspect", container, "--format", "{{.State.ExitCode}}").stdout)

    def logs(self) -> str:
        """The last lines of each container."""
        told = [(name, self.engine.podman("logs", "--tail", "15", name, check=False)) for name in self.containers()]
        return "\n".join(f"--- {name}\n{said.stdout}{said.stderr}" for name, said in told)


@contextlib.contextmanager
def composed(engine: Engine, images: dict[str, str], environment: dict[str, str]) -> Iterator[Composed]:
    """The stack of deploy/compose.yaml; all of it is gone afterwards."""
    api_port, store_port = free_ports(2)
    said = {
        **{f"{service.upper()}_IMAGE": image for service, image in images.items()},
        "NATS_IMAGE": images["sim_worker"],
        "SESSION_API_PORT": str(api_port),
        "EVENT_STORE_PORT": str(store_port),
        **environment,
    }
    stack = Composed(engine, f"mp{os.getpid()}", f"127.0.0.1:{api_port}", f"127.0.0.1:{store_port}", said)
    try:
        engine.compose(stack.project, said, "up", "-d")
        yield stack
    except BaseException:
        print(stack.logs())  # noqa: T201 - pytest shows it when the test fails
        raise
    finally:
        label = f"label=io.podman.compose.project={stack.project}"
        all_of_it = engine.podman("ps", "--all", "--filter", label, "--format", "{{.Names}}").stdout.split()
        mounts = [json.loads(engine.podman("inspect", name).stdout)[0]["Mounts"] for name in all_of_it]
        engine.compose(stack.project, said, "down", "-v")
        # Volumes without a name are left behind by it.
        volumes = [mount["Name"] for of_one in mounts for mount in of_one if mount["Type"] == "volume"]
        engine.podman("volume", "rm", "--force", *volumes, check=False)
