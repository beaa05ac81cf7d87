"""Examinations of the exercises of chapter 01, tensors."""

import numpy as np
import torch

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "01.1",
    "A single number as an index removes its axis, a slice keeps it; sum(dim=…) removes an axis too.",
    "stack adds a new axis at the place dim. For the product, write the shapes above each other, right-aligned.",
    "A matrix product works on the last two axes; permute(2, 0, 1) puts the old axis 2 first, then 0, then 1.",
)
def six_shapes(shape_a, shape_b, shape_c, shape_d, shape_e, shape_f):
    t = torch.zeros(4, 1, 6)
    cases = {
        "shape_a": (
            shape_a,
            t[0],
            {
                "a: a single number as an index removes its axis.": (1, 1, 6),
                "a: t[0] takes the first of the four along axis 0; the axes 1 and 2 both stay.": (
                    6,
                ),
            },
        ),
        "shape_b": (
            shape_b,
            t[:, 0, ::2],
            {
                "b: the 0 in the middle removes axis 1.": (4, 1, 3),
                "b: ::2 takes every other of the six, not two of them.": (4, 2),
                "b: ::2 takes every other column, so that not all six are left.": (4, 6),
            },
        ),
        "shape_c": (
            shape_c,
            t.sum(dim=1),
            {
                "c: sum removes the axis it runs over; it would stay with keepdim=True.": (4, 1, 6),
                "c: dim=1 is the axis that goes, not the one that is left.": (1,),
                "c: only axis 1 goes; the axes 0 and 2 stay.": (4,),
            },
        ),
        "shape_d": (
            shape_d,
            torch.stack([t, t], dim=1),
            {
                "d: that is cat; stack puts the two side by side along a new axis.": (4, 2, 6),
                "d: the new axis of stack stands at the place dim=1, not at the front.": (
                    2,
                    4,
                    1,
                    6,
                ),
                "d: the new axis comes before the old axis 1, not after it.": (4, 1, 2, 6),
            },
        ),
        "shape_e": (
            shape_e,
            t * torch.zeros(5, 1),
            {
                "e: sizes of 1 on either side are stretched: 1 meets 5 and becomes 5.": (4, 1, 6),
                "e: 6 meets 1 and stays 6: the larger of the two wins.": (4, 5, 1),
                "e: compare the sizes from the right; 4 meets nothing and stays.": (5, 6),
            },
        ),
        "shape_f": (
            shape_f,
            (t @ torch.zeros(6, 3)).permute(2, 0, 1),
            {
                "f: that is the product alone; permute then changes the order of its axes.": (
                    4,
                    1,
                    3,
                ),
                "f: permute lists old axes at their new places: the new axis 0 is the old axis 2.": (
                    1,
                    3,
                    4,
                ),
                "f: the product replaces the 6, over which it sums, by the 3.": (6, 4, 1),
            },
        ),
    }
    for name, (given, right, mistakes) in cases.items():
        if not isinstance(given, tuple | list):
            raise Wrong(f"{name} must be a shape: write a tuple such as (2, 3).")
        if len(given) != right.ndim and not any(tuple(given) == m for m in mistakes.values()):
            raise Wrong(f"{name} has {len(given)} sizes, but the tensor has {right.ndim} axes.")
        compare(given, right.shape, mistakes, name=name)


@exercise(
    "01.2",
    "Ask for each line: can the same memory serve, only read with other strides?",
    "A slice and a transposition only change strides. Another dtype needs other bytes.",
    "reshape copies when no single stride walks through the numbers in the new order; torch.tensor always copies.",
)
def view_or_copy(
    changed_by_a, changed_by_b, changed_by_c, changed_by_d, changed_by_e, changed_by_f
):
    cases = [
        (
            "changed_by_a",
            changed_by_a,
            lambda t: t[::2],
            "a: a slice with a step is a view with a larger stride: t does change.",
        ),
        (
            "changed_by_b",
            changed_by_b,
            lambda t: t.view(2, 3).T.reshape(6),
            "b: after the transposition no single stride fits, so reshape has to copy.",
        ),
        (
            "changed_by_c",
            changed_by_c,
            lambda t: torch.tensor(t.numpy()),
            "c: numpy() shares the memory, but torch.tensor copies it.",
        ),
        (
            "changed_by_d",
            changed_by_d,
            lambda t: t.view(2, 3).T,
            "d: view and .T only change shape and strides, the memory is that of t.",
        ),
        (
            "changed_by_e",
            changed_by_e,
            lambda t: t.to(torch.float64),
            "e: numbers of another type need memory of their own: to() copies here.",
        ),
        (
            "changed_by_f",
            changed_by_f,
            lambda t: torch.from_numpy(t.numpy()),
            "f: both steps of the NumPy bridge share the memory: t does change.",
        ),
    ]
    for name, given, make, diagnosis in cases:
        t = torch.arange(6.0)
        make(t).fill_(-1)
        changed = bool((t == -1).any())
        compare(given, changed, {diagnosis: not changed}, name=name)


@exercise(
    "01.3",
    "Two steps: bring the axes into the order (batch, channels, height, width), then join the last three.",
    "permute lists the old axes in their new order; the channels are axis 3.",
    "flatten(1) joins all axes from axis 1 on; view refuses after permute, reshape does not.",
)
def pictures_into_rows(to_rows):
    pictures = torch.randn(5, 4, 3, 2)  # (batch, height, width, channels)
    turned = np.stack([[p[:, :, c].ravel() for c in range(2)] for p in pictures.clone().numpy()])
    right = torch.tensor(turned.reshape(5, -1))
    compare(
        call(to_rows, pictures),
        right,
        {
            "each row goes pixel by pixel: bring the channels to the front before you flatten.": (
                pictures.flatten(1)
            ),
            "each channel is read column by column: height must come before width.": (
                pictures.permute(0, 3, 2, 1).flatten(1)
            ),
            "drop the axis of size 1 in the middle, which the notes have: one row per picture.": (
                right[:, None]
            ),
            "the whole batch has become one row: keep axis 0.": right.flatten(),
            "keep axis 0 and join all the others: the channels are still apart.": (
                right.reshape(5, 2, 12)
            ),
        },
        name="the rows of 5 pictures",
    )
    compare(
        call(to_rows, pictures[:1]),
        right[:1],
        {"a batch of one picture must stay a batch, of the shape (1, 24).": right[0]},
        name="the rows of a batch of one",
    )
    compare(
        call(to_rows, pictures.transpose(1, 2)),
        torch.tensor(turned.reshape(5, 2, 4, 3).swapaxes(2, 3).reshape(5, -1)),
        {
            "for a transposed batch you return the numbers as they lie in memory: resize_ does so.": right
        },
        name="the rows of a transposed batch",
    )


@exercise(
    "01.4",
    "How many whole weeks are there? Cut the rest off, then give the days two axes, weeks and weekdays.",
    "reshape(weeks, 7, stations), then sum over weekdays and stations: one number per week is left.",
    "max(dim=0) returns the value first and its position second.",
)
def record_week(record_week):
    counts = torch.randint(0, 100, (38, 3))  # 5 weeks and 3 days
    counts[16:23] += 80  # the best seven days lie across two weeks
    counts[-3:] += 700  # and the incomplete week would beat them all
    counts[1:7, 2] += 90  # the record of a single station is in week 0
    counts[12] += 300  # the best day is in week 1
    daily = counts.sum(1).numpy()
    weekly = np.add.reduceat(daily, range(0, 38, 7))[:5]
    best = int(weekly.argmax())
    sliding = np.convolve(daily[:35], np.ones(7, int), "valid")
    apart = counts[:35].reshape(7, 5, 3).sum((0, 2))
    single = counts[:35].reshape(5, 7, 3).sum(1)
    compare(
        call(record_week, counts),
        (best, int(weekly[best])),
        {
            "first the position, then the number of passengers (max returns them the other way).": (
                int(weekly[best]),
                best,
            ),
            "the last days are no whole week: leave them out.": (5, int(daily[35:].sum())),
            "this is the position of the week's first day; count in weeks.": (
                7 * best,
                int(weekly[best]),
            ),
            "these seven days belong to two weeks: weeks begin at day 0, 7, 14, …": (
                int(sliding.argmax()),
                int(sliding.max()),
            ),
            "weeks × weekdays is asked for: with reshape(7, weeks, …) no axis holds weeks.": (
                int(apart.argmax()),
                int(apart.max()),
            ),
            "this is the best week of a single station: sum over the stations too.": (
                int(single.max(1).values.argmax()),
                int(single.max()),
            ),
            "this is the best day of the network, not the best week.": (
                int(daily[:35].argmax()),
                int(daily[:35].max()),
            ),
            "the position is right, but the second number is the mean of a day: the sum is asked for.": (
                best,
                weekly[best] / 7,
            ),
        },
        name="(position, passengers)",
    )


@exercise(
    "01.5",
    "Give a and b shapes that broadcast to (n, m, axes): where does each need an axis of size 1?",
    "a[:, None] has the shape (n, 1, axes) and fits to (m, axes).",
    "Square the difference, sum over the last axis, take the root.",
)
def distances(distances):
    a, b = torch.randn(4, 3), torch.randn(5, 3)
    right = torch.linalg.vector_norm(torch.stack([row - b for row in a]), dim=2)
    steps = (a[:, None] - b).abs()
    compare(
        call(distances, a, b),
        right,
        {
            "the root is missing: these are the squared distances.": right.square(),
            "row i must belong to point i of a: the two are exchanged.": right.T,
            "the squares are missing: these are the sums of the steps along the axes.": steps.sum(
                2
            ),
            "sum over the axes of the space, not their mean.": steps.square().mean(2).sqrt(),
            "this is the largest step along one axis: add the squares of all.": steps.amax(2),
            "these are inner products: take the difference of the points first.": a @ b.T,
            "sum over the last axis only: one distance per pair of points is asked for.": (
                steps.square().sum(1).sqrt()
            ),
        },
        name="the distances of 4 points from 5",
        atol=1e-4,
    )


@exercise(
    "01.6",
    "First make z, the table whose columns have mean 0 and standard deviation 1.",
    "std(dim=0) divides by n - 1; with correction=0 it is the root of the mean square.",
    "z.T @ z sums the products of all pairs of columns over the days; the mean is asked for.",
)
def correlations(correlations):
    x = 3 + torch.randn(9, 4) @ torch.randn(4, 4)
    x = x + torch.tensor([0.0, 2, -4, 1])
    right = torch.corrcoef(x.T)
    root = x.square().mean(0).sqrt()
    compare(
        call(correlations, x),
        right,
        {
            "the diagonal must be 1: std divides by n - 1 unless you write correction=0, and the mean by n.": (
                right * 8 / 9
            ),
            "the diagonal must be 1: divide by n as the standard deviation does.": right * 9 / 8,
            "divide by the number of days: the mean of the products is asked for, not the sum.": (
                right * 9
            ),
            "you have divided by n - 1 at the std and left the sum undivided: take the mean.": right
            * 8,
            "these are covariances: divide each column by its standard deviation.": torch.cov(
                x.T, correction=0
            ),
            "these are covariances (by n - 1): divide each column by its standard deviation.": (
                torch.cov(x.T)
            ),
            "subtract the mean of each column first.": (x / x.std(0, correction=0)).T
            @ (x / x.std(0, correction=0))
            / 9,
            "subtract the mean of each column first: a standard deviation is measured from it.": (
                (x / root).T @ (x / root) / 9
            ),
            "you compare days with each other: the stations are the columns.": torch.corrcoef(x),
            "the mean and the deviation must be those of each column: dim=0.": _scaled_as_a_whole(
                x
            ),
        },
        name="the correlations",
    )


def _scaled_as_a_whole(x):
    """What comes out when one mean and one deviation serve all columns."""
    z = (x - x.mean()) / x.std(correction=0)
    return z.T @ z / len(x)
