"""Tests of the live page: what it answers, what it never answers, and how a browser shows it."""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaling_sweep.cli import main
from scaling_sweep.rows import rows_of_failure, rows_of_result
from scaling_sweep.serving import serving
from scaling_sweep.serving.server import PageServer
from scaling_sweep.store import RunFolder
from tests.run_cases import SWEEP, made_up_result, tiny_packs

PACKS = tiny_packs()
SECRET = "a file that is nobody's business"
MARKUP = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
CLIMBING = (
    "/sweep.yaml",
    "/results.parquet",
    "/parts/",
    "/../secret.txt",
    "/live/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/..\\secret.txt",
    "/%00/secret.txt",
    "//etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/../secret.txt",
    "/live.css/../../secret.txt",
    "/?file=../secret.txt",
    "*",
)


def _begin(folder: Path, text: str = SWEEP) -> RunFolder:
    run = RunFolder(folder)
    run.parts.mkdir(parents=True, exist_ok=True)
    run.sweep.write_text(text)
    run.environment.write_text("{}")
    return run


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run half done, with a file beside its folder."""
    (tmp_path / "secret.txt").write_text(SECRET)
    made = _begin(tmp_path / "tiny")
    made.write_part(rows_of_result(made_up_result(PACKS[0])))
    return made


def _serve(folder: Path) -> Iterator[PageServer]:
    with PageServer(folder, 0) as made:
        # Closing asks for the end every so often; half a second of each test by default.
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def server(run: RunFolder) -> Iterator[PageServer]:
    """The live page of that run, on a free port."""
    yield from _serve(run.path)


def _ask(
    server: PageServer, path: str, method: str = "GET", host: str | None = None
) -> tuple[http.client.HTTPResponse, str]:
    """Send a path exactly as it is written."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"localhost:{server.server_port}")
    connection.endheaders()
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer, text


def _rest(server: PageServer) -> None:
    """Let the page look and draw again at once."""
    server.page._looking._over_at = server.page._drawing._over_at = 0.0


class _Tags(HTMLParser):
    """Collects the names of all tags and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember a tag."""
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_the_page_shows_how_far_the_run_is(server: PageServer) -> None:
    """Share, counts and both figures of the only group are there."""
    answer, text = _ask(server, "/")
    tags = _Tags()
    tags.feed(text)

    assert answer.status == 200
    assert "8 of 16 trials" in text
    assert tags.tags.count("img") == 2
    assert "data:image/svg+xml," in text


@pytest.mark.parametrize("path", CLIMBING)
def test_no_path_leads_to_a_file(server: PageServer, path: str) -> None:
    """Whatever is asked for beside the fixed addresses is not there, files of the run included."""
    answer, text = _ask(server, path)

    assert answer.status == 404
    assert text == "there is only /\n"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
)
def test_only_reading_is_answered(server: PageServer, method: str) -> None:
    """Every method but GET is refused, and nothing in the folder changes."""
    folder = server.page.run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    answer, text = _ask(server, "/", method)

    assert answer.status in {405, 501}
    assert "trials" not in text
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_answering_writes_nothing(server: PageServer) -> None:
    """After every address was asked for, the folder is as it was."""
    folder = server.page.run
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}

    statuses = {path: _ask(server, path)[0].status for path in server.routes}

    assert set(statuses.values()) == {200}
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_another_machine_cannot_reach_it(server: PageServer) -> None:
    """It listens on the loopback interface and nowhere else."""
    assert server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8642", "127.0.0.1.evil.example", "[", ""]
)
def test_a_page_elsewhere_cannot_read_it_by_a_name_of_its_own(
    server: PageServer, host: str
) -> None:
    """A name that merely points to this machine is refused (DNS rebinding)."""
    answer, text = _ask(server, "/status.json", host=host or " ")

    assert answer.status == 403
    assert "trials" not in text


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:9000", "LOCALHOST:8642"])
def test_through_a_tunnel_it_has_another_port(server: PageServer, host: str) -> None:
    """The port of the Host header is the tunnel's, so it is not looked at."""
    assert _ask(server, "/status.json", host=host)[0].status == 200


def test_the_page_may_load_nothing_from_elsewhere(server: PageServer) -> None:
    """Every answer forbids inline scripts, foreign addresses and frames; and names no version."""
    for path in ("/", "/live", "/nothing"):
        headers = _ask(server, path)[0].headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Python" not in headers["Server"]
    _, text = _ask(server, "/")
    assert "http://" not in text.replace("http://www.w3.org", "").split("data:image")[0]


def _hostile_run(folder: Path) -> RunFolder:
    """Leave a run whose strings are markup: question, reasons and optimizers."""
    run = _begin(folder, f"# {MARKUP}\n{SWEEP}")
    rows = rows_of_result(made_up_result(PACKS[0]))
    run.write_part(replace(rows, results=rows.results.assign(optimizer=MARKUP)))
    run.write_part(rows_of_failure(PACKS[1], MARKUP))
    return run


def test_strings_of_the_folder_are_text(tmp_path: Path) -> None:
    """Markup in a question, a reason or an optimizer's name makes no element and no attribute."""
    _hostile_run(tmp_path / "tiny")
    for server in _serve(tmp_path / "tiny"):
        _, text = _ask(server, "/live")
    tags = _Tags()
    tags.feed(text)

    assert "script" not in tags.tags
    assert "onerror" not in tags.attributes
    assert text.count("&lt;script&gt;") >= 3


def test_the_status_is_that_of_the_command(server: PageServer) -> None:
    """Programs get from the page what they get from ``status --json``, ages and pace apart."""
    said = CliRunner().invoke(main, ["status", str(server.page.run), "--json"]).output
    command, page = json.loads(said), json.loads(_ask(server, "/status.json")[1])

    for one in (command, page):
        del one["pace"]
        for pack in one["last_packs"]:
            del pack["age_s"]
    assert page == command


def test_before_the_run_and_beside_a_torn_part_there_is_a_page_too(tmp_path: Path) -> None:
    """The page says that it waits, and later which file does not read."""
    folder = tmp_path / "tiny"
    for server in _serve(folder):
        _, waiting = _ask(server, "/")
        run = _begin(folder)
        (run.parts / "torn.parquet").write_bytes(b"PAR1")
        _rest(server)
        answer, torn = _ask(server, "/")

    assert "waiting for the run to begin" in waiting
    assert answer.status == 200
    assert "torn.parquet cannot be read" in torn


def test_many_browsers_cost_no_more_than_one(server: PageServer) -> None:
    """Right after a look everybody gets the same text, whatever was stored since."""
    first = server.page.live()
    RunFolder(server.page.run).write_part(rows_of_result(made_up_result(PACKS[1])))

    assert server.page.live() is first


def test_a_submitted_run_is_not_served(tmp_path: Path) -> None:
    """What runs elsewhere is watched from any shell; the line says by what."""
    sweep, site = tmp_path / "tiny.yaml", tmp_path / "site.yaml"
    sweep.write_text(SWEEP)
    site.write_text("kind: slurm\n")

    done = CliRunner().invoke(main, ["run", str(sweep), "--cluster", str(site), "--serve", "0"])

    assert done.exit_code == 1
    assert "status RUN --watch" in done.output


def _address(said: list[str]) -> str:
    """Wait for the line with the address."""
    deadline = time.monotonic() + 60
    while not said and time.monotonic() < deadline:
        time.sleep(0.01)
    return said[0].rpartition(" ")[2]


@pytest.mark.slow
def test_the_page_lives_as_long_as_the_run(run: RunFolder) -> None:
    """The address is said while the block runs, and answers no longer than that."""
    said = list[str]()
    with serving(run.path, 0, said.append):
        host, _, port = _address(said).removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=60)
        connection.request("GET", "/status.json")
        assert json.load(connection.getresponse())["num_trials"] == 16
        connection.close()

    with pytest.raises(ConnectionRefusedError), socket.create_connection((host, int(port)), 1):
        pass


@pytest.mark.slow
def test_the_page_does_not_outlive_a_killed_run(run: RunFolder) -> None:
    """When the run's process is killed, so that it can clean up nothing, the port is free again."""
    program = (
        "import os, sys, signal\nfrom pathlib import Path\n"
        "from scaling_sweep.serving import serving\n"
        "with serving(Path(sys.argv[1]), 0, lambda line: print(line, flush=True)):\n"
        "    sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        parent.kill()
    deadline = time.monotonic() + 10
    alive = True
    while alive and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except ConnectionRefusedError:
            alive = False
        except TimeoutError:
            # It is ending: the port is still bound and nobody accepts any more.
            continue

    assert not alive


@pytest.mark.slow
def test_a_port_in_use_costs_a_line_and_not_the_run(run: RunFolder) -> None:
    """The line names the port, and the block runs all the same."""
    said = list[str]()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with serving(run.path, port, said.append):
            _address(said)

    (line,) = said
    assert f"No live page at port {port}" in line


def _chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    if found is None:
        pytest.skip("no Chromium is installed")
    return found


def _open(url: str, profile: Path, *options: str) -> str:
    """Open a page in a browser without a window and return what it prints."""
    command = [_chromium(), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += [f"--user-data-dir={profile}", "--window-size=1200,900", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


@pytest.mark.slow
def test_the_page_renews_itself_in_a_browser(server: PageServer, tmp_path: Path) -> None:
    """A pack that is stored after the page was loaded appears without anybody touching it."""
    live = server.routes["/live"]

    def finish_and_show() -> str:
        RunFolder(server.page.run).write_part(rows_of_result(made_up_result(PACKS[1])))
        _rest(server)
        return live.make()

    _chromium()
    server.routes = {**server.routes, "/live": replace(live, make=finish_and_show)}

    shown = _open(server.url, tmp_path / "profile", "--virtual-time-budget=9000", "--dump-dom")

    assert "16 of 16 trials" in shown
    assert "complete" in shown


@pytest.mark.slow
def test_the_figures_are_seen_in_a_browser(server: PageServer, tmp_path: Path) -> None:
    """The picture of the page has the colours of stable and diverged trials."""
    from PIL import Image

    shot = tmp_path / "shot.png"
    _open(server.url, tmp_path / "profile", f"--screenshot={shot}", "--window-size=1200,1500")

    with Image.open(shot) as image:
        colors = {color for _, color in image.convert("RGB").getcolors(1 << 24) or ()}
    assert {(0x1F, 0x5F, 0xA8), (0xF0, 0x95, 0x4A)} <= colors


@pytest.mark.slow
def test_markup_of_a_run_folder_does_nothing_in_a_browser(tmp_path: Path) -> None:
    """Neither on loading nor after a renewal does a string of the folder run as a script."""
    _hostile_run(tmp_path / "tiny")
    for server in _serve(tmp_path / "tiny"):
        options = ("--virtual-time-budget=9000", "--dump-dom")
        shown = _open(server.url, tmp_path / "profile", *options)

    assert "<title>tiny · live</title>" in shown
    assert "&lt;script&gt;" in shown
