"""Change one thing at a time in a module and see whether its unit tests notice: mutation testing.

`python tools/mutants.py [GROUP ...]` works in a copy of the project, fails when a group's tests kill less than
90 % of its mutants, and writes the score and the survivors to `tests/mutants.toml`. A survivor needs a `reason`,
written there by hand: why no test should kill it. `--again` runs the recorded survivors only.
"""

import argparse
import ast
import copy
import dataclasses
import gc
import hashlib
import importlib
import json
import math
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "tests" / "mutants.toml"
PACKAGE = "deepseek_explained"
WANTED = 0.9
SAMPLE = 200  # of the mutants of all torch modules together
TIMED = (
    "tests/test_total_cost.py::test_a_hundred_thousand_draws_in_ten_seconds"  # slower when watched
)
LIMIT = 16 * 2**30  # bytes of address space: a mutant may ask for any amount

# Group -> module -> the files that test it. The torch modules are tested by a sample.
GROUPS = {
    "config": {"config": ["config"]},
    "facts": {"facts": ["facts"]},
    "budget": {"budget": ["budget"]},
    "training_cost": {"training_cost": ["training_cost"]},
    "total_cost": {"total_cost": ["total_cost"]},
    "serving_cost": {"serving_cost": ["serving_cost"]},
    "exercises": {"exercises": ["exercises"]},
    "__main__": {"__main__": ["cli"]},
    "torch": {name: [name] for name in ("mla", "moe", "mtp", "tiny_deepseek")},
}

# --- What is changed

OPERATORS = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult},
    **{ast.FloorDiv: ast.Mult, ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult},
    **{ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt},
    **{ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In},
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
# Parts of the program that are no behaviour.
LEFT_OUT = {"annotation", "returns", "decorator_list"}


def replacements(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in the place of a node, each wrong in one way."""
    match node:
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float(value)) if math.isfinite(value):
            yield ast.Constant(2 * value + 1)
        case ast.Constant(value=str(value)):
            yield ast.Constant("" if value else "XX")
        case ast.JoinedStr():
            yield ast.Constant("")
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield changed(node, op=OPERATORS[type(op)]())
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield changed(node, ops=[*ops[:i], OPERATORS[type(op)](), *ops[i + 1 :]])
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Call(keywords=keywords):
            for i in range(len(keywords)):
                yield changed(node, keywords=keywords[:i] + keywords[i + 1 :])
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name])
        case ast.Return(value=ast.AST() as value) if ast.unparse(value) != "None":
            yield ast.Return(ast.Constant(None))
        case ast.Continue():
            yield ast.Break()
        case ast.Break():
            yield ast.Continue()
    if isinstance(node, ast.AugAssign | ast.Raise) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield ast.Pass()


def changed(node: ast.AST, **fields) -> ast.AST:
    new = copy.copy(node)
    for name, value in fields.items():
        setattr(new, name, value)
    return new


def negated(test: ast.AST) -> Iterator[ast.AST]:
    """The opposite of a condition, where `replacements` does not have it yet."""
    opposite = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.In | ast.NotIn
    match test:
        case ast.Compare(ops=[op]) if isinstance(op, opposite):
            pass
        case ast.UnaryOp(op=ast.Not()):
            pass
        case _:
            yield ast.UnaryOp(ast.Not(), test)


@dataclasses.dataclass
class Mutant:
    module: str
    where: str  # function or class
    line: str  # of the statement, its first
    number: int  # of the line in the file
    change: str
    place: list | ast.AST = dataclasses.field(repr=False)
    field: int | str
    new: ast.AST = dataclasses.field(repr=False)
    nth: int = 1  # of those that read the same

    @property
    def key(self) -> tuple:
        return self.module, self.where, self.line, self.change, self.nth

    def text(self, tree: ast.Module) -> str:
        """The module with the change."""
        get, put = (
            (list.__getitem__, list.__setitem__)
            if isinstance(self.place, list)
            else (getattr, setattr)
        )
        old = get(self.place, self.field)
        put(self.place, self.field, self.new)
        try:
            return ast.unparse(ast.fix_missing_locations(tree))
        finally:
            put(self.place, self.field, old)


def short(node: ast.AST) -> str:
    text = ast.unparse(node)
    first = text.split("\n")[0]
    return first[:97] + "..." if len(first) > 97 or first != text else text


def mutants(module: str, tree: ast.Module) -> list[Mutant]:
    found, seen = [], Counter()

    def add(node, place, field, where, statement, news):
        for new in news:
            change = difference(node, new)
            mutant = Mutant(module, where, short(statement), node.lineno, change, place, field, new)
            seen[mutant.key] += 1
            found.append(dataclasses.replace(mutant, nth=seen[mutant.key]))

    def walk(node, where, statement):
        for name, value in ast.iter_fields(node):
            if name in LEFT_OUT or (isinstance(node, ast.JoinedStr) and name == "format_spec"):
                continue
            children = enumerate(value) if isinstance(value, list) else [(name, value)]
            for field, child in children:
                if not isinstance(child, ast.AST) or no_behaviour(node, child):
                    continue
                inside = where
                if isinstance(child, ast.FunctionDef | ast.ClassDef):
                    inside = f"{where}.{child.name}".lstrip(".")
                line = child if isinstance(child, ast.stmt) else statement
                place = value if isinstance(value, list) else node
                if hasattr(child, "lineno"):
                    add(child, place, field, inside, line, replacements(child))
                    if (name == "test" and not isinstance(node, ast.Assert)) or name == "ifs":
                        add(child, place, field, inside, line, negated(child))
                walk(child, inside, line)

    walk(tree, "", tree)
    return found


def no_behaviour(parent: ast.AST, child: ast.AST) -> bool:
    """Docstrings, imports, `__all__`, and the text parts of an f-string, which goes as a whole."""
    match child:
        case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Constant() | ast.JoinedStr():
            return isinstance(parent, ast.JoinedStr | ast.FormattedValue)
    return False


def difference(old: ast.AST, new: ast.AST) -> str:
    if isinstance(new, ast.Call) and isinstance(old, ast.Call):
        gone = next(keyword for keyword in old.keywords if keyword not in new.keywords)
        return f"without {short(gone)}"
    return f"{short(old)} → {short(new)}"


# --- What the tests say


class Order:
    """A pytest plugin: runs the tests that may notice a change in a line, the fast before the slow, none for too long.

    They are those that run the line, and those that run no line of the module, which may in a process of their own.
    A line that runs when the module or the tests are imported, or in no test, is a matter for all of them.
    """

    def __init__(self, known: dict, number: int):
        self.known = known
        in_tests = {line for about in known["tests"].values() for line in about["lines"]}
        self.number = None if number in known["imported"] or number not in in_tests else number

    def pytest_collection_modifyitems(self, items):
        about = {item: self.known["tests"].get(item.nodeid) for item in items}
        items[:] = [
            item
            for item, known in about.items()
            if not (self.number and known and known["lines"] and self.number not in known["lines"])
        ]
        items.sort(key=lambda item: about[item]["seconds"] if about[item] else 0)

    def pytest_runtest_logstart(self, nodeid):
        seconds = self.known["tests"].get(nodeid, {"seconds": 1})["seconds"]
        # Of the processor's time, which a busy machine does not change. Nobody catches it: the process ends.
        signal.setitimer(signal.ITIMER_PROF, 10 + 5 * seconds)


class Watch:
    """A pytest plugin: which lines of a module each test runs, and how long it takes."""

    def __init__(self, root: Path, module: str):
        self.path, self.module = str(root / PACKAGE / f"{module}.py"), f"{PACKAGE}.{module}"
        self.known = {"imported": [], "tests": {}}
        self.needed = []  # what the module imports, itself not

    @contextmanager
    def lines(self):
        lines = set()

        def trace(frame, event, _):
            if frame.f_code.co_filename != self.path:
                return None
            lines.add(frame.f_lineno)
            return trace

        sys.settrace(trace)
        try:
            yield lines
        finally:
            sys.settrace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self):
        with self.lines() as lines:
            importlib.import_module(self.module)
            self.needed = [name for name in sys.modules if name != self.module]
            answer = yield
        self.known["imported"] = sorted(lines)
        return answer

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        start = time.perf_counter()
        with self.lines() as lines:
            answer = yield
        seconds = time.perf_counter() - start
        self.known["tests"][item.nodeid] = {"lines": sorted(lines), "seconds": seconds}
        return answer


def in_child(work, seconds: int) -> int | None:
    """Call `work` in a process of its own, for so many seconds of processor time. Its status; None if stopped."""
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        signal.alarm(10 * seconds)  # for one that waits
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
        silent = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silent, stream)
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    try:
        os.killpg(child, signal.SIGKILL)  # what it has started
    except ProcessLookupError:
        pass
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def tests(files: list[str], plugin: object) -> int:
    paths = [f"tests/test_{name}.py" for name in files]
    options = ["-x", "-q", "-p", "no:cacheprovider", f"--deselect={TIMED}"]
    return int(pytest.main([*options, *paths], [plugin]))


class Copy:
    """A copy of the project, where modules are changed and tested."""

    def __init__(self, folder: str):
        self.root = Path(folder) / "copy"
        leave = shutil.ignore_patterns(
            ".git", ".venv", "_build", "shared", "__pycache__", ".*_cache"
        )
        shutil.copytree(ROOT, self.root, ignore=leave)
        os.chdir(self.root)
        sys.path.insert(0, str(self.root))
        sys.dont_write_bytecode = False  # the tests are compiled once
        settings = {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        os.environ |= {"PYTHONPATH": str(self.root), **settings}

    def write(self, module: str, text: str) -> None:
        (self.root / PACKAGE / f"{module}.py").write_text(text, encoding="utf-8")
        for compiled in (self.root / PACKAGE / "__pycache__").glob(f"{module}.*.pyc"):
            compiled.unlink()

    def watch(self, module: str, files: list[str]) -> dict:
        """Run the tests on the module as it is, to know which line matters to which. Raises if one fails."""
        answer = self.root.parent / "answer.json"

        def work():
            plugin = Watch(self.root, module)
            status = tests(files, plugin)
            others = [name for name in sys.modules if not own(name)]
            answer.write_text(json.dumps([plugin.known, plugin.needed + others]), encoding="utf-8")
            return status

        def own(name):
            return name.split(".")[0] in (PACKAGE, "tests")

        for name in filter(own, list(sys.modules)):  # those that another module needed
            del sys.modules[name]

        if in_child(work, 600) != 0:
            raise SystemExit(f"{module}: the tests fail before anything is changed")
        known, names = json.loads(answer.read_text(encoding="utf-8"))
        for name in names:  # once here, so that each child has them: most of the time goes there
            try:
                importlib.import_module(name)
            except Exception:
                pass
        gc.freeze()  # no child need look through what was there before it
        return known

    def survives(self, module: str, text: str, files: list[str], known: dict, number: int) -> bool:
        """Whether all tests pass. A test that fails, cannot be imported or takes too long has noticed."""
        self.write(module, text)
        return in_child(lambda: tests(files, Order(known, number)), 60) not in (1, 2, 3, None)


# --- What is recorded


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def write_record(record: dict) -> None:
    lines = [
        "# Written by `make mutants`, but for the reasons: why no test should kill a survivor.\n"
    ]
    for group, about in record.items():
        lines.append(f"[{quoted(group)}]")
        for name, value in about.items():
            if name != "survivors":
                lines.append(f"{name} = {quoted(value) if isinstance(value, str) else value}")
        for survivor in about.get("survivors", []):
            lines.append(f"\n[[{quoted(group)}.survivors]]")
            for name, value in survivor.items():
                lines.append(f"{name} = {quoted(value) if isinstance(value, str) else value}")
        lines.append("")
    new = RECORD.with_suffix(".new")
    new.write_text("\n".join(lines), encoding="utf-8")
    new.replace(RECORD)


def read_record() -> dict:
    return tomllib.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def key(survivor: dict) -> tuple:
    return tuple(survivor[name] for name in ("module", "where", "line", "change", "nth"))


def chosen(everything: list[Mutant], size: int) -> list[Mutant]:
    """A sample that stays, as far as it can, when a module changes: those with the smallest hashes."""
    by_hash = sorted(everything, key=lambda m: hashlib.sha256(repr(m.key).encode()).digest())
    kept = {mutant.key for mutant in by_hash[:size]}
    return [mutant for mutant in everything if mutant.key in kept]


def run(group: str, project: Copy, before: dict, again: bool) -> dict:
    """Try the mutants of a group; what is to be recorded of it."""
    start = time.perf_counter()
    modules = GROUPS[group]
    texts = {
        name: (project.root / PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        for name in modules
    }
    trees = {name: ast.parse(text) for name, text in texts.items()}
    todo = [mutant for name, tree in trees.items() for mutant in mutants(name, tree)]
    if len(modules) > 1:
        todo = chosen(todo, SAMPLE)
    tried = Counter(mutant.module for mutant in todo)
    reasons = {key(survivor): survivor["reason"] for survivor in before.get("survivors", [])}
    source = hashlib.sha256("".join(texts.values()).encode()).hexdigest()[:12]
    again = again and source == before.get("source")  # else what was killed then says nothing now
    if again:
        todo = [mutant for mutant in todo if mutant.key in reasons]
    survivors = []
    for name, files in modules.items():
        of = [mutant for mutant in todo if mutant.module == name]
        known = project.watch(name, files) if of else {}
        for done, mutant in enumerate(of, 1):
            if project.survives(name, mutant.text(trees[name]), files, known, mutant.number):
                survivors.append(mutant)
                print(f"  survives: {name}.py, line {mutant.number}: {mutant.change}")
            if sys.stderr.isatty():
                print(f"\r{name} {done}/{len(of)} ", end="", file=sys.stderr, flush=True)
        project.write(name, texts[name])
    alive = Counter(mutant.module for mutant in survivors)
    killed = tried - alive
    by_module = ", ".join(f"{name} {killed[name]} of {tried[name]}" for name in modules)
    return {
        "mutants": tried.total(),
        "killed": killed.total(),
        **({"by_module": by_module} if len(modules) > 1 else {}),
        "source": source,
        "date": date.today().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "minutes": before.get("minutes", 0)
        if again
        else round((time.perf_counter() - start) / 60, 1),
        "survivors": [
            dict(zip(("module", "where", "line", "change", "nth"), mutant.key, strict=True))
            | {"reason": reasons.get(mutant.key, "")}
            for mutant in survivors
        ],
    }


def complaints(group: str, about: dict) -> list[str]:
    found = []
    score = about["killed"] / about["mutants"]
    if score < WANTED:
        found.append(f"{group}: {score:.1%} of the mutants are killed, expected {WANTED:.0%}")
    unexplained = sum(not survivor["reason"] for survivor in about["survivors"])
    if unexplained:
        found.append(f"{group}: {unexplained} survivors without a reason in {RECORD.name}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--again", action="store_true", help="only those that survived last time")
    options = parser.parse_args()
    unknown = set(options.groups) - set(GROUPS)
    if unknown:
        parser.error(f"no group {sorted(unknown)[0]}; there are {', '.join(GROUPS)}")
    record, status = read_record(), 0
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        project = Copy(folder)
        for group in options.groups or GROUPS:
            about = run(group, project, record.get(group, {}), options.again)
            record = read_record() | {group: about}
            write_record({name: record[name] for name in GROUPS if name in record})
            print(
                f"{group}: {about['killed']} of {about['mutants']} killed, {about['minutes']} min"
            )
            for complaint in complaints(group, about):
                print(complaint, file=sys.stderr)
                status = 1
        os.chdir(ROOT)
    return status


if __name__ == "__main__":
    sys.exit(main())
