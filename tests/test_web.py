"""The API in this process: what comes back, who is let in, and what a client can do wrong."""

import io
import os
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
import tifffile
from make_zoo import BAD, bomb_bmp, bomb_png, noise, write_tiff
from pages import FACTS, LIMITS, Slow, encoded, flat, load, opened, serving
from PIL import Image, ImageCms
from werkzeug.test import Client

from util.pictures import gdal
from util.pictures.read import read_picture
from util.serve import web
from util.serve.desk import Desk
from util.serve.web import Page

PNG, JPEG, TIFF = ({"Content-Type": f"image/{kind}"} for kind in ("png", "jpeg", "tiff"))


pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(folder):
    """(client, page, desk) of a page that turns pictures into their negatives."""
    with opened(folder) as found:
        yield found


@pytest.fixture
def client(page):
    return page[0]


def clear(client, body, headers=PNG, query=""):
    answer = client.post(f"/api/v1/clear{query}", data=body, headers=headers)
    answer.get_data()
    answer.close()
    return answer


def seen(client, body, headers=PNG):
    """Send a picture and return the server's last word about it."""
    told = clear(client, body, headers, "?as=json")
    assert told.status_code == 202
    return ended(client, told.json)


def ended(client, told):
    while told["state"] in ("waiting", "working"):
        time.sleep(0.005)
        told = client.get(told["links"]["self"]).json
    return told


def read(answer):
    return read_picture(io.BytesIO(answer.data))


# ---- what comes back ----


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_comes_back_at_full_depth_in_its_own_format(client, dtype):
    came = noise(40, 60, dtype)
    _, code = cv2.imencode(".png", came[..., ::-1])
    answer = clear(client, code.tobytes())
    assert (answer.status_code, answer.mimetype) == (200, "image/png")
    np.testing.assert_array_equal(read(answer), np.iinfo(dtype).max - came)


def test_a_turned_jpeg_comes_back_upright_as_jpeg_with_its_exif_and_without_loss(client):
    came = cv2.resize(noise(4, 6), (60, 40), interpolation=cv2.INTER_LINEAR)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a phone"
    body = encoded(came, "JPEG", exif=exif, quality=95)
    wanted = 255 - read_picture(io.BytesIO(body))
    assert wanted.shape == (60, 40, 3)
    answer = clear(client, body, JPEG)
    assert answer.mimetype == "image/jpeg"
    assert np.abs(read(answer).astype(int) - wanted).mean() < 3
    with Image.open(io.BytesIO(answer.data)) as image:
        assert (image.size, image.getexif()[274], image.getexif()[271]) == ((40, 60), 1, "a phone")
    links = seen(client, body, JPEG)["links"]
    np.testing.assert_array_equal(read(client.get(links["lossless"])), wanted)


def exif_with(*entries):
    """Return EXIF with these tags: (code, type, count, up to four bytes, or what it points to)."""
    start = 8 + 2 + 12 * len(entries) + 4
    table, rest = struct.pack("<H", len(entries)), b""
    for code, kind, count, value in entries:
        if len(value) > 4:
            place, rest = start + len(rest), rest + value
            value = struct.pack("<I", place)
        table += struct.pack("<HHI", code, kind, count) + value.ljust(4, b"\0")
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + table + bytes(4) + rest


def test_what_a_jpeg_carries_comes_back_in_it_byte_for_byte(client):
    name = "Müller\0".encode()
    odd = (
        (256, 8, 1, struct.pack("<h", -1)),
        (282, 10, 1, struct.pack("<ii", -1, 3)),
        (296, 4, 1, struct.pack("<I", 70_000)),
        (315, 2, len(name), name),
        (33432, 5, 1, struct.pack("<II", 1, 2)),
    )
    turned = [exif_with(*odd[:1], (274, 3, 1, struct.pack("<H", n)), *odd[1:]) for n in (1, 6)]
    how = {
        "comment": "über den Wolken".encode(),
        "xmp": b"<x:xmpmeta>hello</x:xmpmeta>",
        "icc_profile": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        "dpi": (300, 150),
    }
    answer = clear(client, encoded(noise(40, 60), "JPEG", exif=turned[1], **how), JPEG)
    assert answer.status_code == 200
    with Image.open(io.BytesIO(answer.data)) as image:
        assert {name: image.info[name] for name in ("exif", *how)} == {"exif": turned[0], **how}


def test_what_has_no_room_in_a_jpeg_stays_out_alone(client):
    long = exif_with((37500, 7, 100_000, bytes(100_000)))[6:]
    parts = b"".join(
        b"\xff\xe1" + struct.pack(">H", len(part) + 8) + b"Exif\0\0" + part
        for part in (long[:65_000], long[65_000:])
    )
    body = encoded(noise(40, 60), "JPEG", dpi=(300, 300))
    links = seen(client, body[:2] + parts + body[2:], JPEG)["links"]
    with Image.open(io.BytesIO(client.get(links["ground"]).data)) as image:
        assert "exif" not in image.info
        assert image.info["dpi"] == (300, 300)
    with Image.open(io.BytesIO(client.get(links["lossless"]).data)) as image:
        assert image.info["exif"][6:] == long


def test_heic_comes_back_as_png(tmp_path):
    pytest.importorskip("pillow_heif", reason="pip install pillow-heif").register_heif_opener()
    came = cv2.resize(noise(4, 6), (64, 48), interpolation=cv2.INTER_LINEAR)
    heic, kind = encoded(came, "HEIF"), {"Content-Type": "image/heic"}
    with Image.open(io.BytesIO(heic)) as image:
        wanted = 255 - np.asarray(image.convert("RGB"))
    with opened(tmp_path) as (client, _, _):
        np.testing.assert_array_equal(read(clear(client, heic, kind)), wanted)
        assert clear(client, heic[:200], kind).status_code == 400
        large = encoded(np.zeros((501, 500, 3), np.uint8), "HEIF")
        assert clear(client, large, kind).status_code == 422


@pytest.mark.skipif(not gdal.available(), reason="pip install -r requirements-geo.txt")
def test_a_geotiff_comes_back_as_one_on_the_same_grid(client, tmp_path):
    came = noise(40, 60)
    write_tiff(tmp_path / "a.tif", came)
    assert clear(client, (tmp_path / "a.tif").read_bytes(), TIFF).mimetype == "image/tiff"
    links = seen(client, (tmp_path / "a.tif").read_bytes(), TIFF)["links"]
    for name in ("ground", "opacity", "confidence"):
        (tmp_path / f"{name}.tif").write_bytes(client.get(links[name]).data)
    facts = []
    for name in ("a", "ground", "opacity", "confidence"):
        with gdal.library().open(tmp_path / f"{name}.tif") as file:
            facts.append((file.crs, file.transform, file.shape))
            values = file.read()
            if name == "ground":
                np.testing.assert_array_equal(np.moveaxis(values, 0, -1), 255 - came)
    assert len(set(facts)) == 1
    assert facts[0][0].to_epsg() == 32632


def test_json_tells_how_far_it_is_and_leads_to_what_came_of_it(client):
    told = seen(client, flat(200))
    assert told["state"] == "done"
    assert (told["type"], told["notes"]) == ("image/png", [])
    wanted = {"ground": 55, "opacity": 51, "confidence": 204, "cloudy": 200, "cleared": 55}
    for name, value in {**wanted, "veil": 51}.items():
        assert (read(client.get(told["links"][name])) == value).all(), name
    assert client.delete(told["links"]["self"]).status_code == 204
    assert client.get(told["links"]["self"]).status_code == 404
    assert client.get(told["links"]["ground"]).status_code == 404


def test_what_is_shown_is_small_and_a_dim_picture_is_brightened_by_one_gain(client):
    came = np.full((40, 4000, 3), 64000, np.uint16)
    came[:, :2000] = 16000
    for light, gain in ((came, 1), (came // 32, 65535 / 2000)):
        _, code = cv2.imencode(".png", light)
        links = seen(client, code.tobytes())["links"]
        for name, values in (("cloudy", light), ("cleared", 65535 - light)):
            small = read(client.get(links[name]))
            assert small.shape == (20, 2048, 3)
            for at in (200, -200):
                wanted = min(values[0, at, 0] / 65535 * gain, 1) * 255
                assert abs(small[10, at // 2, 0] - wanted) < 2


def test_what_is_marked_is_repainted_whatever_the_masks_size(client):
    told = seen(client, flat(200))
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255
    place = f"{told['links']['self']}/repaint"
    again = ended(client, client.post(place, data=encoded(mask), headers=PNG).json)
    found = read(client.get(again["links"]["ground"]))
    assert not found[:, :32].any()
    assert (found[:, 32:] == 55).all()
    assert client.post(place, data=encoded(mask), headers=JPEG).status_code == 415
    assert client.post(place, data=b"\x89PNG nothing", headers=PNG).status_code == 400


def test_info_and_health(client):
    found = client.get("/api/v1/info").json
    assert found.items() >= {**FACTS, "state": "ready"}.items()
    assert found["limits"]["waiting"] == 4
    assert client.get("/health").status_code == 200


def test_pictures_are_taken_while_the_network_is_loaded_and_that_is_said(tmp_path):
    client = Client(Page(Desk(load, tmp_path), {}, hosts=["localhost"], **LIMITS))
    assert client.get("/").status_code == 200
    assert client.get("/health").status_code == 503
    assert client.get("/api/v1/info").json["state"] == "loading"
    assert clear(client, flat(), query="?as=json").json["state"] == "waiting"


# ---- who is let in ----


def test_every_answer_keeps_other_sites_out(client):
    for place in ("/", "/page.js", "/page.css", "/icon.svg", "/api/v1/info", "/nothing"):
        headers = client.get(place).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Set-Cookie", "Access-Control-Allow-Origin", "Server"} & set(headers.keys())


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "192.168.1.5"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "["}, 403),
        ({"Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:81"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
    ],
)
def test_host_and_origin(client, headers, status):
    assert clear(client, flat(), {**PNG, **headers}).status_code == status


def test_on_a_network_any_address_will_do_but_no_foreign_name_and_no_wrong_token(tmp_path):
    how = {"any_address": True, "token": "secret"}
    with opened(tmp_path, hosts=["localhost", "me.local"], **how) as (client, _, _):
        for host, token, status in (
            ("192.168.1.5:8000", "Bearer secret", 200),
            ("[fe80::1]:8000", "Bearer secret", 200),
            ("me.local", "Bearer secret", 200),
            ("me.local", "bearer secret", 200),
            ("me.local", "BEARER secret", 200),
            ("evil.example", "Bearer secret", 403),
            ("192.168.1.5", "Bearer wrong", 401),
            ("192.168.1.5", "Bearer ", 401),
            ("192.168.1.5", "Bearer sécret", 401),
            ("192.168.1.5", None, 401),
        ):
            headers = {"Host": host, **({"Authorization": token} if token else {})}
            assert client.get("/api/v1/info", headers=headers).status_code == status
            assert clear(client, flat(), {**PNG, **headers}).status_code == status
        assert client.get("/", headers={"Host": "192.168.1.5"}).status_code == 200
        assert not list(tmp_path.iterdir())


# ---- what a client can do wrong ----


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"hello", PNG, 400, "no picture"),
        (flat()[:90], PNG, 400, "cut"),
        (b"", PNG, 411, "length"),
        (flat() + bytes(2**20), PNG, 413, ""),
        (flat(), {"Content-Type": "application/x-www-form-urlencoded"}, 415, "Content-Type: image"),
        (flat(), {"Content-Type": "multipart/form-data; boundary=x"}, 415, "as the body"),
        (flat(), {}, 415, "nothing"),
        (flat(), {"Content-Type": "image/heic"}, 415, "Most Compatible"),
        (bomb_png(), PNG, 422, "60000 x 60000"),
        (bomb_bmp(), {"Content-Type": "image/bmp"}, 422, "60000 x 60000"),
        (flat(0, 501, 500), PNG, 422, "more than max_pixels = 250000"),
    ],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    page, folder, monkeypatch, body, headers, status, text
):
    client, served, desk = page
    monkeypatch.setattr(served, "_heic", False)
    monkeypatch.setattr(desk, "queue", lambda _: pytest.fail("it was to be decoded"))
    if status == 400 and body.startswith(b"\x89PNG"):
        monkeypatch.undo()  # that it is cut shows when it is decoded
    answer = clear(client, body, headers)
    assert answer.status_code == status
    assert answer.mimetype == "application/json"
    assert text in answer.json["error"]
    assert str(folder) not in answer.json["error"]


def test_a_tiff_that_claims_too_much_is_refused_by_its_head(client):
    file = io.BytesIO()
    tifffile.imwrite(file, np.zeros((1, 600_000), np.uint8), compression="zlib")
    assert clear(client, file.getvalue(), TIFF).status_code == 422


def test_the_zoo_gives_pictures_or_sentences(client, zoo, folder):
    count = 0
    for name, path in zoo.items():
        if not path.is_file() or name == "no permission":
            continue
        body, count = path.read_bytes(), count + 1
        answer = clear(client, body)
        if answer.status_code == 200:
            how = {"full_scale": 10_000}
            shapes = {read_picture(io.BytesIO(data), **how).shape for data in (answer.data, body)}
            assert len(shapes) == 1, name
        else:
            assert 400 <= answer.status_code < 500, (name, answer.text)
            assert "Traceback" not in answer.text
            assert str(folder) not in answer.text
        if name != "reflectance float":  # taken where rasterio is installed
            assert (answer.status_code == 200) == (name not in BAD), name
    assert count >= 40


NAMES = [
    "..", "../..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/etc/passwd",
    "....//....//etc/passwd", "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "..\\..\\win.ini",
    "..%5c..%5cwin.ini", "%00", "page.js%00.png", "%c0%ae%c0%ae/etc/passwd", "file:///etc/passwd",
    "in.png", "in", "out", "out/in.png", ".", "./ground", "ground/..", "ground/../in.png", "~",
    "~root", "C:%5cboot.ini", "%252e%252e%252fetc%252fpasswd", "ground%20", "GROUND", "*", "?x",
]  # fmt: skip


def test_names_lead_nowhere(client, folder):
    told, page = seen(client, flat()), client.get("/").data
    before = sorted(folder.rglob("*"))
    for name in NAMES:
        for place in (f"/{name}", f"{told['links']['self']}/{name}", f"/api/v1/jobs/{name}"):
            answer = client.get(place)
            assert b"root:" not in answer.data
            assert answer.status_code in (308, 404) or answer.data == page, place
        headers = {**PNG, "Content-Disposition": f'attachment; filename="{name}"'}
        again = clear(client, flat(), {**headers, "X-File-Name": name})
        assert again.status_code == 200
        assert again.headers["Content-Disposition"] == "attachment"
    assert sorted(folder.rglob("*")) == before


def test_a_disk_that_is_full_is_told(page, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(web.shutil, "copyfileobj", full)
    answer = clear(page[0], flat())
    assert (answer.status_code, "No space left" in answer.json["error"]) == (507, True)


def test_no_trace_of_an_error_gets_out(page, monkeypatch, capsys):
    def fails(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(web.Page, "_info", fails)
    answer = page[0].get("/api/v1/info")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret" in capsys.readouterr().err


# ---- over the network ----


def send(address, body):
    request = Request(f"{address}/api/v1/clear", body, PNG)  # noqa: S310
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return read_picture(io.BytesIO(answer.read()))


def connected(address):
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def test_two_clients_at_once_get_each_their_own(tmp_path):
    pictures = [noise(50, 60 + number, seed=number) for number in range(8)]
    with serving(tmp_path) as (address, *_), ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda pixels: send(address, encoded(pixels)), pictures))
    for came, made in zip(pictures, found, strict=True):
        np.testing.assert_array_equal(made, 255 - came)
    assert not list(tmp_path.iterdir())


def test_an_upload_that_is_cut_and_a_client_that_goes_leave_nothing(tmp_path):
    slow = Slow()
    head = b"POST /api/v1/clear HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
    body = flat()
    with serving(tmp_path, load=slow.load) as (address, *_):
        with connected(address) as client:
            client.sendall(head + b"Content-Length: 1000\r\n\r\n" + bytes(500))
        with connected(address) as client:
            client.sendall(head + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
            assert slow.begun.acquire(timeout=10)
        until = time.monotonic() + 10
        while not slow.worked[0].is_dropped:
            assert time.monotonic() < until
            time.sleep(0.02)
        slow.go.set()
        assert (send(address, body) == 55).all()
        assert len(slow.worked) == 2  # the cut one never got so far
    assert not list(tmp_path.iterdir())


def test_over_the_limit_is_413_before_it_is_sent(tmp_path):
    with serving(tmp_path) as (address, *_), connected(address) as client:
        client.sendall(
            b"POST /api/v1/clear HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\n"
            b"Content-Length: 99999999\r\n\r\n"
        )
        answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"\r\nContent-Type: text/plain" in answer
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is asked of Linux")
def test_memory_is_flat_over_200_pictures(tmp_path):
    def resident_mb():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    after, rng = [], np.random.default_rng(0)
    with serving(tmp_path) as (address, *_):
        for _ in range(200):
            height, width = rng.integers(380, 500, 2)
            send(address, flat(200, height, width))
            after.append(resident_mb())
    assert not list(tmp_path.iterdir())
    # One that is kept has .6 MB.
    assert np.median(after[-20:]) - np.median(after[40:60]) < 20
