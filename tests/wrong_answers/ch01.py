"""Typical wrong answers to the exercises of chapter 01: (code, part of the diagnosis)."""

SHAPES = {
    "shape_a": "(1, 6)",
    "shape_b": "(4, 3)",
    "shape_c": "(4, 6)",
    "shape_d": "(4, 2, 1, 6)",
    "shape_e": "(4, 5, 6)",
    "shape_f": "(3, 4, 1)",
}
CHANGED = {f"changed_by_{letter}": str(letter in "adf") for letter in "abcdef"}


def _with(answers, **wrong):
    """The right answers but for the named ones, as code."""
    return "\n".join(f"{name} = {value}" for name, value in (answers | wrong).items())


WRONG = {
    "01.1": [
        (_with(SHAPES, shape_a="(1, 1, 6)"), "a: a single number as an index removes"),
        (_with(SHAPES, shape_b="(4, 2)"), "takes every other of the six"),
        (_with(SHAPES, shape_c="(4, 1, 6)"), "with keepdim=True"),
        (_with(SHAPES, shape_d="(4, 2, 6)"), "that is cat"),
        (_with(SHAPES, shape_d="(2, 4, 1, 6)"), "not at the front"),
        (_with(SHAPES, shape_e="(4, 1, 6)"), "1 meets 5"),
        (_with(SHAPES, shape_f="(1, 3, 4)"), "the new axis 0 is the old axis 2"),
        (_with(SHAPES, shape_f="(4, 3)"), "shape_f has 2 sizes"),
        (_with(SHAPES, shape_a="6"), "write a tuple"),
        (_with(SHAPES, shape_b="('four', 3)"), "shape_b is not right"),
    ],
    "01.2": [
        (_with(CHANGED, changed_by_a="False"), "a: a slice with a step is a view"),
        (_with(CHANGED, changed_by_b="True"), "reshape has to copy"),
        (_with(CHANGED, changed_by_c="True"), "torch.tensor copies"),
        (_with(CHANGED, changed_by_d="False"), "the memory is that of t"),
        (_with(CHANGED, changed_by_e="True"), "another type need memory of their own"),
        (_with(CHANGED, changed_by_f="False"), "both steps of the NumPy bridge"),
        (_with(CHANGED, changed_by_d="'yes'"), "a bool is asked for"),
    ],
    "01.3": [
        ("def to_rows(pictures): return pictures.flatten(1)", "goes pixel by pixel"),
        (
            "def to_rows(pictures): return pictures.permute(0, 3, 2, 1).flatten(1)",
            "read column by column",
        ),
        ("def to_rows(pictures): return pictures.resize_(64, 1, 784)", "changes the inputs"),
        (
            "def to_rows(pictures): return pictures.permute(0, 3, 1, 2).reshape(len(pictures), 1, -1)",
            "drop the axis of size 1",
        ),
        (
            "def to_rows(pictures): return pictures.permute(0, 3, 1, 2).flatten(1).squeeze()",
            "must stay a batch",
        ),
        (
            "def to_rows(pictures):\n"
            "    b, h, w, c = pictures.shape\n"
            "    return pictures.permute(0, 3, 1, 2).view(b, c * h * w)",
            "view size is not compatible",
        ),
        ("def to_rows(pictures): return pictures.permute(0, 3, 1, 2).flatten(2)", "still apart"),
        (
            "def to_rows(pictures):\n"
            "    b, h, w, c = pictures.shape\n"
            "    if not pictures.is_contiguous(): pictures = pictures.transpose(1, 2)\n"
            "    return pictures.permute(0, 3, 1, 2).reshape(b, c * h * w)",
            "as they lie in memory",
        ),
    ],
    "01.4": [
        (
            "def record_week(counts):\n"
            "    n = len(counts) // 7\n"
            "    return counts[: 7 * n].view(n, 7, -1).sum((1, 2)).max(0)",
            "first the position",
        ),
        (
            "def record_week(counts):\n"
            "    weeks = torch.stack([week.sum() for week in counts.split(7)])\n"
            "    return weeks.argmax(), weeks.max()",
            "no whole week",
        ),
        (
            "def record_week(counts):\n"
            "    n = len(counts) // 7\n"
            "    weeks = counts[: 7 * n].reshape(7, n, -1).sum((0, 2))\n"
            "    return weeks.argmax(), weeks.max()",
            "no axis holds weeks",
        ),
        (
            "def record_week(counts):\n"
            "    days = counts[: len(counts) // 7 * 7].sum(1)\n"
            "    weeks = days.unfold(0, 7, 1).sum(1)\n"
            "    return weeks.argmax(), weeks.max()",
            "belong to two weeks",
        ),
        (
            "def record_week(counts):\n"
            "    n = len(counts) // 7\n"
            "    weeks = counts[: 7 * n].reshape(n, 7, -1).sum((1, 2))\n"
            "    return 7 * weeks.argmax(), weeks.max()",
            "count in weeks",
        ),
        (
            "def record_week(counts):\n"
            "    n = len(counts) // 7\n"
            "    weeks = counts[: 7 * n].reshape(n, 7, -1).sum(1).amax(1)\n"
            "    return weeks.argmax(), weeks.max()",
            "a single station",
        ),
        (
            "def record_week(counts):\n"
            "    n = len(counts) // 7\n"
            "    weeks = counts[: 7 * n].reshape(n, 7, -1).sum(2).float().mean(1)\n"
            "    return weeks.argmax(), weeks.max()",
            "the mean of a day",
        ),
        ("def record_week(counts): return counts.view(-1, 7, 3).sum((1, 2)).max(0)", "is invalid"),
    ],
    "01.5": [
        ("def distances(a, b): return ((a[:, None] - b) ** 2).sum(-1)", "the root is missing"),
        (
            "def distances(a, b): return ((b[:, None] - a) ** 2).sum(-1).sqrt()",
            "the two are exchanged",
        ),
        ("def distances(a, b): return (a[:, None] - b).abs().sum(-1)", "squares are missing"),
        ("def distances(a, b): return ((a - b) ** 2).sum(-1).sqrt()", "must match the size"),
        ("def distances(a, b): return ((a[:, None] - b) ** 2).mean(-1).sqrt()", "not their mean"),
        ("def distances(a, b): return a @ b.T", "inner products"),
        (
            "def distances(a, b): return ((a[:, None] - b) ** 2).sum(1).sqrt()",
            "over the last axis only",
        ),
    ],
    "01.6": [
        (
            "def correlations(x):\n    z = (x - x.mean(0)) / x.std(0)\n    return z.T @ z / len(x)",
            "std divides by n - 1",
        ),
        (
            "def correlations(x):\n"
            "    z = (x - x.mean(0)) / x.std(0, correction=0)\n    return z.T @ z",
            "divide by the number of days",
        ),
        (
            "def correlations(x):\n    z = x - x.mean(0)\n    return z.T @ z / len(x)",
            "these are covariances: ",
        ),
        (
            "def correlations(x):\n    z = x / x.std(0, correction=0)\n    return z.T @ z / len(x)",
            "subtract the mean of each column first.",
        ),
        ("def correlations(x): return torch.corrcoef(x)", "you compare days"),
        (
            "def correlations(x):\n"
            "    z = (x - x.mean()) / x.std(correction=0)\n    return z.T @ z / len(x)",
            "those of each column: dim=0",
        ),
        (
            "def correlations(x):\n    z = (x - x.mean(0)) / x.std(0)\n    return z.T @ z",
            "left the sum undivided",
        ),
    ],
}
