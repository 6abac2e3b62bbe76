"""Run folders in a store: everything reads and writes them, whole or not at all."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from analysis.errors import AnalysisError, StoreError
from analysis.files.places import find_place
from analysis.files.whole_files import list_files, write_whole
from analysis.results import read_results
from scaling_sweep import holding
from scaling_sweep.cli import main
from scaling_sweep.errors import UserError
from scaling_sweep.holding import OwnerFile
from scaling_sweep.planning import plan_packs
from scaling_sweep.rows import rows_of_failure, rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.serving.page import LivePage, State
from scaling_sweep.spec import load_sweep
from scaling_sweep.store import RunFolder
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.tracking.publishing import publish_run
from scaling_sweep.training.pack import train_pack
from scaling_sweep.watching import RunReader
from tests.run_cases import SWEEP, Silent, made_up_result, tiny_packs

PACKS = tiny_packs()
MEASURED = [rows_of_result(made_up_result(pack)) for pack in PACKS]
SECRET = "not-for-anybody"
BUCKET = "s3://sweeps"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """Serve S3 on the loopback interface."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a run folder in a bucket of that server, reached as people set it up."""
    _point_at(endpoint, monkeypatch)
    monkeypatch.chdir(tmp_path)
    fsspec.filesystem("s3").mkdirs("sweeps", exist_ok=True)
    return find_place(f"{BUCKET}/{tmp_path.name}")


def _point_at(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # A filesystem is made once for the same settings, and these come from the environment.
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(params=["s3", "memory", "disk"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a run folder of each kind."""
    if request.param == "s3":
        found: Path = request.getfixturevalue("s3")
        return found
    if request.param == "memory":
        return find_place(f"memory://runs/{tmp_path.name}")
    return tmp_path / "run"


def _fill(run: RunFolder) -> None:
    with run.opened():
        run.write_bytes(run.sweep, SWEEP.encode())
        run.write_environment({})
        for rows in MEASURED:
            run.write_part(rows)
        run.assemble(SWEEP, {})


def _all_bytes(folder: Path) -> bytes:
    fs = fsspec.filesystem("s3")
    return b"".join(fs.cat_file(name) for name in fs.find(str(folder)))


def test_a_run_is_the_same_wherever_it_lies(place: Path, tmp_path: Path) -> None:
    """Parts, starts and tables come back from each kind of store as from a disk."""
    run, disk = RunFolder(place), RunFolder(tmp_path / "disk")
    _fill(run)
    _fill(disk)
    run.write_start("recipe", 3, b"point")

    assert run.read_starts("recipe") == {3: b"point"}
    assert run.read_starts("other") == {}
    pd.testing.assert_frame_equal(run.read_rows(), disk.read_rows())
    assert run.results.read_bytes() == disk.results.read_bytes()
    assert RunReader(place).view().status == RunReader(disk.path).view().status
    names = [path.name for path, at_s in run.list_parts() if time.time() - at_s < 600]
    assert names == sorted(f"{pack.pack_id}.parquet" for pack in PACKS)


@pytest.mark.slow
def test_every_reading_command_takes_a_url(s3: Path) -> None:
    """A run on S3 is shown, fitted, reported and recommended from, and no key is written there."""
    _fill(RunFolder(s3))

    status = CliRunner().invoke(main, ["status", str(s3), "--json"])
    assert json.loads(status.stdout)["num_stable"] == 8
    fitted = CliRunner().invoke(main, ["fit", str(s3), "--figures", "svg", "--json"])
    assert fitted.exit_code == 0, fitted.output
    assert json.loads((s3 / "fit.json").read_text()) == json.loads(fitted.stdout)
    assert "</html>" in (s3 / "report.html").read_text()
    assert (s3 / "figures").is_dir()
    table = CliRunner().invoke(main, ["fit", f"{s3}/results.parquet", "--json"])
    assert json.loads(table.stdout) == json.loads(fitted.stdout)
    advice = CliRunner().invoke(main, ["recommend", str(s3), "-b", "32", "--json"])
    assert json.loads(advice.stdout)["batch_size"] == 32
    assert SECRET.encode() not in _all_bytes(s3)


def test_the_live_page_shows_a_bucket(s3: Path) -> None:
    """The page of a run on S3 has its counts, and says so where there is no run yet."""
    waiting = LivePage(find_place(f"{s3}-later")).whole()
    _fill(RunFolder(s3))

    assert State.WAITING.value in waiting
    assert State.COMPLETE.value in LivePage(s3).whole()
    assert json.loads(LivePage(s3).status_json())["num_stable"] == 8


@pytest.mark.slow
def test_a_bucket_is_published_twice_as_one_run(s3: Path) -> None:
    """W&B's files of a run on S3 lie on this machine, and publishing again replaces them."""
    _fill(RunFolder(s3))
    assert publish_run(s3, "offline", None, print)
    [first] = Path().glob("runs/*/wandb/offline-run-*")
    time.sleep(1.1)  # W&B names such folders by the second
    assert publish_run(s3, "offline", None, print)
    [second] = Path().glob("runs/*/wandb/offline-run-*")

    assert first.name.rpartition("-")[2] == second.name.rpartition("-")[2]
    assert not any(path.name == "wandb" for path, _ in list_files(s3, ""))


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own future
@pytest.mark.usefixtures("_on_one_worker")
def test_a_killed_run_goes_on_in_its_bucket(s3: Path, tmp_path: Path) -> None:
    """A driver killed with SIGKILL is resumed from S3, to the rows of an undisturbed run."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(SWEEP.replace("[16, 64]", "[4, 8, 16, 32, 64]").replace("12}", "300}"))
    program = "from scaling_sweep.cli import main; main()"
    words = [sys.executable, "-c", program, "run", str(sweep), "--out", str(s3), "--no-fit"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}

    killed = subprocess.Popen(words, env=environment, start_new_session=True)
    while not RunFolder(s3).list_parts():
        assert killed.poll() is None
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    kept = {path.name: at_s for path, at_s in RunFolder(s3).list_parts()}
    assert len(kept) < 5
    loaded = load_sweep(sweep)
    assert run_sweep(loaded, s3, "local", Silent()).complete
    torch.set_num_threads(1)  # as a worker has
    task, disk = digits_mlp(width=4), RunFolder(tmp_path / "disk")
    with disk.opened():
        for pack in plan_packs(loaded.spec, num_examples=task.num_examples):
            disk.write_part(rows_of_result(train_pack(pack, loaded.spec, task)))
        disk.assemble(loaded.text, {})

    after = {path.name: at_s for path, at_s in RunFolder(s3).list_parts()}
    assert kept.items() <= after.items()
    resumed, undisturbed = (
        read_results(folder / "results.parquet").frame.drop(columns=["wall_time_s", "pack_id"])
        for folder in (s3, tmp_path / "disk")
    )
    pd.testing.assert_frame_equal(resumed, undisturbed)
    assert SECRET.encode() not in _all_bytes(s3)


@pytest.mark.parametrize("url", ["s3://me:hush@bucket/run", "s3://bucket/run?key=hush"])
def test_a_url_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    """What is written into a URL would be in files, so it is not taken."""
    result = CliRunner().invoke(main, ["status", url])

    assert result.exit_code == 1
    assert "environment" in result.stderr
    assert "hush" not in result.output
    assert result.stderr.count("\n") == 1


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where s3fs is not installed, the line says how to install it."""

    def missing(protocol: str) -> None:
        raise ImportError(f"Install something to access {protocol}")

    monkeypatch.setattr(fsspec, "get_filesystem_class", missing)
    result = CliRunner().invoke(main, ["status", "s3://bucket/run"])

    assert result.stderr == "Error: s3:// needs s3fs: pip install 'scaling-sweep[s3]'\n"


def test_an_unknown_protocol_is_one_line() -> None:
    """A misspelt URL names the kinds that there are."""
    with pytest.raises(AnalysisError, match=r"s4:// is no kind of store .* s3://bucket/run"):
        find_place("s4://bucket/run")


def test_a_file_url_is_a_plain_path() -> None:
    """file:// leads to this machine's disk, with its locks."""
    assert find_place("file:///some/run%20here") == Path("/some/run here")


def test_an_unreachable_store_is_one_line_in_time(
    s3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody answers, reading and writing say so within 20 s, and name no key."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        _point_at(f"http://127.0.0.1:{nobody.getsockname()[1]}", monkeypatch)
        began = time.monotonic()
        result = CliRunner().invoke(main, ["status", f"{BUCKET}/other"])
        run = RunFolder(find_place(f"{BUCKET}/other"))
        with pytest.raises(UserError, match="cannot write to") as caught, run.opened():
            pass
    assert time.monotonic() - began < 40
    assert result.exit_code == 1
    assert "cannot be reached (EndpointConnectionError" in result.stderr
    assert result.stderr.count("\n") == 1
    assert "\n" not in str(caught.value)
    assert SECRET not in result.output + str(caught.value)


def test_no_credentials_are_one_line(s3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys the line says that there are none."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    result = CliRunner().invoke(main, ["fit", f"{BUCKET}/other"])

    assert result.exit_code == 1
    assert "NoCredentialsError: Unable to locate credentials" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bucket_that_is_not_there_is_one_line_and_is_not_made(s3: Path) -> None:
    """A misspelt bucket is the user's to mend."""
    with pytest.raises(UserError, match="bucket does not exist") as caught:
        _fill(RunFolder(find_place("s3://no-such-bucket/run")))

    assert "\n" not in str(caught.value)
    assert not fsspec.filesystem("s3").exists("no-such-bucket")


def test_a_store_that_fails_in_the_middle_leaves_what_was_there(
    s3: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that could not be sent is absent, one that replaces another leaves the earlier."""
    run = RunFolder(s3)
    run.write_part(rows_of_failure(PACKS[0], "lost"))
    before = run.read_rows()
    with monkeypatch.context() as patch:
        _point_at("http://127.0.0.1:9", patch)
        away = RunFolder(find_place(str(s3)))
        for rows in MEASURED:
            with pytest.raises(UserError, match="what is finished is kept"):
                away.write_part(rows)
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    pd.testing.assert_frame_equal(RunFolder(find_place(str(s3))).read_rows(), before)


def test_one_owner_at_a_time(place: Path) -> None:
    """While an owner lives another is refused within a beat or two; then it may enter."""
    RunFolder(place).path.mkdir(parents=True, exist_ok=True)
    first = OwnerFile(place, beat_s=0.1, patience_s=2.0)
    first.take()
    with pytest.raises(UserError, match="in use by another run"):
        OwnerFile(place, beat_s=0.1, patience_s=2.0).take()
    first.release()
    second = OwnerFile(place, beat_s=0.1, patience_s=2.0)
    second.take()
    second.release()
    assert not (place / ".owner").exists()


def test_an_owner_that_was_killed_is_followed(place: Path) -> None:
    """A file that nobody renews is taken over, and who lost it hears so before it writes."""
    RunFolder(place).path.mkdir(parents=True, exist_ok=True)
    silent = OwnerFile(place, beat_s=30.0, patience_s=30.0)
    silent.take()
    second = OwnerFile(place, beat_s=0.05, patience_s=0.2)
    second.take()
    silent._beat_s = 0.05  # it wakes up
    late = OwnerFile(place, beat_s=0.05, patience_s=0.2)
    late._id, late._num_beats = silent._id, 1
    late._thread.start()
    late._thread.join(5.0)
    with pytest.raises(UserError, match="taken over by another run"):
        late.check()
    second.check()
    second.release()
    silent.release()


def test_a_second_driver_on_a_bucket_is_refused(s3: Path) -> None:
    """Two processes on one run folder of S3: the second gets one line."""
    program = (
        "import sys; from analysis.files.places import find_place\n"
        "from scaling_sweep.store import RunFolder; from scaling_sweep.errors import UserError\n"
        "try:\n"
        "    with RunFolder(find_place(sys.argv[1])).opened(): print('entered')\n"
        "except UserError as error: print(error)\n"
    )
    with RunFolder(s3).opened():
        done = subprocess.run(
            [sys.executable, "-c", program, str(s3)], capture_output=True, text=True, check=True
        )
    assert done.stdout.startswith(f"{s3} is in use by another run")


def test_a_disk_without_locks_gets_an_owner_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where NFS refuses flock, a run goes on and a second one is still refused in one line."""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(holding.OwnerFile.__init__, "__defaults__", (0.1, 1.0))
    run = RunFolder(tmp_path / "run")
    with run.opened():
        run.write_part(MEASURED[0])
        with pytest.raises(UserError, match="in use by another run"), run.opened():
            pass
    with run.opened():
        assert len(run.read_rows()) == len(PACKS[0].trials)


def test_what_a_store_refuses_is_both_kinds_of_error(s3: Path) -> None:
    """A store's error is shown as a line, and is an OSError to those who expect one."""
    assert issubclass(StoreError, AnalysisError)
    assert issubclass(StoreError, OSError)
    with pytest.raises(FileNotFoundError):
        (s3 / "nothing").read_bytes()
    write_whole(s3 / "thing", b"1")
    assert (s3 / "thing").read_bytes() == b"1"
