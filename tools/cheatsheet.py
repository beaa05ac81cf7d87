"""The cheat sheet: every function, class and method of the libraries that the chapters use.

:func:`uses` reads the code cells and finds the names, ``docs/cheatsheet.toml`` says in one line what
each of them does, :func:`page` joins the two. A test fails when a name has no line, or a line no use.

How far the code can be read without running it: a function or class is followed through imports and
renamings and is certain. For a method, the kind of the object before the dot (a tensor, a table, a
figure, ...) is worked out from how it was made. Where that is not known, as with the arguments of a
function, a method that Python's own types also have is left out, and any other counts for the first
of :data:`KINDS` that has it on the sheet, so that ``x.mean()`` is the tensor's. The result may thus
miss a chapter under *also in*, or name one too many.
"""

from __future__ import annotations

import ast
import builtins
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from utils.notebooks import (
    anchor_of,
    code_cells,
    find_chapters,
    headings_of,
    read_notebook,
    repository_root,
)
from utils.runtime import CourseError

LINES = repository_root() / "docs" / "cheatsheet.toml"
SHORT = {
    "torch.nn.functional": "F",
    "torch.nn": "nn",
    "numpy": "np",
    "pandas": "pd",
    "matplotlib.pyplot": "plt",
    "seaborn": "sns",
    "networkx": "nx",
}
"""How the chapters abbreviate."""
PACKAGES = ("torch", "torchvision", "numpy", "pandas", "sklearn", "matplotlib", "seaborn")
PACKAGES = (*PACKAGES, "networkx", "utils")
ATTRIBUTES = ("T", "data", "device", "dtype", "grad", "grad_fn", "is_leaf", "mT", "ndim", "shape")
ATTRIBUTES = (*ATTRIBUTES, "requires_grad")
"""What tensors have that is no method and yet worth a line."""
CONSTANTS = {"bool", "channels_last", "contiguous_format", "float16", "float32", "float64", "inf"}
CONSTANTS |= {"int", "int32", "int64", "nan", "pi", "strided", "uint8", "__version__", "COLORS"}
"""What is no function."""
MISTAKES = {"torch.no_drad", "torch.potim"}
"""What the chapters misspell on purpose."""
OTHERS = {"cleanup", "contains", "holidays", "set_major_locator", "strftime"}
"""Methods of classes that are not told apart."""
MODULES = {"torch.nn", "torch.nn.functional", "torch.optim", "torch.optim.lr_scheduler"}
MODULES |= {"torch.autograd", "torch.nn.utils.rnn", "torchvision.models", "torchvision.transforms"}
PYTHON = {name for kind in (str, list, dict, set, int, float, Path) for name in dir(kind)}


class Use(NamedTuple):
    """One name in one section."""

    name: str
    """As the chapters write it: ``F.relu``, ``torch.cat``, ``Tensor.view``."""
    chapter: str
    section: str
    """The text of the heading."""


def uses(listed: Collection[str], chapters: list[Path] | None = None) -> list[Use]:
    """Return every use of a library's name, in the order of the course, each section once.

    A name that is used and not listed is among them; ``?.name`` is a method of an unknown object.

    Args:
        listed: the names on the sheet.
        chapters: the notebooks; all of the course when left out.
    """
    found: dict[Use, None] = {}
    for path in chapters or find_chapters():
        nb = read_notebook(path)
        headings = headings_of(nb)
        reader = _Reader(listed)
        for number, cell in code_cells(nb):
            before = [h for h in headings if h.cell < number]
            for name in reader.read(cell.source):
                if before:
                    found[Use(name, path.stem, before[-1].text)] = None
    return list(found)


# --- reading code ---------------------------------------------------------------------------------


KINDS = ("Tensor", "Module", "Optimizer", "LRScheduler", "Axes", "Figure", "DataFrame", "Series")
"""The kinds that an unknown object is taken for, the first that has the method."""
CLASSES = (*KINDS, "DatetimeIndex", "Timestamp", "ndarray", "Generator", "Estimator", "DataLoader")
CLASSES = (*CLASSES, "Standardizer", "Scoreboard")
"""All kinds that are told apart; an *Estimator* is any model of scikit-learn."""
TABLES = ("DataFrame", "Series", "DatetimeIndex")
"""The kinds of pandas: methods that several of them have are listed under the first."""
FUNCTIONS_OF = {
    "torch": "Tensor",
    "torch.nn": "Module",
    "torch.nn.functional": "Tensor",
    "torch.optim": "Optimizer",
    "torch.optim.lr_scheduler": "LRScheduler",
    "torch.utils.data": "DataLoader",
    "torchvision": "Module",
    "numpy": "ndarray",
    "pandas": "DataFrame",
    "sklearn": "Estimator",
}
"""What a call of a function of a package returns, by the longest match."""
RETURNS = {
    "torch.is_tensor": "python",
    "torch.get_num_threads": "python",
    "torch.nn.Parameter": "Tensor",
    "torch.Generator": "python",
    "torch.no_grad": "python",
    "torch.device": "python",
    "torch.load": "python",
    "torch.nn.utils.rnn.pack_padded_sequence": "python",
    "torch.Tensor.item": "python",
    "numpy.random.default_rng": "Generator",
    "matplotlib.pyplot.gca": "Axes",
    "matplotlib.pyplot.figure": "Figure",
    "utils.timeseries.Standardizer": "Standardizer",
    "utils.timeseries.Standardizer.fit": "Standardizer",
    "utils.timeseries.seasonal_naive": "Tensor",
    "utils.timeseries.sliding_windows": "Tensor",
    "utils.graphs.normalise": "Tensor",
    "utils.scoreboard.Scoreboard": "Scoreboard",
    **dict.fromkeys((f"utils.datasets.load_{n}" for n in ("adult", "german_credit")), "tables"),
    "utils.datasets.load_chicago_l": "tables",
}
METHODS_RETURN = {
    **dict.fromkeys(("item", "tolist", "to_list", "to_dict", "size", "dim", "numel"), "python"),
    **dict.fromkeys(
        ("stride", "data_ptr", "is_contiguous", "nunique", "idxmin", "idxmax"), "python"
    ),
    **dict.fromkeys(("parameters", "named_parameters", "state_dict", "children"), "python"),
    "untyped_storage": "python",
    **dict.fromkeys(("numpy", "to_numpy"), "ndarray"),
    "value_counts": "DataFrame",
}
"""What methods return, where it is not the kind of thing that they belong to."""
FIELDS = {"weight": "Tensor", "bias": "Tensor", "connections": "DataFrame", "grad_fn": "python"}
"""Attributes whose kind is known whatever they belong to."""


def display_name(dotted: str) -> str:
    """Return a full name as the chapters write it, such as ``F.relu``."""
    package, _, name = dotted.rpartition(".")
    for long, short in SHORT.items():
        if package == long or package.startswith(f"{long}."):
            return f"{short}{package.removeprefix(long)}.{name}"
    return dotted


def full_name(display: str) -> str:
    """Return the name by which Python knows what the cheat sheet lists, a method by its class."""
    first, _, rest = display.partition(".")
    for long, short in SHORT.items():
        if first == short:
            return f"{long}.{rest}"
    return display


class _Reader:
    """Reads the cells of one chapter in their order and remembers what its names stand for."""

    def __init__(self, listed: Collection[str]) -> None:
        self.listed = listed
        self.own: set[str] = set()  # methods and attributes that the chapter defines
        self.names: dict[str, str] = {}  # imported: full name
        self.kinds: dict[str, str] = {}  # of variables
        self.modules: set[str] = set()  # classes of the chapter that are networks
        self.known: dict[ast.AST, str | None] = {}  # answers of :meth:`kind`, until a name changes
        self.returns: dict[str, str] = {}  # what its functions and other classes return

    def read(self, source: str) -> Iterator[str]:
        """Yield the names that a cell uses."""
        self.known.clear()
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                self.own.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                self.own.add(node.attr)
        for statement in tree.body:
            yield from self._statement(statement)

    def _statement(self, node: ast.stmt) -> Iterator[str]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            self._import(node)
            return
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield from self._definition(node)
            return
        for field in ast.iter_child_nodes(node):
            if isinstance(field, ast.expr):
                yield from self._names(field)
        self._bind(node)
        for field in ast.iter_child_nodes(node):
            if isinstance(field, ast.withitem):
                yield from self._names(field.context_expr)
            elif isinstance(field, ast.ExceptHandler):
                for inner in field.body:
                    yield from self._statement(inner)
            elif isinstance(field, ast.stmt):
                yield from self._statement(field)

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            if isinstance(node, ast.Import):
                name = alias.asname or alias.name.partition(".")[0]
                self.names[name] = alias.name if alias.asname else name
            else:
                self.names[alias.asname or alias.name] = f"{node.module}.{alias.name}"

    def _definition(self, node: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
        self.names.pop(node.name, None)
        self.kinds.pop(node.name, None)
        for decorator in node.decorator_list:
            yield from self._names(decorator)
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                yield from self._names(base)
                known = getattr(base, "id", None) in self.modules
                if known or self._resolve(base) == "torch.nn.Module":
                    self.modules.add(node.name)
            self.returns[node.name] = "Module" if node.name in self.modules else "python"
        outer = dict(self.names), dict(self.kinds)
        if isinstance(node, ast.ClassDef):
            self.kinds["self"] = "Module" if node.name in self.modules else "python"
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            for default in [*arguments.defaults, *filter(None, arguments.kw_defaults)]:
                yield from self._names(default)
            others = filter(None, (arguments.vararg, arguments.kwarg))
            for a in [*arguments.args, *arguments.kwonlyargs, *others]:
                if a.arg != "self":
                    self.names.pop(a.arg, None)
                    self.kinds.pop(a.arg, None)
        for inner in node.body:
            yield from self._statement(inner)
            if isinstance(inner, ast.Return) and inner.value and (kind := self.kind(inner.value)):
                self.returns[node.name] = kind
        self.names, self.kinds = outer  # what it binds is its own

    def _bind(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                self._assign(target, node.value)
        elif isinstance(node, ast.For):
            self._loop(node.target, node.iter)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple):
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                for one, its in zip(target.elts, value.elts, strict=True):
                    self._assign(one, its)
                return
            if self._resolve(getattr(value, "func", value)) == "matplotlib.pyplot.subplots":
                for one, kind in zip(target.elts, ("Figure", "Axes"), strict=False):
                    self._set(one, kind)
                return
        back = isinstance(value, ast.Name)  # `F = imported` puts a module back
        dotted, kind = self._resolve(value), self.kind(value)
        self._set(target, kind, binds=not back)
        if isinstance(target, ast.Name) and dotted is not None:
            self.names[target.id] = dotted

    def _loop(self, target: ast.expr, over: ast.expr) -> None:
        called = getattr(over, "func", None)
        function = called.id if isinstance(called, ast.Name) else ""
        if isinstance(over, ast.Call) and isinstance(target, ast.Tuple):
            if function == "zip":
                for one, its in zip(target.elts, over.args, strict=False):
                    self._loop(one, its)
                return
            if function == "enumerate":
                self._set(target.elts[0], "python")
                self._loop(target.elts[1], over.args[0])
                return
        kind = self.kind(over)
        if isinstance(over, ast.List | ast.Tuple):
            kinds = {self.kind(e) for e in over.elts}
            kind = kinds.pop() if len(kinds) == 1 else None
        elif kind == "python":
            kind = "python" if function == "range" else None
        self._set(target, kind)

    def _set(self, target: ast.expr, kind: str | None, binds: bool = True) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._set(one, None if kind == "python" else kind)
        elif isinstance(target, ast.Name):
            self.known.clear()
            if binds:
                self.names.pop(target.id, None)
            if kind is None:
                self.kinds.pop(target.id, None)
            else:
                self.kinds[target.id] = kind

    # what an expression is

    def _resolve(self, node: ast.AST) -> str | None:
        """The full name of a library's object, or None."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._resolve(node.value)
            return owner and f"{owner}.{node.attr}"
        return None

    def kind(self, node: ast.AST) -> str | None:
        """What an expression yields: a name of :func:`_kinds`, ``python``, or None: unknown."""
        if node not in self.known:
            self.known[node] = self._kind(node)
        return self.known[node]

    def _kind(self, node: ast.AST) -> str | None:  # noqa: PLR0911 - a table of cases
        match node:
            case ast.Constant() | ast.JoinedStr() | ast.List() | ast.Dict() | ast.Tuple():
                return "python"
            case ast.ListComp() | ast.DictComp() | ast.SetComp() | ast.GeneratorExp() | ast.Set():
                return "python"
            case ast.Name(id=name):
                return self.kinds.get(name)
            case ast.NamedExpr(value=value) | ast.Starred(value=value):
                return self.kind(value)
            case ast.Attribute():
                return self._kind_of_attribute(node)
            case ast.Call():
                return self._kind_of_call(node)
            case ast.Subscript(value=value):
                kind = self.kind(value)
                if kind == "DatetimeIndex":
                    return "Timestamp"
                return None if kind == "python" else kind
            case ast.BinOp(left=left, right=right):
                kinds = [self.kind(left), self.kind(right)]
                known = [k for k in kinds if k not in (None, "python")]
                return known[0] if known else None if None in kinds else "python"
            case ast.Compare(left=left):
                return self.kind(left)
            case ast.UnaryOp(operand=operand):
                return self.kind(operand)
            case ast.IfExp(body=body, orelse=orelse):
                return self.kind(body) or self.kind(orelse)
        return None

    def _kind_of_attribute(self, node: ast.Attribute) -> str | None:
        owner = self.kind(node.value)
        if node.attr in FIELDS:
            return FIELDS[node.attr]
        if owner == "tables":
            return "DataFrame"
        if node.attr == "index" and owner in TABLES:
            return "DatetimeIndex"
        if node.attr in ("shape", "name", "stem"):
            return "python"
        return None if owner in ("Module", "python", "Estimator") else owner

    def _kind_of_call(self, node: ast.Call) -> str | None:  # noqa: PLR0911, PLR0912 - the same
        dotted = self._resolve(node.func)
        if dotted is not None:
            if dotted in RETURNS:
                return RETURNS[dotted]
            package = dotted
            while package := package.rpartition(".")[0]:
                if package in FUNCTIONS_OF:
                    return FUNCTIONS_OF[package]
            return None
        if isinstance(node.func, ast.Name):
            name = node.func.id
            if name in self.returns:
                return self.returns[name]
            if self.kinds.get(name) == "Module":
                return "Tensor"
            return "python" if name in vars(builtins) else None
        if isinstance(node.func, ast.Attribute):
            if node.func.attr in METHODS_RETURN:
                return METHODS_RETURN[node.func.attr]
            owner = self.kind(node.func.value)
            if owner == "Module" and f"Module.{node.func.attr}" not in self.listed:
                return None  # a method of the chapter's own network
            if owner == "Estimator" and node.func.attr == "fit":
                return owner
            if owner in TABLES and node.func.attr in ("plot", "barh"):
                return "Axes"
            if owner is None and (method := self._method(node.func)):
                owner, _, name = method.partition(".")
                if f"Module.{name}" in self.listed:  # .to() and the like
                    return None
            if getattr(node.func.value, "id", None) in self.returns:
                return "python"  # a class method of the chapter
            return None if owner in ("python", "Estimator") else owner
        return "Tensor" if self.kind(node.func) == "Module" else None

    # the names

    def _names(self, node: ast.expr) -> Iterator[str]:  # noqa: PLR0912 - the same
        if isinstance(node, ast.Name | ast.Attribute):
            if (dotted := self._resolve(node)) is not None:
                if name := _listed(dotted):
                    yield name
                return
            if isinstance(node, ast.Attribute):
                if node.attr in ATTRIBUTES and (name := self._method(node)):
                    yield name
                yield from self._names(node.value)
            return
        method = node.func if isinstance(node, ast.Call) else None
        if isinstance(method, ast.Attribute) and self._resolve(method) is None:
            yield from filter(None, [self._method(method)])
        if isinstance(node, ast.Lambda):
            hidden = {a.arg: self.kinds.pop(a.arg, None) for a in node.args.args}
            yield from self._names(node.body)
            self.kinds.update({k: v for k, v in hidden.items() if v})
            return
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            outer = dict(self.kinds)
            for generator in node.generators:
                yield from self._names(generator.iter)
                self._loop(generator.target, generator.iter)
                for condition in generator.ifs:
                    yield from self._names(condition)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            for part in parts:
                yield from self._names(part)
            self.kinds = outer
            return
        for field in ast.iter_child_nodes(node):
            if isinstance(field, ast.keyword):
                yield from self._names(field.value)
            elif isinstance(field, ast.expr):
                yield from self._names(field)

    def _method(self, node: ast.Attribute) -> str | None:
        kind, name = self.kind(node.value), node.attr
        if kind == "python" or name.startswith("_"):
            return None
        candidates = TABLES if kind in TABLES else (kind,) if kind in CLASSES else ()
        unknown = name not in PYTHON and getattr(node.value, "id", None) != "self"
        for candidate in (*candidates, *(KINDS if unknown else ())):
            if f"{candidate}.{name}" in self.listed:
                return f"{candidate}.{name}"
        if name in ATTRIBUTES or name in self.own or name in OTHERS or name[0].isupper():
            return None
        if not (candidates or unknown) or (kind in TABLES and name in PYTHON):
            return None
        return f"{candidates[0] if candidates else '?'}.{name}"


def _listed(dotted: str) -> str | None:
    """The name of a library's function or class as it is listed; None for what is not listed."""
    parts = dotted.split(".")
    if len(parts) == 1 or parts[0] not in PACKAGES or parts[-1] in CONSTANTS or dotted in MODULES:
        return None
    classes = [i for i, part in enumerate(parts) if part[0].isupper()]
    if dotted in MISTAKES:
        return None
    if classes and any(part.isupper() for part in parts[classes[0] + 1 :]):  # member of an enum
        parts = parts[: classes[0] + 1]
    return display_name(".".join(parts))


# --- the page -------------------------------------------------------------------------------------


def lines_of(path: Path = LINES) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Return the groups, ``{title: {name: line}}``, and the places ``{name: "04#Losses"}``.

    Args:
        path: the TOML file.

    Raises:
        CourseError: the file is not TOML, or a name has two lines.
    """
    try:
        groups = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise CourseError(f"{path.name} is not TOML: {error}.") from None
    taught = groups.pop("taught", {})
    names = [name for group in groups.values() for name in group]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise CourseError(f"{path.name} has two lines for {', '.join(twice)}.")
    return groups, taught


def problems(found: list[Use] | None = None) -> list[str]:
    """Return what keeps the sheet and the chapters apart, one sentence each.

    Args:
        found: the uses, where they are known already.
    """
    groups, taught = lines_of()
    listed = {name: line for group in groups.values() for name, line in group.items()}
    used = {use.name for use in (uses(listed) if found is None else found)}
    sections = _sections()
    wrong = [f"{name} has no line." for name in sorted(used - set(listed))]
    wrong += [f"{name} has a line and is not used." for name in sorted(set(listed) - used)]
    wrong += [f"The line of {name} is too long." for name, t in listed.items() if len(t) > 79]
    wrong += [
        f"{name} is said to be taught in {place}, which is no section."
        for name, place in taught.items()
        if name not in used or place not in sections
    ]
    return wrong


def _sections() -> dict[str, tuple[str, str]]:
    """Chapter and heading of every section by its short form, such as ``04#Losses``."""
    return {
        f"{path.stem[:2]}#{heading.text}": (path.stem, heading.text)
        for path in find_chapters()
        for heading in headings_of(read_notebook(path))
    }


def page() -> str:
    """Return the cheat sheet as Markdown, with links as from a file in ``docs/``.

    Raises:
        CourseError: a name has no line, or a line no use.
    """
    groups, taught = lines_of()
    by_name: dict[str, list[Use]] = {name: [] for group in groups.values() for name in group}
    found = uses(by_name)
    if wrong := problems(found):
        raise CourseError(f"docs/{LINES.name} does not fit the chapters: {' '.join(wrong[:5])}")
    for use in found:
        by_name[use.name].append(use)
    sections = _sections()
    parts = [_HEAD.format(count=len(by_name))]
    for title, group in groups.items():
        parts += [f"## {title}", "", "| name | what it does | taught in | also in |"]
        parts.append("|---|---|---|---|")
        for name in sorted(group, key=lambda name: (name.lower(), name)):
            here = by_name[name]
            # a set-up cell stands below the title and teaches nothing
            first = next((use for use in here if "·" not in use.section), here[0])
            chapter, section = first.chapter, first.section
            if name in taught:
                chapter, section = sections[taught[name]]
            others = dict.fromkeys(use.chapter for use in here)
            others.pop(chapter, None)
            also = ", ".join(f"[{o[:2]}](../notebooks/{o}.ipynb)" for o in others)
            line = group[name].replace("|", r"\|")
            parts.append(f"| `{name}` | {line} | {link(chapter, section)} | {also} |")
        parts.append("")
    return "\n".join(parts)


_HEAD = """# Cheat sheet

Every function, class and method of the libraries that the chapters use: {count} names, each with
what it does, the section that teaches it, and the other chapters that use it. `F` is
`torch.nn.functional`, `nn` is `torch.nn`, `np` NumPy, `pd` pandas, `plt` matplotlib's `pyplot`, `sns`
seaborn, `nx` networkx; `DataFrame` stands for the tables and columns of pandas, `Estimator` for any
model of scikit-learn. The page is made from the code of the chapters.
"""


def link(chapter: str, section: str) -> str:
    """Return a link to a section, such as ``[04 · Losses](../notebooks/...#Losses)``.

    Args:
        chapter: name of the chapter without ending.
        section: text of the heading.
    """
    label = section if "·" in section else f"{chapter[:2]} · {section}"
    return f"[{label}](../notebooks/{chapter}.ipynb#{anchor_of(section)})"
