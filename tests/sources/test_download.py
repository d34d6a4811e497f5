"""Downloads from a server on this machine that breaks off, redirects, delays, lies and sends what is no image."""

import contextlib
import csv
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from bioclip_lib.config import DataConfig
from bioclip_lib.errors import InputError
from bioclip_lib.files.images import read_bytes
from bioclip_lib.sources import download as module
from bioclip_lib.sources.addresses import match_addresses
from bioclip_lib.sources.download import download, main, named
from bioclip_lib.sources.match import find_images
from bioclip_lib.sources.read import read_source
from bioclip_lib.sources.transfer import Client, TransferError


class Server(ThreadingHTTPServer):
    """A server whose answers are functions of the handler; counts what it is asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.agents, self.lock = {}, [], set(), threading.Lock()
        self.active = self.most_active = 0
        self.times: dict[str, list[float]] = {}
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_) -> None:
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        with server.lock:
            server.asked.append(self.path)
            server.agents.add(self.headers["User-Agent"])
            server.times.setdefault(self.path, []).append(time.monotonic())
            server.active += 1
            server.most_active = max(server.active, server.most_active)
        try:
            server.answers.get(self.path.partition("?")[0], not_found)(self)
        finally:
            with server.lock:
                server.active -= 1


def send(handler, body: bytes, status: int = 200, length: int | None = None, kind: str = "image/jpeg", **headers):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def not_found(handler) -> None:
    send(handler, b"gone", 404, kind="text/plain")


def sends(body: bytes, **options):
    return lambda handler: send(handler, body, **options)


def cut(body: bytes):
    """Break off in the middle of what was announced."""

    def answer(handler) -> None:
        send(handler, body[: len(body) // 2], length=len(body))
        handler.close_connection = True
        handler.connection.close()

    return answer


def in_turn(*answers):
    """Answer differently each time, the last for ever."""
    left = list(answers)
    return lambda handler: (left.pop(0) if len(left) > 1 else left[0])(handler)


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def table(tmp_path, server):
    """Write a table of addresses, given as paths of the server, with names."""

    def write(*paths: str):
        file = tmp_path / "set" / "labels.csv"
        file.parent.mkdir(exist_ok=True)
        rows = [{"image_url": path if ":" in path else server.url + path, "species": "Parus major"} for path in paths]
        pd.DataFrame(rows).to_csv(file, index=False)
        return file

    return write


def fetch(file, **options) -> dict[str, str]:
    rows = download(file, file.parent, allow_private=True, contact="a@b.org", **options)
    return dict(zip(rows["address"].str.rpartition("/")[2], rows["problem"], strict=True))


def test_what_comes_is_kept_and_found_again(server, table, jpeg, tmp_path):
    files = {f"/photos/{i}/original.jpg": jpeg(i) for i in range(5)}
    server.answers = {path: sends(data) for path, data in files.items()}
    file = table(*files)
    rows = download(file, file.parent, allow_private=True, contact="a@b.org")
    assert (rows["problem"] == "").all() and rows["bytes"].tolist() == [len(data) for data in files.values()]
    raw = read_source(DataConfig(source="photos", photos=str(file)))
    assert [read_bytes(place) for place in raw["location"]] == list(files.values()) and "address" not in raw
    assert all("a@b.org" in agent for agent in server.agents)
    written = list(csv.DictReader((file.parent / "downloads.csv").open()))
    assert [row["sha256"] for row in written] == rows["sha256"].tolist()
    assert [module.sha256(data).hexdigest() for data in files.values()] == rows["sha256"].tolist()


def test_a_second_call_asks_for_what_is_missing_alone(server, table, jpeg):
    server.answers = {"/1.jpg": sends(jpeg(1)), "/3.jpg": sends(jpeg(3))}
    file = table("/1.jpg", "/2.jpg", "/3.jpg")
    assert fetch(file) == {"1.jpg": "", "2.jpg": "HTTP 404 Not Found", "3.jpg": ""}
    server.answers["/2.jpg"] = sends(jpeg(2))
    (file.parent / "3.jpg").unlink()  # lost since: fetched again
    server.asked.clear()
    assert set(fetch(file).values()) == {""} and sorted(server.asked) == ["/2.jpg", "/3.jpg"]


def test_an_interruption_keeps_what_is_there(server, table, jpeg, monkeypatch):
    paths = [f"/{i}.jpg" for i in range(8)]
    server.answers = {path: sends(jpeg(i)) for i, path in enumerate(paths)}
    file = table(*paths)
    add, n = module._Journal.add, []

    def stop_after_three(self, row):
        if len(n) == 3:
            raise KeyboardInterrupt
        n.append(add(self, row))

    monkeypatch.setattr(module._Journal, "add", stop_after_three)
    with pytest.raises(KeyboardInterrupt):
        fetch(file)
    monkeypatch.undo()
    with (file.parent / "downloads.csv").open("a") as journal:
        journal.write("http://x/cut.jpg,cu")  # as a killed process leaves it
    kept = {row["address"] for row in csv.DictReader((file.parent / "downloads.csv").open()) if row["sha256"]}
    server.asked.clear()
    assert set(fetch(file).values()) == {""} and len(kept) == 3
    assert not {server.url + path for path in server.asked} & kept


FAULTS = {
    "html": (sends(b"<html>sign in</html>", kind="text/html; charset=utf-8"), "not an image (text/html)", 1),
    "html_as_jpeg": (sends(b"<html>sign in</html>"), "not an image", 1),
    "film": (sends(b"\0\0\0\x18ftypmp42", kind="video/mp4"), "not an image (video/mp4)", 1),
    "claims": (lambda h: send(h, b"\xff\xd8", length=10 * 2**30), "claims 10,240 MiB (limit 1 MiB)", 1),
    "sends": (sends(bytes(3 * 2**20), length=None), "claims 3 MiB (limit 1 MiB)", 1),
    "forbidden": (sends(b"", status=403), "HTTP 403 Forbidden", 1),
    "cut": (None, "broke off", 4),
    "short": (None, "truncated", 4),
    "busy": (sends(b"", status=503), "HTTP 503 Service Unavailable", 4),
    "later": (sends(b"", status=429, Retry_After="86400"), "HTTP 429 Too Many Requests; asks to wait 1440 minutes", 1),
    "circle": (lambda h: send(h, b"", status=302, Location=h.path), "more than 5 redirects", 5),
    "to_file": (sends(b"", status=302, Location="file:///etc/passwd"), "no address of the web (http or https)", 1),
    "nothing": (sends(b""), "not an image", 1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_row_with_its_reason(server, table, jpeg, fault, monkeypatch):
    monkeypatch.setattr("bioclip_lib.sources.transfer._WAIT_S", 0.01)
    answer, problem, n_asked = FAULTS[fault]
    body = jpeg(1)
    answer = answer or (cut(body) if fault == "cut" else sends(body[:-200]))
    server.answers = {"/bad.jpg": answer, "/good.jpg": sends(jpeg(2))}
    found = fetch(table("/bad.jpg", "/good.jpg"), max_bytes=2**20)
    assert found["good.jpg"] == "" and found["bad.jpg"].startswith(problem)
    assert Counter(server.asked)["/bad.jpg"] == n_asked


def test_an_endless_answer_stops_at_the_limit(server, table, jpeg):
    def endless(handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "image/jpeg")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while True:
                handler.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")

    server.answers = {"/bad.jpg": endless}
    assert fetch(table("/bad.jpg"), max_bytes=2**20) == {"bad.jpg": "more bytes than allowed (limit 1 MiB)"}


def test_what_fails_once_is_asked_again(server, table, jpeg):
    server.answers = {
        "/a.jpg": in_turn(cut(jpeg(1)), sends(jpeg(1))),
        "/b.jpg": in_turn(sends(b"", status=429, Retry_After="1"), sends(jpeg(2))),
    }
    assert fetch(table("/a.jpg", "/b.jpg")) == {"a.jpg": "", "b.jpg": ""}
    first, second = server.times["/b.jpg"]
    assert second - first >= 1  # never before Retry-After


def test_few_connections_are_made_to_a_host(server, table, jpeg):
    def slow(handler) -> None:
        time.sleep(0.05)
        send(handler, jpeg(int(handler.path[1:-4])))

    paths = [f"/{i}.jpg" for i in range(20)]
    server.answers = dict.fromkeys(paths, slow)
    assert set(fetch(table(*paths), connections=2).values()) == {""} and server.most_active == 2


@pytest.mark.parametrize("kind", ["image/jpeg", "text/html"])
def test_refused_answers_take_no_connection_for_good(server, table, jpeg, kind):
    paths = [f"/{i}.jpg" for i in range(8)]
    refused = sends(b"x" * 300_000, status=404 if kind == "image/jpeg" else 200, kind=kind)
    server.answers = dict.fromkeys(paths, refused) | {"/7.jpg": sends(jpeg(7))}
    found = fetch(table(*paths), connections=2)
    assert found.pop("7.jpg") == "" and len(found) == 7 and all(found.values())


def test_an_address_that_is_none_is_a_row(server, table, jpeg):
    server.answers = {"/1.jpg": sends(jpeg(1)), "/2.jpg": sends(b"", status=302, Location="http://[x/")}
    found = fetch(table("http://[x/0.jpg", "http://foo..bar/3.jpg", "/1.jpg", "/2.jpg"))
    assert found.pop("1.jpg") == "" and len(found) == 3 and all(found.values())


def test_redirects_lead_to_the_file(server, table, jpeg):
    server.answers = {
        "/1.jpg": sends(b"", status=301, Location="/there/1"),
        "/there/1": sends(b"", status=307, Location=f"{server.url}/last"),
        "/last": sends(jpeg(4)),
    }
    file = table("/1.jpg")
    assert fetch(file) == {"1.jpg": ""} and (file.parent / "1.jpg").read_bytes() == jpeg(4)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"])
def test_private_networks_are_not_asked(server, table, host):
    file = table(f"http://{host}:{server.server_port}/1.jpg")
    rows = download(file, file.parent)
    assert "private network" in rows["problem"][0] or "no connection" in rows["problem"][0]
    assert not server.asked


def test_a_redirect_to_a_private_network_is_not_followed(server, table, jpeg, monkeypatch):
    """The first hop is taken for public, as a host of the open internet that points inwards."""
    public = iter([True, True])  # of its name and of the connection
    monkeypatch.setattr("bioclip_lib.sources.transfer.is_public", lambda address: next(public, False))
    server.answers = {"/1.jpg": sends(b"", status=302, Location=f"http://localhost:{server.server_port}/inside.jpg")}
    client = Client("a", 1, 2**20, allow_private=False)
    with pytest.raises(TransferError, match="localhost is on a private network"):
        client.image(f"{server.url}/1.jpg")
    assert server.asked == ["/1.jpg"]


def test_a_name_that_means_another_address_next_time_is_not_asked(server, monkeypatch):
    """DNS answers with a public address when it is looked at, and the connection lands elsewhere."""
    answers = iter([True])
    monkeypatch.setattr("bioclip_lib.sources.transfer.is_public", lambda address: next(answers, False))
    with pytest.raises(TransferError, match="private network"):
        Client("a", 1, 2**20, allow_private=False).image(f"{server.url}/1.jpg")
    assert not server.asked


def test_local_files_in_a_list_are_no_addresses(server, table, jpeg, tmp_path):
    server.answers = {"/1.jpg": sends(jpeg(1))}
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(jpeg(9))
    file = table("/1.jpg", f"file://{secret}", "ftp://x.org/2.jpg", "C:/photos/3.jpg", "data:image/png;base64,AAAA")
    rows = download(file, file.parent, allow_private=True)
    assert rows["problem"].tolist() == ["", *["no address of the web (http or https)"] * 4]
    assert {p.name for p in file.parent.rglob("*") if p.is_file()} == {"labels.csv", "downloads.csv", "1.jpg"}


def test_a_host_that_does_not_answer_is_given_up(table, monkeypatch):
    monkeypatch.setattr("bioclip_lib.sources.transfer._WAIT_S", 0.0)
    file = table(*(f"http://127.0.0.1:9/{i}.jpg" for i in range(30)))
    rows = download(file, file.parent, allow_private=True, connections=1)
    kinds = rows["problem"].str.partition(" (")[0].value_counts().to_dict()
    assert kinds == {"no connection": 8, "host did not answer, not asked again": 22}


ADDRESSES = [
    *(f"https://inat.org/photos/{i}/original.jpg?15{i}" for i in range(3)),
    *(f"https://a.org/get?id={i}7&size=large" for i in range(3)),
    *(f"https://b.org/{i}/IMG_1.JPG" for i in range(2)),
    *("https://c.org/x/picture", "https://d.org/My%20photo.jpeg", "https://e.org/a:b/q*.png", "https://f.org/?who=me"),
    *("https://g.org/IMG_9.jpg", "https://g.org/img_9.JPG", "https://h.org/../../etc/7.jpg", "https://i.org/.hidden/8"),
    *("https://j.org/x.jpg", "https://j.org/x.jpg/o.jpg", "https://k.org/y/5.png/z.jpg", "https://k.org/y/5.png"),
]


def test_names_of_files_lead_back_to_their_addresses(tmp_path, jpeg):
    rows = pd.DataFrame({"address": ADDRESSES, "record": [f"urn:occ:{i // 2}" for i in range(len(ADDRESSES))]})
    wanted = named(rows.assign(path=""))
    assert len({item.file.casefold() for item in wanted}) == len(wanted)
    for present in (range(len(wanted)), range(0, len(wanted), 2), range(1, len(wanted), 2)):
        root = tmp_path / str(present)
        for i in present:
            place = root / wanted[i].file
            assert root in place.resolve().parents
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(jpeg(i))
        files, _ = find_images(root)
        place = match_addresses(rows["address"], rows["record"], files["path"])
        expected = {str((root / wanted[i].file).resolve()): i for i in present}
        found = [expected[files["location"][p]] if p >= 0 else -1 for p in place]
        assert found == [i if i in present else -1 for i in np.arange(len(wanted))]


def test_the_command(server, table, jpeg, capsys, tmp_path):
    server.answers = {"/1.jpg": sends(jpeg(1))}
    file = table("/1.jpg", "/2.jpg")
    assert main([str(file), "--to", str(file.parent), "--allow-private"]) == 1
    said = capsys.readouterr().out
    assert "1 of 2 images" in said and "1 x HTTP 404 Not Found" in said and "downloads.csv" in said
    assert main([str(file), "--to", str(tmp_path / "elsewhere"), "--allow-private"]) == 1
    assert "finds 0 of them" in capsys.readouterr().out
    (tmp_path / "none.csv").write_text("path,species\na.jpg,Parus major\n")
    assert main([str(tmp_path / "none.csv"), "--to", str(tmp_path)]) == 2
    assert "names no address" in capsys.readouterr().err
    assert main([str(file), "--to", str(file), "--allow-private"]) == 2
    with pytest.raises(InputError, match="connections"):
        download(file, tmp_path, connections=0)


@pytest.mark.parametrize("packed", [False, True])
def test_an_archive_finds_its_downloads(server, tmp_path, jpeg, write_archive, packed):
    """Of two occurrences one has two images, one of whose addresses ends in nothing that names it."""
    paths = ["/photos/1/large.jpg", "/media/view?image=a", "/photos/2/large.jpg"]
    server.answers = {path.partition("?")[0]: sends(jpeg(i)) for i, path in enumerate(paths)}
    media = [("11", paths[0]), ("11", paths[1]), ("12", paths[2])]
    lines = ["gbifID\ttype\tidentifier", *(f"{key}\tStillImage\t{server.url}{path}" for key, path in media)]
    files = {
        "occurrence.txt": b"gbifID\tscientificName\n11\tParus major\n12\tParus ater\n",
        "multimedia.txt": "\n".join(lines).encode(),
    }
    to = tmp_path / "birds"
    source = write_archive(tmp_path / "birds.zip", files) if packed else to
    for name, data in {} if packed else files.items():
        to.mkdir(exist_ok=True)
        (to / name).write_bytes(data)
    with pytest.raises(InputError, match=r"sources\.download"):
        read_source(DataConfig(source="photos", photos=str(source)))
    rows = download(source, to, allow_private=True)
    assert (rows["problem"] == "").all()
    raw = read_source(DataConfig(source="photos", photos=str(source)))
    assert [read_bytes(place) for place in raw["location"]] == [jpeg(i) for i in range(3)]
    assert (download(source, to, allow_private=True)["problem"] == "").all() and len(server.asked) == 3


def test_a_list_of_addresses_alone(server, jpeg, tmp_path):
    server.answers = {f"/{i}.jpg": sends(jpeg(i)) for i in range(3)}
    file = tmp_path / "list.txt"
    file.write_text("".join(f"{server.url}/{i}.jpg\n" for i in range(3)))
    rows = download(file, tmp_path / "to", allow_private=True)
    assert rows["file"].tolist() == ["0.jpg", "1.jpg", "2.jpg"] and (rows["problem"] == "").all()


def test_a_host_that_asks_to_wait_keeps_no_other_waiting(tmp_path):
    class Asked:
        def image(self, address):
            if "busy" in address:
                raise TransferError("HTTP 429", 0.2)
            return b"x"

    busy = [module.Wanted(f"http://busy{i}.org/a.jpg", f"{i}.jpg") for i in range(2 * module._MAX_CONNECTIONS)]
    rows = module._fetched([*busy, module.Wanted("http://free.org/a.jpg", "free.jpg")], tmp_path, Asked(), 4)
    assert next(rows)[1] == "free.jpg"
    rows.close()
