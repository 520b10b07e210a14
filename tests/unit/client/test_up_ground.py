"""What `milepost up` stands on: its directory, its ports, its broker's binary."""

import socket
from pathlib import Path

import pytest

from milepost.up.broker import BINARY_VARIABLE, BrokerMissing, broker_binary
from milepost.up.data_directory import DataDirectory, DataDirectoryInUse
from milepost.up.ports import free_ports, is_free


def test_two_never_share_a_directory(tmp_path):
    with DataDirectory(tmp_path / "d").held():
        second = DataDirectory(tmp_path / "d").held()
        with pytest.raises(DataDirectoryInUse, match="another `milepost up`"):
            second.__enter__()
    with DataDirectory(tmp_path / "d").held():
        assert DataDirectory(tmp_path / "d").log_file("nats").parent.is_dir()


def test_what_a_killed_life_said_about_being_ready_is_forgotten(tmp_path):
    directory = DataDirectory(tmp_path)
    with directory.held():
        directory.ready_file("session_api").write_text("{}")
    with directory.held():
        assert not directory.ready_file("session_api").exists()


def test_free_ports_are_adjacent_and_free():
    ports = free_ports(3)

    assert ports == list(range(ports[0], ports[0] + 3))
    assert all(is_free(port) for port in ports)


def test_a_port_somebody_listens_on_is_not_free():
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_the_broker_is_the_one_that_is_named(tmp_path, monkeypatch):
    binary = tmp_path / "my-nats"
    binary.touch()
    monkeypatch.setenv(BINARY_VARIABLE, str(binary))

    assert broker_binary() == binary
    binary.unlink()
    with pytest.raises(BrokerMissing, match="my-nats"):
        broker_binary()


def test_by_default_the_broker_is_that_of_the_package(monkeypatch):
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)

    assert Path(broker_binary()).name == "nats-server"
