"""One image over HTTP: an address goes in, the bytes of its file come out, or the reason why there are none.

Refuses addresses on private networks, at every hop and by the very address that is connected to; what is no image;
what claims or sends more than the limit; what arrives slower than anybody waits for. Nothing is kept that does not
decode to its end, so that a file cut short is never taken for a photograph.
"""

import ipaddress
import socket
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import urllib3
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from ..files.images import ImageError, identify, to_rgb

MAX_BYTES = 100 * 2**20
MAX_WAIT_S = 900.0  # a host that asks for more is left for another day
_MAX_HOPS, _MAX_S = 5, 600.0
_WAIT_S = 1.0  # before a host in trouble is asked again, twice as long each time
_TIMEOUT = urllib3.Timeout(connect=10, read=30)
_BLOCK_BYTES = 2**17
_AGAIN = (408, 429, 500, 502, 503, 504)
_OTHER_TYPES = ("text/", "video/", "audio/", "application/json", "application/xml", "application/xhtml", "image/svg")
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind a gateway
_DECODED_PX = 64  # a JPEG is read to its end all the same


class TransferError(Exception):
    """An address gave no file; the message is the reason.

    ``wait_s`` is how long to leave its host alone before it is asked again, None where the answer would be the same;
    ``is_deaf`` tells a host that did not answer at all.
    """

    def __init__(self, reason: str, wait_s: float | None = None, is_deaf: bool = False) -> None:
        super().__init__(reason)
        self.wait_s, self.is_deaf = wait_s, is_deaf


def is_public(address: str) -> bool:
    """Tell an address of the open internet from one of this machine, a private network or a group.

    >>> [is_public(a) for a in ("8.8.8.8", "10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:192.168.1.1")]
    [True, False, False, False, False, False]
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inside = [ip]
    if ip.version == 6:
        inside += [v4 for v4 in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if v4]
    return all(i.is_global and not i.is_multicast and not i.is_reserved for i in inside) and ip not in _TRANSLATED


class _Public:
    """A connection that is made to the open internet alone."""

    def connect(self) -> None:
        """Connect, if the host is public by its name and, for a name may mean another address next time, by itself."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise TransferError(
                f"no connection ({_short(error)})", is_deaf=not isinstance(error, UnicodeError)
            ) from None
        for *_, address in found:
            self._refuse_private(address[0])
        super().connect()
        self._refuse_private(self.sock.getpeername()[0])

    def _refuse_private(self, address: str) -> None:
        if not is_public(address):
            raise TransferError(f"{self.host} is on a private network ({address}), not asked")


class Client:
    """Asks for images, over a few kept connections a host."""

    def __init__(self, user_agent: str, connections: int, max_bytes: int, allow_private: bool) -> None:
        options = {"num_pools": 256, "maxsize": connections, "block": True, "retries": False, "timeout": _TIMEOUT}
        self._pools = urllib3.PoolManager(**options, headers={"User-Agent": user_agent, "Accept": "image/*"})
        if not allow_private:
            kinds = {"http": (HTTPConnectionPool, HTTPConnection), "https": (HTTPSConnectionPool, HTTPSConnection)}
            self._pools.pool_classes_by_scheme = {
                scheme: type(pool.__name__, (pool,), {"ConnectionCls": type("Public", (_Public, connection), {})})
                for scheme, (pool, connection) in kinds.items()
            }
        self._max_bytes = max_bytes

    def image(self, address: str) -> bytes:
        """Return the file of an image; `TransferError` says why not."""
        data = self._file(address)
        try:
            to_rgb(identify(data), short_side_px=_DECODED_PX)
        except ImageError as error:
            raise TransferError(str(error), 0.0 if "truncated" in str(error) else None) from None
        return data

    def _file(self, address: str) -> bytes:
        """Follow redirects to a file."""
        try:
            for _ in range(_MAX_HOPS):
                check_address(address)
                response = self._pools.request("GET", address, preload_content=False, redirect=False)
                try:
                    if not (place := response.get_redirect_location()):
                        return self._body(response)
                    address = urljoin(address, place)
                    response.close()  # its body is read by nobody
                finally:
                    if response.length_remaining != 0:
                        response.close()
                    response.release_conn()  # a closed one too: its place in the pool is waited for
        except ValueError:  # of a redirect
            raise TransferError("no address of the web (http or https)") from None
        except urllib3.exceptions.SSLError as error:
            raise TransferError(f"no safe connection ({_short(error)})") from None
        except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
            raise TransferError(f"no connection ({_short(error)})", _WAIT_S, is_deaf=True) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise TransferError(f"broke off ({_short(error)})", 0.0) from None
        raise TransferError(f"more than {_MAX_HOPS} redirects")

    def _body(self, response: urllib3.BaseHTTPResponse) -> bytes:
        """Read an answer, if it is a file of an image and not too large."""
        status, headers = response.status, response.headers
        if status != 200:
            wait_s = _wait_s(headers.get("Retry-After", "")) if status in _AGAIN else None
            raise TransferError(f"HTTP {status} {response.reason}".strip(), wait_s)
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith(_OTHER_TYPES):
            raise TransferError(f"not an image ({kind})")
        limit = f"(limit {self._max_bytes / 2**20:g} MiB)"
        if (claimed := headers.get("Content-Length", "")).isdigit() and int(claimed) > self._max_bytes:
            raise TransferError(f"claims {int(claimed) / 2**20:,.0f} MiB {limit}")
        data, until = bytearray(), time.monotonic() + _MAX_S
        while block := response.read1(_BLOCK_BYTES):  # what has come, not only whole blocks
            data += block
            if len(data) > self._max_bytes:
                raise TransferError(f"more bytes than allowed {limit}")
            if time.monotonic() > until:
                raise TransferError(f"only {len(data):,} bytes in {_MAX_S:.0f} s", 0.0)
        return bytes(data)


def check_address(address: str) -> None:
    """Refuse what is no address of the web: a path on this machine is never read as one."""
    try:
        parts = urlsplit(address)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, named = None, False
    if not named or parts.scheme.lower() not in ("http", "https"):
        raise TransferError("no address of the web (http or https)")


def _wait_s(text: str) -> float:
    """Return the seconds that ``Retry-After`` asks to wait, as a number or a date, some where it says nothing."""
    try:
        seconds = float(text) if text.strip().isdigit() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return _WAIT_S
    return max(0.0, seconds)


def _short(error: Exception) -> str:
    """Return the last part of an error of urllib3 in few words."""
    reason = getattr(error, "reason", None) or error
    text = str(reason).rpartition(": ")[2].strip(" ()'\"") or type(error).__name__
    return text[:80]
