"""What the built site needs beyond Jupyter Book: buttons, tested results, a front page, pages made ready to deliver.

Buttons to the repository, to Colab and to Binder appear when `repository: url:` is set in
_config.yml, and not before.
"""

import html
import importlib.util
import os
import re
import subprocess
import zipfile
import zlib
from pathlib import Path
from urllib.parse import urljoin

import book_delivery as delivery
from book_cells import PROJECT_ZIP

NOT_OURS = {".git", ".venv", "_build", "__pycache__", ".hypothesis", ".ipynb_checkpoints"}
NOT_OURS |= {".pytest_cache", ".ruff_cache", "deepseek_explained.egg-info"}
ADDRESS = re.compile(r'\b(href|src|action|data-content_root)="([^"]*)"')


def add_buttons(app, config):
    """With a repository address: source, issue and launch buttons. Without one: none that leads nowhere."""
    options = config.html_theme_options
    if "repository_url" not in options:
        return
    address = options["repository_url"]
    options["use_repository_button"] = options["use_issues_button"] = bool(address)
    options["launch_buttons"] = {}
    if address:
        options["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
        }
    if address and "github.com/" in address:
        options["launch_buttons"]["colab_url"] = "https://colab.research.google.com"


def find_results(app, config):
    """The notebooks' cache is in one place, wherever the site is written."""
    config.nb_execution_cache_path = str(Path(app.srcdir) / "_build" / ".jupyter_cache")


def use_tested_results(app):
    """Build from what was tested: put current results into the notebooks' cache, take others out.

    With BOOK_PREVIEW in the environment others stay in, so that nothing is run (tools/build.py --update).
    """
    path = Path(app.srcdir) / "tools" / "notebooks.py"
    if path.is_file():
        spec = importlib.util.spec_from_file_location("tools_notebooks", path)
        notebooks = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(notebooks)
        notebooks.fill_cache(preview="BOOK_PREVIEW" in os.environ)
        notebooks.prepare_matplotlib()
        notebooks.encrypt_kernels()


def keep_index_out(app):
    """The index of the search that ours replaces is not delivered; Sphinx wants it back when it builds again."""
    if app.builder.format == "html":
        index = Path(app.doctreedir) / "searchindex.js"
        app.builder.searchindex_filename = os.path.relpath(index, app.outdir)


def lift(page, root):
    """The page of document `root` as it reads one or more folders higher: its relative addresses corrected."""

    def corrected(match):
        attribute, address = match.groups()
        if address.startswith(("#", "/")) or re.match(r"[\w+.-]+:", address):
            return match.group()
        # Resolve against the page's own folder, then write it relative to the top.
        target = urljoin(f"https://site/{root}.html", html.unescape(address)).removeprefix(
            "https://site/"
        )
        return f'{attribute}="{html.escape(target or "./")}"'

    return ADDRESS.sub(corrected, page)


def finish(app, exception):
    """After the build: what pages need and no more, the root page at index.html too, and each page's policy."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pack(Path(app.srcdir), out / PROJECT_ZIP)
    static = out / "_static"
    paths = [path for path in out.rglob("*.html") if "_static" not in path.parts]
    pages = {path: path.read_text(encoding="utf-8") for path in paths}
    root = app.config.root_doc
    if root != "index":
        pages[out / "index.html"] = lift(pages[out / f"{root}.html"], root)
    delivery.deliver(pages, static, lambda path: app.config.book_policy.get(docname(path, out), ""))


def project_files(source):
    """Paths of the project's own files, relative to its folder: what git keeps; without git, all that is not built.

    What lies beside them in somebody's folder and is not in git does not get onto the site.
    """
    try:
        git = ["git", "-C", str(source), "ls-files", "-z"]
        kept = subprocess.run(git, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        kept = []
    if not any(kept):  # unpacked from the zip, maybe below somebody else's repository
        kept = (path.relative_to(source).as_posix() for path in source.rglob("*"))
        kept = (name for name in kept if not NOT_OURS & set(name.split("/")))
    return sorted(name for name in kept if (source / name).is_file())


def pack(source, target):
    """The whole project as a zip with a folder inside, the same bytes for the same files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in project_files(source):
            entry = zipfile.ZipInfo(f"{target.stem}/{name}")  # its date is that of no file: 1980
            executable = 0o111 & (source / name).stat().st_mode
            entry.external_attr = (0o755 if executable else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, (source / name).read_bytes())


def docname(path, out):
    """The document that a page of the site was made from."""
    return path.relative_to(out).with_suffix("").as_posix()


def setup(app):
    app.setup_extension("book_head")
    app.add_css_file("book.css", priority=900)
    app.add_js_file("page.js", loading_method="defer")
    app.connect("config-inited", add_buttons)
    app.connect("config-inited", find_results)
    app.connect("builder-inited", use_tested_results)
    app.connect("builder-inited", keep_index_out)
    app.add_config_value("book_policy", {}, "html")
    # Late, so that what other extensions put into the pages is under the policy too.
    app.connect("build-finished", finish, priority=900)
    # A change in any of our extensions makes Sphinx read all pages again.
    sources = sorted(Path(__file__).parent.glob("*.py"))
    version = zlib.crc32(b"".join(path.read_bytes() for path in sources))
    return {"env_version": version, "parallel_read_safe": True, "parallel_write_safe": True}
