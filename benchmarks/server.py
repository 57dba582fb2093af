"""How many pictures a second does the server clear, how long does a client wait, what is lost?

    python benchmarks/server.py [--pictures 24] [--clients 1 4 16] [--side 1024] [--devices cpu]

Starts server.py as a process of its own. As many clients as told each send a picture of side x
side pixels as PNG, and the next when the answer is there, until --pictures of them are answered. A
client that is told 503 comes again after Retry-After seconds. In turns with that, the same pictures
go through the chain without a server, as `cloud_removal.py` does it. Latency is from the request
that is taken to the last byte of its answer. Every answer is compared with that of the chain, byte
for byte.
"""

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from cloud_removal import TASKS
from configure import Defog
from util.pictures.read import read_picture
from util.pictures.write import write_picture
from util.use import chain, trained
from util.use.pictures import job_of, restore_file

PROJECT = Path(__file__).resolve().parents[1]
GOAL = 0.85


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=24)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--devices", default="cpu")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), options)


def measure(folder, options):
    source = folder / "a.png"
    cloudy = read_picture(PROJECT / "data" / "cloudy" / "l8_alabama.png")
    pad = [(0, max(0, options.side - n)) for n in cloudy.shape[:2]]
    cloudy = np.pad(cloudy, [*pad, (0, 0)], mode="reflect")[: options.side, : options.side]
    write_picture(source, np.ascontiguousarray(cloudy))
    settings = Defog(devices=options.devices)
    with trained.choose_device(settings).scope():
        way = chain.way_of(chain.load(TASKS, settings, clear="mod_defog", repaint="harmonic"))
    job = job_of(way, source, source, folder / "out", {})
    alone = [without_server(way, job, options.pictures)]
    wanted = job.restored.read_bytes()
    words = [sys.executable, str(PROJECT / "server.py"), "--port=0", "--repaint=harmonic"]
    with subprocess.Popen(
        [*words, f"--devices={options.devices}"], stderr=subprocess.PIPE, text=True
    ) as server:
        began = time.perf_counter()
        port = int(server.stderr.readline().strip("/\n").rpartition(":")[2])
        first_page_s = time.perf_counter() - began
        while "ready" not in server.stderr.readline():
            pass
        ready_s = time.perf_counter() - began
        rows, memory = [], [resident_mb(server.pid)]
        for clients in options.clients:
            rows.append((clients, *load(port, clients, options.pictures, source, wanted)))
            memory.append(resident_mb(server.pid))
            alone.append(without_server(way, job, options.pictures))
        server.terminate()
    print(f"address after {first_page_s:.1f} s, ready after {ready_s:.1f} s")
    print("clients  alone/s  served/s  share  median s   95 % s   answers; resident MB")
    around = [statistics.mean(pair) for pair in pairwise(alone)]
    for rate, (clients, made, waits, answers), used in zip(around, rows, memory[1:], strict=True):
        median, most = np.percentile(waits, (50, 95))
        print(
            f"{clients:7} {rate:8.3f} {made:9.3f} {made / rate:6.0%} {median:9.2f} {most:8.2f}   "
            f"{dict(answers)}; {used:.0f}"
        )
    print(f"resident before the first: {memory[0]:.0f} MB; goal: {GOAL:.0%} of alone")


def without_server(way, job, pictures):
    """Return how many pictures a second the chain restores, file to file; the first warms up."""
    restore_file(way, job, lambda *_: None)
    began = time.perf_counter()
    for _ in range(pictures):
        restore_file(way, job, lambda *_: None)
    return pictures / (time.perf_counter() - began)


def load(port, clients, pictures, source, wanted):
    """Return pictures a second, the seconds that each took, and how many answers of each kind."""
    body, left, lock = source.read_bytes(), [pictures], threading.Lock()
    waits, answers = [], Counter()

    def client():
        while True:
            with lock:
                if not left[0]:
                    return
                left[0] -= 1
            while True:
                began = time.perf_counter()
                status, headers, data = send(port, body)
                with lock:
                    right = status == 200 and data == wanted
                    answers[status if right or status != 200 else "other bytes"] += 1
                    if status != 503:
                        waits.append(time.perf_counter() - began)
                        break
                time.sleep(float(headers["Retry-After"]))

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return pictures / (time.perf_counter() - began), waits, answers


def send(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/api/v1/clear", body, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    except OSError as error:
        return type(error).__name__, {}, b""
    finally:
        connection.close()


def resident_mb(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    main()
