"""A login: kept for its owner alone, used for its server alone."""

import stat
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner

from milepost.cli.command import Output, Target
from milepost.cli.main import app
from milepost.client import DEFAULT_SERVER
from milepost.login import Login, forget, keep, kept, login_file

KEY = "a development key of some thirty-two bytes"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("MILEPOST_TOKEN", "MILEPOST_SERVER", "MILEPOST_ADDRESS"):
        monkeypatch.delenv(name, raising=False)


def test_a_login_is_kept_for_its_owner_alone_and_forgotten() -> None:
    assert kept() is None
    login = Login("milepost.example:7400", token="t", tls_ca="/etc/ca.pem")
    assert keep(login) == login_file()
    assert stat.S_IMODE(login_file().stat().st_mode) == 0o600
    assert kept() == login
    assert [path.name for path in login_file().parent.iterdir()] == ["login.json"]
    assert forget()
    assert not forget()


def test_its_server_is_where_commands_go_unless_another_is_named() -> None:
    assert Target(None, None, Output.TEXT).address == DEFAULT_SERVER
    keep(Login("milepost.example:7400"))
    assert Target(None, None, Output.TEXT).address == "milepost.example:7400"
    assert Target("other:7400", None, Output.TEXT).address == "other:7400"


def test_its_token_goes_to_its_server_and_to_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    keep(Login("milepost.example:7400", token="kept"))
    here, there = Target(None, None, Output.TEXT), Target("other:7400", None, Output.TEXT)
    assert (here.proof()[0].token, there.proof()[0].token) == ("kept", "")
    monkeypatch.setenv("MILEPOST_TOKEN", "said")
    assert (here.proof()[0].token, there.proof()[0].token) == ("said", "said")


def test_a_file_that_holds_no_login_is_named() -> None:
    keep(Login("s:1"))
    login_file().write_text('{"sever": "s:1"}')
    result = CliRunner().invoke(app, ["sessions", "list"])
    assert result.exit_code == 2
    assert "milepost logout" in result.output


def test_a_token_is_made_with_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CliRunner().invoke(app, ["admin", "token", "ada", "--tenant", "north"]).exit_code == 2
    monkeypatch.setenv("MILEPOST_AUTH_SHARED_KEY", KEY)
    made = CliRunner().invoke(app, ["admin", "token", "ada", "--tenant", "north", "--admin"])
    claims = jwt.decode(made.output.strip(), KEY, algorithms=["HS256"])
    assert (claims["sub"], claims["tenant"], claims["roles"]) == ("ada", "north", ["admin"])
    assert claims["exp"] - claims["iat"] == 8 * 3600
