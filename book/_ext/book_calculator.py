"""The calculators: `{calculator} training-run` puts one on a page, with its worked default computed at build time.

What computes is the book's own modules, run by CPython here and by Brython in the page, in a worker. For the page the
build writes one file, `_static/calculator_engine.js`: the source of Brython, the few modules of its library that are
needed, our modules unchanged, the configurations, and the part of the ledger that their code names. Being a script
and no data, it also loads from a local file.

    [with your own numbers](../book/calculator.md#training-run&tokens.central=20)

opens a calculator with these inputs; one that it would refuse is a warning.
"""

import ast
import html
import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote

import book_delivery as delivery
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import deepseek_explained
from deepseek_explained import facts

SOURCES = Path(__file__).resolve().parents[1] / "_calculator"
sys.path.insert(0, str(SOURCES))
import calculators  # noqa: E402

PACKAGE = Path(deepseek_explained.__file__).parent
MODULES = ("config", "facts", "budget", "training_cost", "total_cost", "serving_cost")
PAGE = ("calculators", "drawing", "page")
# What these modules import, and what that imports, of Brython's library.
LIBRARY = """
    _collections _collections_abc _functools _json _operator _py_abc _random _thread _weakref _weakrefset abc bisect
    browser builtins collections copy copyreg dataclasses enum fractions functools genericpath itertools json
    json.encoder keyword math numbers operator os posix posixpath python_re random re reprlib stat statistics sys
    types weakref
""".split()
# Missing in Brython's itertools.
PAIRWISE = """
def pairwise(iterable):
    items = list(iterable)
    return zip(items, items[1:])
"""
logger = logging.getLogger(__name__)


def library():
    """Brython's standard library: {module: [kind, source, imports]}."""
    text = (data_folder() / "brython_stdlib.js").read_text(encoding="utf-8")
    return json.JSONDecoder().raw_decode(text, text.index("{", text.index("var scripts")))[0]


def data_folder():
    """Where the wheel keeps Brython's files."""
    found = importlib.util.find_spec("brython")
    if found is None:
        raise ModuleNotFoundError("brython is not installed: pip install -r requirements.txt")
    return Path(found.origin).parent / "data"


def named_ids(source):
    """Ids of the ledger that a module's code can ask for: its strings, with any word where one is filled in."""
    patterns = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            patterns.add(re.escape(node.value))
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            parts = (getattr(part, "value", "") for part in node.values)
            words = [re.escape(part) if isinstance(part, str) else r"[\w-]+" for part in parts]
            patterns.add("".join(words))
    return {name for name in facts.ledger() if any(re.fullmatch(one, name) for one in patterns)}


def part_of_ledger(names):
    """These entries as JSON, for stand_ins/tomllib.py: a number with a point is a text with its printed digits."""
    tables = tomllib.loads(facts.LEDGER_PATH.read_text(encoding="utf-8"), parse_float=str)
    return json.dumps({name: tables[name] for name in tables if name in names}, ensure_ascii=False)


def sources():
    """{module: source} of all that is ours: the book's modules unchanged, the calculators, the stand-ins."""
    read = {f"deepseek_explained.{name}": PACKAGE / f"{name}.py" for name in MODULES}
    read |= {"deepseek_explained": PACKAGE / "__init__.py"}
    read |= {name: SOURCES / f"{name}.py" for name in PAGE}
    read |= {path.stem: path for path in sorted((SOURCES / "stand_ins").glob("*.py"))}
    texts = {name: path.read_text(encoding="utf-8") for name, path in read.items()}
    names = set().union(*(named_ids(texts[name]) for name in texts))
    files = {"deepseek_explained/ledger.toml": part_of_ledger(names)}
    for path in sorted((PACKAGE / "configs").glob("*.json")):
        files[f"deepseek_explained/configs/{path.name}"] = path.read_text(encoding="utf-8")
    return texts | {"inlined": f"FILES = {files!r}\n"}


def engine():
    """The program of the worker that runs the calculators."""
    whole = library()
    modules = {name: whole[name] for name in LIBRARY}
    modules["itertools"][1] += PAIRWISE
    for name, text in sources().items():
        modules[name] = [".py", text, [], *([1] if name == "deepseek_explained" else [])]
    brython = (data_folder() / "brython.js").read_text(encoding="utf-8")
    worker = (
        # In a worker Brython cannot find its own address, which it needs for nothing here.
        'self.__BRYTHON__ = {brython_path: "https://page.invalid/"};\n'
        f"{brython}\n__BRYTHON__.use_VFS = true;\n__BRYTHON__.update_VFS({json.dumps(modules)});\n"
        'brython({debug: 0, indexeddb: false});\n__BRYTHON__.runPythonSource("import page", "start");\n'
    )
    return worker


def write_engine(app, exception):
    if not exception and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / "calculator_engine.js"
        target.write_text(
            f"window.calculatorEngine = {delivery.packed(engine())};\n", encoding="utf-8"
        )


def control(calculator, field):
    """One labelled input, with places for its help and for a message."""
    name = f"{calculator.key}--{field.name}"
    described = f"{name}--unit {name}--message" if field.unit else f"{name}--message"
    same = f'id="{name}" name="{field.name}" aria-describedby="{described}"'
    if field.options:
        choices = "".join(
            f'<option value="{value}"{" selected" * (value == field.default)}>{html.escape(label)}</option>'
            for value, label in field.options.items()
        )
        box = f"<select {same}>{choices}</select>"
    elif field.rows:
        box = f'<textarea {same} rows="{field.rows}" spellcheck="false"></textarea>'
    else:
        box = f'<input {same} value="{html.escape(field.default)}" inputmode="decimal" autocomplete="off">'
    unit = (
        f'<span class="unit" id="{name}--unit">{html.escape(field.unit)}</span>'
        if field.unit
        else ""
    )
    wide = " wide" if field.rows else ""
    return (
        f'<div class="calculator-field{wide}"><label for="{name}">{html.escape(field.label)}</label>{box}{unit}'
        f'<p class="calculator-message" id="{name}--message" hidden></p></div>'
    )


def form(calculator):
    """All inputs of a calculator, those of one uncertain number in a box with its reason."""
    parts = []
    for part, groups in calculators.by_part(calculator):
        body = ""
        for group, fields in groups:
            controls = "".join(control(calculator, field) for field in fields)
            if group:
                reason = f'<p class="reason">{html.escape(fields[0].reason)}</p>'
                legend = html.escape(group[0].upper() + group[1:])
                controls = f"<fieldset><legend>{legend}</legend>{controls}{reason}</fieldset>"
            body += controls
        if part:
            body = f"<details><summary>{html.escape(part)}</summary><div>{body}</div></details>"
        parts.append(body)
    label = f"Inputs: {calculator.key.replace('-', ' ')}"
    return f'<form aria-label="{label}">{"".join(parts)}{BUTTONS}</form>'


BUTTONS = """<p class="calculator-message" data-general hidden></p><p class="calculator-buttons">
<button type="reset">Back to the defaults</button>
<button type="button" data-do="link">Copy a link</button>
<button type="button" data-do="copy">Copy the tables</button>
<button type="button" data-do="csv">Download CSV</button>
<button type="button" data-do="json">Download JSON</button></p>"""


def data(name, content):
    """Data for the script, in a form that no browser runs."""
    text = json.dumps(content).replace("</", "<\\/")
    return f'<script type="application/json" data-{name}>{text}</script>'


class CalculatorDirective(SphinxDirective):
    """One calculator: its form, and the result for its defaults."""

    required_arguments = 1

    def run(self):
        for path in (*SOURCES.rglob("*.py"), facts.LEDGER_PATH):
            self.env.note_dependency(str(path))
        try:
            calculator, _ = calculators.parse(self.arguments[0])
        except ValueError as error:
            raise self.error(str(error)) from None
        reply = calculators.answer(calculator.key, {})
        content = reply.pop("html")
        extra = data("reply", reply)
        if calculator.key == "model-bill":
            folder = PACKAGE / "configs"
            extra += data(
                "configs",
                {
                    path.stem: path.read_text(encoding="utf-8")
                    for path in sorted(folder.glob("*.json"))
                },
            )
        text = (
            f'<div class="calculator" data-calculator="{calculator.key}">{form(calculator)}'
            '<p class="calculator-status" role="status"></p>'
            f'<div class="calculator-result">{content}</div>{extra}</div>'
        )
        return [nodes.raw("", text, format="html")]


class CalculatorLinks(SphinxTransform):
    """Links to `calculator.md#KEY&NAME=VALUE`: the inputs are tried, the address is kept."""

    default_priority = 900

    def apply(self, **kwargs):
        for node in list(self.document.findall(addnodes.pending_xref)):
            target = node.get("reftargetid") or ""
            is_page = node.get("reftarget") == self.config.book_calculator_doc
            if node.get("refdomain") != "doc" or not is_page or "&" not in target:
                continue
            try:
                calculator, typed = calculators.parse(unquote(target))
                reply = calculators.answer(calculator.key, typed, draws=1)
                if "message" in reply:
                    raise ValueError(reply["message"])
            except ValueError as error:
                logger.warning("%s: %s", target, error, location=node, type="calculator")
            label = nodes.inline("", "", *node.children)
            where = {"refdomain": "", "reftype": "calculator", "reftarget": target}
            where["refdoc"] = self.env.docname
            node.replace_self(
                addnodes.pending_xref("", label, refexplicit=True, refwarn=True, **where)
            )


def resolve_link(app, env, node, label):
    if node.get("reftype") != "calculator":
        return None
    page = env.config.book_calculator_doc
    return make_refnode(app.builder, node["refdoc"], page, node["reftarget"], label)


def add_files(app, pagename, templatename, context, doctree):
    if doctree is not None and 'class="calculator"' in context.get("body", ""):
        for script in ("unpack.js", "calculator.js"):
            app.add_js_file(script, loading_method="defer")
        app.add_css_file("calculator.css")


def setup(app):
    app.add_config_value("book_calculator_doc", "book/calculator", "env")
    app.add_directive("calculator", CalculatorDirective)
    app.add_transform(CalculatorLinks)
    app.connect("missing-reference", resolve_link)
    app.connect("html-page-context", add_files)
    app.connect("build-finished", write_engine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
