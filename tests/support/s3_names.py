"""An S3 store of names alone: it lists any number of backups, a thousand a page, and gives their manifests."""

import threading
from bisect import bisect_right
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from sidecar.manifest import BackupId, encode
from sidecar.names import PROOF_SUFFIX, archive_key, manifest_key, proof_key
from tests.support.shelf import manifest_of

PAGE = 1000
SIZE = 7


class NamesOnly:
    """Listens on loopback; each backup has an archive of SIZE bytes, a manifest and a proof. `requests` counts."""

    def __init__(self, backups: Iterable[BackupId]) -> None:
        self.requests: list[str] = []
        self._ids = {manifest_key(each): each for each in backups}
        keys = [key(each) for each in self._ids.values() for key in (archive_key, manifest_key, proof_key)]
        self._keys = sorted(keys)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer.requests.append(self.path)
                parts = urlsplit(self.path)
                query = parse_qs(parts.query)
                key = unquote(parts.path).rpartition("/")[2]
                if "list-type" in query:
                    self._send(outer.page(query.get("continuation-token", [""])[0]).encode())
                elif key.endswith(PROOF_SUFFIX):
                    self._send(b'{"finished_at": "2026-11-22T02:00:00Z"}')
                else:
                    self._send(encode(manifest_of(outer._ids[key], SIZE)))

            def _send(self, body: bytes) -> None:
                self.send_response_only(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def page(self, after: str) -> str:
        first = bisect_right(self._keys, after)
        keys = self._keys[first : first + PAGE]
        more = first + PAGE < len(self._keys)
        token = f"<NextContinuationToken>{keys[-1]}</NextContinuationToken>" if more else ""
        contents = "".join(
            f"<Contents><Key>{key}</Key><Size>{SIZE}</Size><ETag>&quot;x&quot;</ETag>"
            "<LastModified>2026-11-22T01:10:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
            for key in keys
        )
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>names</Name><KeyCount>{len(keys)}</KeyCount><MaxKeys>{PAGE}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>"
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
