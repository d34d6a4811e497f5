"""How fast images are downloaded: 5,000 files of 50 kB from a server on this machine, decoded to their end.

`python -m speed.download [N_FILES]` prints files a second, beside processor time and the server's own. The server is a
process of its own; where it shares the processors, it takes its part of them.
"""

import io
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

from bioclip_lib.sources.download import download

N_BYTES = 50_000


def photograph() -> bytes:
    """Return a JPEG of about 50 kB: smooth noise, as large as a web image."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((600, 450), Image.Resampling.BICUBIC)
    sizes = []
    for quality in range(95, 20, -5):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        sizes.append(buffer.getvalue())
    return min(sizes, key=lambda data: abs(len(data) - N_BYTES))


def serve(data: bytes, port) -> None:
    """Answer every request with one image."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_) -> None:
            pass

        def do_GET(self) -> None:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            self.wfile.write(head + data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.put(server.server_port)
    server.serve_forever()


def main(n_files: int = 5_000) -> None:
    data = photograph()
    context = multiprocessing.get_context("spawn")
    port = context.SimpleQueue()
    server = context.Process(target=serve, args=(data, port), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{port.get()}"
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "addresses.csv"
        table.write_text("image_url\n" + "".join(f"{base}/photos/{i}/medium.jpg\n" for i in range(n_files)))
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        rows = download(table, Path(folder) / "to", allow_private=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
    server.terminate()
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert (rows["problem"] == "").all(), rows["problem"].value_counts()
    print(
        f"{n_files:,} files of {len(data):,} bytes, {os.cpu_count()} processors: {n_files / wall:,.0f} files/s; "
        f"{n_files / cpu:,.0f} files/s of processor time, without the server's"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
