"""server.py: its command line, the networks behind the page, and its end."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from urllib.request import Request, urlopen

import numpy as np
import pytest
from conftest import PROJECT, no_trace
from make_zoo import noise
from pages import encoded, flat, opened
from stand_ins import dehazer, filler
from test_web import clear, ended, read, seen, send

import cloud_removal
import server
from util import command, interrupt
from util.pictures.read import read_picture
from util.restore.bands import restore_picture
from util.run.folder import weights_file
from util.serve import run as serving
from util.serve.work import Marked, worker
from util.use import apply, trained
from util.use.trained import Trained

CLOUDY = PROJECT / "tests" / "golden" / "cloudy.png"


@pytest.fixture
def run(capsys):
    """Return a function: words -> (exit status, what was said)."""

    def run(*words):
        with pytest.raises(SystemExit) as end:
            command.exit_with("server", server.run, list(map(str, words)))
        interrupt.leave()
        said = capsys.readouterr()
        return end.value.code, said.out + said.err

    return run


# ---- the command line ----


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--script", "fnord"], "--script fnord: must be one of cloud_removal, mod_GAN_"),
        (["--port", "70000"], "--port 70000: must be from 0 to 65535"),
        (["--max-mb", "0"], "--max-mb 0: must be 1 or more"),
    ],
)
def test_mistakes_are_said_in_a_line(run, words, text):
    status, said = run(*words)
    assert status == 2
    assert text in said
    assert len(said.splitlines()) == 1


def test_a_port_that_is_taken_is_said_in_a_line(run):
    taken = serving.listen(lambda *_: [], "127.0.0.1", 0, 1)
    status, said = run("--port", taken.effective_port)
    taken.close()
    assert status == 2
    assert f"--port {taken.effective_port}: Address already in use; name another" in said


def test_what_is_not_installed_is_said_in_a_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "waitress", None)
    for name in [name for name in sys.modules if name.startswith("util.serve")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("util.serve")
    status, said = run()
    assert status == 2
    assert said == "server: the page needs waitress: pip install -r requirements-page.txt\n"


def test_only_lan_listens_to_others_and_it_wants_a_token(run, monkeypatch):
    told = {}
    monkeypatch.setattr(serving, "serve", lambda load, facts, **how: told.update(how) or 0)
    monkeypatch.delenv(server.TOKEN, raising=False)
    run("--host-name=clouds.example.org")
    assert (told["address"], told["token"], told["any_address"]) == ("127.0.0.1", None, False)
    assert told["first"] == "http://127.0.0.1:{port}/"
    assert told["hosts"] == {"localhost", "127.0.0.1", "::1", "clouds.example.org"}
    assert told["max_pixels"] == server.MAX_PIXELS
    tokens = []
    for _ in range(2):
        run("--lan", "--max-pixels=5000")
        assert (told["address"], told["any_address"]) == ("0.0.0.0", True)  # noqa: S104
        assert told["first"].endswith(f":{{port}}/#{told['token']}")
        assert told["max_pixels"] == 5000
        tokens.append(told["token"])
    assert len(set(tokens)) == 2
    assert min(map(len, tokens)) >= 20
    for mine in ("of-my.own", "a+b/c0=="):
        monkeypatch.setenv(server.TOKEN, mine)
        run()
        assert told["token"] == mine


@pytest.mark.parametrize("token", ["of my own", "schlüssel", 'a"b', "a%20b", "#a", "a\nb", "=a"])
def test_a_token_that_no_address_or_header_holds_is_refused(run, monkeypatch, token):
    monkeypatch.setattr(serving, "serve", lambda *_, **__: 0)
    monkeypatch.setenv(server.TOKEN, token)
    status, said = run()
    assert status == 2
    assert f"{server.TOKEN}: must be of A-Z" in said
    assert len(said.splitlines()) == 1


# ---- the networks behind it ----


def loader(*words):
    """Return what `server.run` hands to the desk for a command line."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "serve", lambda load, facts, **how: given.update(x=(load, facts)))
        server.run([*words, "--devices=cpu"])
    return given["x"]


def test_the_chain_gives_what_cloud_removal_gives(tmp_path, monkeypatch):
    mine = weights_file(cloud_removal.DEFOG)
    monkeypatch.setattr(trained, "found", lambda task, _: [mine] if task.name == mine.stem else [])
    load, facts = loader("--repaint=harmonic")
    came = read_picture(CLOUDY)[:70, :90]
    with opened(tmp_path, load=load, facts=facts) as (client, _, _):
        told = seen(client, encoded(came))
        found = [read(client.get(told["links"][n])) for n in ("ground", "opacity", "confidence")]
        mask = np.zeros((70, 90), np.uint8)
        mask[:20, :30] = 255
        place = f"{told['links']['self']}/repaint"
        headers = {"Content-Type": "image/png"}
        again = ended(client, client.post(place, data=encoded(mask), headers=headers).json)
        repainted = read(client.get(again["links"]["ground"]))
        sure = read(client.get(again["links"]["confidence"]))[..., 0]
    wanted = cloud_removal.remove_clouds(came, repaint="harmonic")
    np.testing.assert_array_equal(found[0], wanted.ground)
    for made, truth in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_array_equal(made[..., 0], np.rint(truth * 255))
    assert not sure[:20, :30].any()
    assert (repainted[:20, :30] != found[0][:20, :30]).any(axis=-1).mean() > 0.9
    # Holes that are filled together may differ by a rounding, which counts twice where cloud was
    # left: what is painted says how much of it is taken, too.
    far = np.abs(repainted[40:, 50:].astype(int) - found[0][40:, 50:])
    assert far.max() <= 2
    assert (far > 0).mean() < 0.005
    assert facts["networks"][0].startswith("mod_defog, step")


def test_one_scripts_network_takes_sizes_of_any_kind(tmp_path, monkeypatch):
    network, _ = dehazer()
    monkeypatch.setattr(trained, "load", lambda *_: network)
    monkeypatch.setattr(Trained, "origin", "mod_dehazer")
    load, facts = loader("--script=mod_deblurgan")
    with opened(tmp_path, load=load, facts=facts) as (client, _, _):
        for shape in ((1, 1), (65, 130)):
            came = noise(*shape)
            answer = clear(client, encoded(came))
            np.testing.assert_array_equal(read(answer), restore_picture(network, came)[0])
        assert "opacity" not in seen(client, flat())["links"]
        found = client.get("/api/v1/info").json
        assert (found["networks"], found["repaints"]) == (["mod_dehazer"], False)


def test_a_script_that_is_not_trained_ends_the_server_with_a_line(run, tmp_path):
    words = "--script=mod_mend", f"--runs-folder={tmp_path}", "--port=0", "--devices=cpu"
    status, said = run(*words)
    assert status == 2
    assert "train one first: python mod_mend.py" in said
    assert no_trace(said)


def test_a_network_that_takes_a_hole_is_told_it_by_a_mask(tmp_path):
    network, _ = filler(apply_tile_px=192, apply_margin_px=16)

    @contextlib.contextmanager
    def load():
        holes = apply.find_holes(network)
        yield worker(lambda hidden: apply.way_of(network, Marked(hidden, holes)))

    came = noise(70, 80)
    facts = {"repaints": True, "marks_first": True}
    with opened(tmp_path, load=load, facts=facts) as (client, _, _):
        told = seen(client, encoded(came))
        np.testing.assert_array_equal(read(client.get(told["links"]["ground"])), came)
        mask = np.zeros((70, 80), np.uint8)
        mask[30:40, 30:50] = 255
        place, headers = f"{told['links']['self']}/repaint", {"Content-Type": "image/png"}
        again = ended(client, client.post(place, data=encoded(mask), headers=headers).json)
        made = read(client.get(again["links"]["ground"]))
        np.testing.assert_array_equal(made[mask == 0], came[mask == 0])
        assert (made[mask > 0] != came[mask > 0]).any(axis=-1).mean() > 0.9
        mask[...] = 255
        answer = client.post(place, data=encoded(mask), headers=headers)
        assert "nothing is left to go by" in ended(client, answer.json)["error"]


def test_a_mark_leaves_what_is_transparent_missing(tmp_path):
    asked = []

    def load():
        network, _ = filler(apply_tile_px=192, apply_margin_px=16)
        holes = apply.find_holes(network)
        return contextlib.nullcontext(
            worker(lambda hidden: apply.way_of(network, Told(hidden, holes)))
        )

    class Told(Marked):
        def find(self, *given, **how):
            asked.append(super().find(*given, **how))
            return asked[-1]

    alpha = np.full((70, 80, 1), 255, np.uint8)
    alpha[10:20, 10:30] = 0
    mark = np.zeros((70, 80), np.uint8)
    mark[40:50, 50:60] = 255
    headers = {"Content-Type": "image/png"}
    with opened(tmp_path, load=load, facts={"repaints": True}) as (client, _, _):
        told = seen(client, encoded(np.dstack([noise(70, 80), alpha])))
        place = f"{told['links']['self']}/repaint"
        ended(client, client.post(place, data=encoded(mark), headers=headers).json)
    first, again = asked
    np.testing.assert_array_equal(first, alpha[..., 0] == 0)
    np.testing.assert_array_equal(again, first | (mark > 0))


# ---- the end ----

_SLOW = """
import contextlib, sys, time
from util import interrupt
interrupt.listen()
import pages
from util.serve.run import serve

@contextlib.contextmanager
def load():
    with pages.load() as work:
        yield lambda ticket: (time.sleep(1.5), work(ticket))

how = {"address": "127.0.0.1", "port": 0, "hosts": {"127.0.0.1"}, **pages.LIMITS}
raise SystemExit(serve(load, pages.FACTS, first="http://127.0.0.1:{port}", **how))
"""


@contextlib.contextmanager
def slow_server(folder):
    """Yield (process, address) of a server whose pictures take 1.5 s, its files in a folder."""
    path = os.pathsep.join(map(str, (PROJECT, PROJECT / "tests", *sys.path)))
    env = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder)}
    how = {"stderr": subprocess.PIPE, "text": True, "env": env}
    with subprocess.Popen([sys.executable, "-c", _SLOW], **how) as process:
        address = process.stderr.readline().strip()
        while "ready" not in process.stderr.readline():
            assert process.poll() is None
        yield process, address


def interrupted(process, folder, number):
    """Send a signal once a picture is in hand."""
    while not list(folder.glob("cloud_removal_*/*/in.png")):
        assert process.poll() is None
    threading.Event().wait(0.3)
    process.send_signal(number)


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_picture_in_hand_out_and_ends_it(tmp_path, number):
    with slow_server(tmp_path) as (process, address):
        found = []
        client = threading.Thread(target=lambda: found.append(send(address, flat(200))))
        client.start()
        interrupted(process, tmp_path, number)
        said = process.stderr.read()
        assert process.wait(30) == (143 if number == signal.SIGTERM else 0)
    client.join(10)
    assert (found[0] == 55).all()
    assert "finishing the picture in hand" in said
    assert no_trace(said)
    assert not list(tmp_path.iterdir())


@pytest.mark.kill
def test_a_signal_leaves_the_page_time_to_fetch_its_picture(tmp_path):
    def told(place, body=None):
        request = Request(f"{address}{place}", body, {"Content-Type": "image/png"})  # noqa: S310
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.read()

    with slow_server(tmp_path) as (process, address):
        job = json.loads(told("/api/v1/clear?as=json", flat(200)))
        interrupted(process, tmp_path, signal.SIGTERM)
        while job["state"] in ("waiting", "working"):
            threading.Event().wait(0.4)
            job = json.loads(told(job["links"]["self"]))
        threading.Event().wait(1)
        assert (read_picture(io.BytesIO(told(job["links"]["ground"]))) == 55).all()
        assert process.wait(10) == 143
    assert not list(tmp_path.iterdir())
