"""Serve the built site as a web host does: `python tools/serve.py [_build/html] [--port 8000] [--under /book/]`.

Compressed where the browser takes it, `404.html` where nothing is, and, with `--under`, below a path of its own.
"""

import argparse
import functools
import gzip
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".csv", ".xml", ".txt", ".ipynb", ".md"}


@functools.lru_cache(maxsize=256)
def compressed(path, changed):
    """The file's content, compressed; once for each time that it `changed`."""
    return gzip.compress(path.read_bytes(), compresslevel=6)


class Handler(SimpleHTTPRequestHandler):
    """Python's own file server with compression, the site's 404 page, and a path before the site's."""

    protocol_version = "HTTP/1.1"

    def __init__(self, *arguments, under="/", **options):
        self.under = under
        super().__init__(*arguments, **options)

    def do_GET(self):
        self.answer(with_body=True)

    def do_HEAD(self):
        self.answer(with_body=False)

    def answer(self, with_body):
        status, path = HTTPStatus.OK, self.file()
        if path is None:
            status, path = HTTPStatus.NOT_FOUND, Path(self.directory) / "404.html"
        if not path.is_file():
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        pack = path.suffix in COMPRESSED and "gzip" in self.headers.get("Accept-Encoding", "")
        content = compressed(path, path.stat().st_mtime_ns) if pack else path.read_bytes()
        self.send_response(status)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Length", str(len(content)))
        if pack:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def file(self):
        """The file that the address means, None if there is none."""
        if not self.path.startswith(self.under):
            return None
        path = Path(self.translate_path("/" + self.path.removeprefix(self.under)))
        path = path / "index.html" if path.is_dir() else path
        return path if path.is_file() else None

    def log_message(self, *arguments):
        """Silence: one line for each file would hide what else is printed."""


def server(site, port=0, under="/"):
    """A server of the folder `site` on this machine; port 0 takes a free one (`.server_port` says which)."""
    handler = functools.partial(
        Handler, directory=str(site), under=f"/{under.strip('/')}/".replace("//", "/")
    )
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("site", type=Path, nargs="?", default=Path("_build/html"))
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--under", default="/")
    options = parser.parse_args(arguments)
    if not (options.site / "index.html").is_file():
        print(f"{options.site}: no built site; `make book` builds it")
        return 1
    with server(options.site, options.port, options.under) as running:
        print(f"http://localhost:{running.server_port}/{options.under.strip('/')}", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
