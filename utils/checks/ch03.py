"""Examinations of the exercises of chapter 03, data."""

import operator

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader, Dataset

from utils.checks.engine import Wrong, call, compare, exercise


@exercise(
    "03.1",
    "Try n = 10 and n = 12 with batches of 4 on paper.",
    "divmod(n, batch_size) gives the number of full batches, and what is left over.",
    "When nothing is left over, or the rest is dropped, the last batch is a full one.",
)
def epoch_plan(plan):
    for n, size in ((10, 4), (12, 4), (7, 7)):
        for drop_last in (False, True):
            loader = DataLoader(range(n), size, drop_last=drop_last)
            batches = [len(batch) for batch in loader]
            right, full, rest = (len(batches), batches[-1]), n // size, n % size
            if rest == 0:
                mistakes = {
                    "when nothing is left over, the last batch is a full one: it does not have 0 examples.": (
                        full,
                        0,
                    ),
                    "when nothing is left over, there is no further batch with 0 examples.": (
                        full + 1,
                        0,
                    ),
                    "when nothing is left over, the full batches are all there are: none comes after them.": (
                        full + 1,
                        size,
                    ),
                }
            elif drop_last:
                mistakes = {
                    "with drop_last=True the incomplete batch is not served.": (full + 1, rest),
                    "with drop_last=True all batches are full, the last one too.": (full, rest),
                    "the dropped batch is still counted.": (full + 1, size),
                }
            else:
                mistakes = {
                    "an incomplete last batch is a batch too, unless it is dropped.": (full, size),
                    "you round down: the incomplete batch, whose size you give, must be counted.": (
                        full,
                        rest,
                    ),
                    "the last batch holds only what is left over.": (full + 1, size),
                }
            mistakes["first the number of batches, then the examples in the last one."] = right[
                ::-1
            ]
            name = f"epoch_plan({n}, {size}, drop_last={drop_last})"
            compare(call(plan, n, size, drop_last), right, mistakes, name=name)


@exercise(
    "03.2",
    "Draw a series of 6 steps with input_len=2 and horizon=3, and count the places of the first step.",
    "From the first input to the target a window spans input_len + horizon steps; n - L + 1 of them fit.",
    "The last input of item i is step i + input_len - 1; the target lies horizon steps after it.",
)
def ahead_windows(windows):
    series, input_len, horizon = torch.randn(11), 3, 2
    made = call(windows, series, input_len, horizon)
    for method in ("__len__", "__getitem__"):
        if not hasattr(made, method):
            raise Wrong("a class is asked for that has the methods __len__ and __getitem__.")
    compare(
        call(made.__len__),
        7,
        {
            "one window is missing, the newest: from n - L steps the last window can still begin.": 6,
            "too many: the target of the last items would lie after the end of the series.": 8,
            "too many: the target lies horizon steps after the inputs, and must still be there.": 9,
            "this is the length of the series, not the number of items.": 11,
        },
        name="the length for 11 steps, input_len=3, horizon=2",
    )
    for i in (0, 6):
        x, y = series[i : i + 3], series[i + 4]
        further = series[i + 5] if i + 5 < 11 else y
        compare(
            call(made.__getitem__, i),
            (x, y),
            {
                "the target is one step too far: horizon=1 is the very next step.": (x, further),
                "the target is the very next step: go horizon steps beyond the last input.": (
                    x,
                    series[i + 3],
                ),
                "one step is asked for as the target: all steps on the way to it are given.": (
                    x,
                    series[i + 3 : i + 5],
                ),
                "the target must be the step itself, without an axis of size 1.": (x, y[None]),
                "the horizon counts from the last input, not from the first.": (x, series[i + 2]),
                "one input is missing or too many: i to i + input_len, the end excluded.": (
                    series[i : i + 4],
                    y,
                ),
                "the input starts one step late, at i + 1.": (series[i + 1 : i + 4], y),
            },
            name=f"item {i}",
        )
    table = torch.randn(9, 2)
    made = call(windows, table, 4, 1)
    compare(call(made.__len__), 5, name="the length for a series of shape (9, 2)")
    compare(
        call(made.__getitem__, 4),
        (table[4:8], table[8]),
        {"all features of the step are the target.": (table[4:8], table[8, 0])},
        name="item 4 of a series of shape (9, 2)",
    )


class _Items(Dataset):
    """Pairs that are handed out one by one."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[operator.index(i)], self.y[operator.index(i)]


@exercise(
    "03.3",
    "Take batch_size numbers from order at a time, and get the items one by one.",
    "range(0, len(order), batch_size) gives the places where the batches begin.",
    "You have pairs and need all first parts and all second parts: zip(*items) sorts them; then torch.stack.",
)
def own_loader(load):
    x, y = torch.randn(9, 2, 3), torch.randn(9)
    items, order = _Items(x, y), [5, 0, 8, 2, 7, 1, 4]
    right = [tuple(batch) for batch in DataLoader(items, batch_size=3, sampler=order)]
    straight = [tuple(batch) for batch in DataLoader(items, batch_size=3)]
    cuts = [order[0:3], order[3:6], order[6:]]
    result = call(load, items, order, 3)
    if isinstance(result, list | tuple) and len(result) > 3:
        raise Wrong(f"7 items in batches of 3 make 3 batches, and yours are {len(result)}.")
    compare(
        result,
        right,
        {
            "the last, smaller batch is missing.": right[:2],
            "you go through the items from 0 on: take them in the given order.": straight,
            "the items keep their own order: take them in the given one.": [
                *straight[:2],
                (x[6:7], y[6:7]),
            ],
            "the inputs are joined along an axis they have: stack makes a new one.": [
                (x[c].flatten(0, 1), y[c]) for c in cuts
            ],
            "a batch is a pair of stacked tensors: yours is a list of the single pairs.": [
                [items[i] for i in c] for c in cuts
            ],
            "stack the inputs and the targets: each is still a tuple of single tensors.": [
                (tuple(x[c]), tuple(y[c])) for c in cuts
            ],
            "the new axis must come first: stack along dim=0.": [
                (x[c].movedim(0, -1), y[c]) for c in cuts
            ],
            "targets and inputs are exchanged.": [batch[::-1] for batch in right],
        },
        name="the list of batches",
    )
    compare(call(load, items, order, 10), [(x[order], y[order])], name="the only batch of 10")


@exercise(
    "03.4",
    "First the mean of each station over x[:n_train]; Tensor.nanmean leaves the gaps out.",
    "The standard deviation is the root of the nanmean of the squared distances; where it is 0, divide by 1.",
    "Scale all days with these two, and replace nan by 0 as the very last step.",
)
def scale_with_gaps(scale):
    x = 10 + torch.randn(12, 4) * torch.tensor([1.0, 5, 2, 3])
    x[8:] += 6
    x[:8, 2] = 7.0  # never changes while we train
    gaps = torch.zeros(12, 4, dtype=torch.bool)
    gaps[[1, 4, 5, 9, 11, 3], [0, 0, 1, 1, 2, 3]] = True
    x[gaps] = float("nan")

    def scaled(mean, std):
        return torch.tensor(np.nan_to_num((x.numpy() - mean) / np.where(std > 0, std, 1)))

    train, every = x[:8].numpy(), x.numpy()
    filled, all_zero = np.nan_to_num(train), np.nan_to_num(every)
    mean, std = np.nanmean(train, 0), np.nanstd(train, 0)
    right = scaled(mean, std)
    by_zero = (x - torch.tensor(mean)) / torch.tensor(std)
    holey = torch.where(gaps, torch.nan, right)
    no_gap_in_training = ~gaps[:8].any(0)
    too_small = np.where(std > 0, np.nanstd(train, 0, ddof=1), 0)
    compare(
        call(scale, x, 8),
        right,
        {
            "mean and deviation come from all days: the test days are not known yet.": scaled(
                np.nanmean(every, 0), np.nanstd(every, 0)
            ),
            "the deviation must come from the training days too, not from all days.": scaled(
                mean, np.sqrt(np.nanmean((every - mean) ** 2, 0))
            ),
            "the deviation must be that of the training days, as the mean is.": scaled(
                mean, np.nanstd(every, 0)
            ),
            "a station with a gap has no mean(): it is nan. Use nanmean, which leaves gaps out.": (
                torch.where(no_gap_in_training, right, 0)
            ),
            "the gaps have been counted as zeros in the mean: fill them after scaling.": (
                scaled(filled.mean(0), filled.std(0))
            ),
            "the gaps have been filled with 0 before scaling, and are no longer 'as usual'.": (
                torch.tensor(
                    (all_zero - filled.mean(0)) / np.where(filled.std(0) > 0, filled.std(0), 1)
                )
            ),
            "the gaps are still nan: they shall become 0 at the end.": holey,
            "the station that never changes is divided by 0: divide it by 1.": torch.where(
                by_zero.isnan(), 0, by_zero
            ),
            "the station that never changes is divided by 0, and nan_to_num makes huge numbers of it.": (
                by_zero.nan_to_num()
            ),
            "the station that never changes has lost its shift: its test days are not 0.": torch.where(
                by_zero.isfinite(), by_zero, 0
            ),
            "one mean and one deviation for all: each station has its own (dim=0).": scaled(
                np.nanmean(train), np.nanstd(train)
            ),
            "the squared distances are divided by n - 1: their mean is asked for.": scaled(
                mean, too_small
            ),
            "subtract the mean, too.": scaled(0 * mean, std),
            "divide by the standard deviation, too.": scaled(mean, 0 * std),
        },
        name="the scaled table",
    )


@exercise(
    "03.5",
    "What do you know of the words before the test part comes? Number only those.",
    "known = sorted(train.dropna().unique()); a dict gives each of them its number.",
    "dict.get(word, 0) answers 0 for a word that is not there, and for a missing one.",
)
def word_codes(word_codes):
    missing = float("nan")
    train = pd.Series(["pear", missing, "fig", "pear", "apple", missing, "fig", "pear"])
    words = pd.Series(["fig", "lemon", missing, "pear", "apple", "fig"], index=[9, 4, 7, 1, 0, 2])
    copies = train.copy(), words.copy()
    result = call(word_codes, train, words)
    if not (train.equals(copies[0]) and words.equals(copies[1])):
        raise Wrong("your code changes the columns it was given: fill gaps in a copy.")
    if isinstance(result, np.ndarray | pd.Series | list):
        raise Wrong("return a tensor: torch.tensor makes one of your codes.")
    if isinstance(result, torch.Tensor) and result.dtype in (torch.int8, torch.int16, torch.int32):
        raise Wrong("return int64 codes: embeddings and one-hot vectors ask for them.")
    codes = torch.tensor
    compare(
        result,
        codes([2, 0, 0, 3, 1, 2]),
        {
            "count from 1: the code 0 is kept for what we know nothing about.": codes(
                [1, 0, 0, 2, 0, 1]
            ),
            "count from 1, and give 0 to what is missing or new, not -1.": codes(
                [1, -1, -1, 2, 0, 1]
            ),
            "the new word 'lemon' has a code of its own: number only the words of train.": codes(
                [2, 3, 0, 4, 1, 2]
            ),
            "a missing word has a code of its own (nan became a word): it gets 0.": codes(
                [2, 0, 3, 4, 1, 2]
            ),
            "a missing word has a code of its own: it gets 0.": codes([2, 0, 4, 3, 1, 2]),
            "'---' has been numbered among the words: a missing word gets 0.": codes(
                [3, 0, 1, 4, 2, 3]
            ),
            "the words are numbered as they appear: alphabetical order is asked for.": codes(
                [2, 0, 0, 1, 3, 2]
            ),
            "these are the codes of train: encode the column words.": codes(
                [3, 0, 2, 3, 1, 0, 2, 3]
            ),
            "the codes are in the order of the index: keep the order of the rows.": codes(
                [1, 3, 2, 0, 0, 2]
            ),
        },
        name="the codes of fig, lemon, nan, pear, apple, fig",
    )


@exercise(
    "03.6",
    "Make a stack of shifted tables: one that is a week late, one that is two weeks late, and so on.",
    "Start with torch.full((weeks, days, stations), nan), and put nan also in place of the zeros.",
    "nanmean(dim=0) leaves the nan out, and gives nan where there is nothing else.",
)
def weekday_mean(forecast):
    counts = torch.randint(50, 200, (33, 2)).float()
    counts[[3, 10, 12, 20], [0, 0, 1, 1]] = 0  # a station closed; once two weeks in a row
    table, weeks = counts.numpy(), 3

    def means(values, lags):
        """The nanmean over some earlier days."""
        out = np.full(values.shape, np.nan, np.float32)
        for t in range(len(values)):
            past = values[[t - lag for lag in lags if t >= lag]]
            for s in range(2):
                known = past[:, s][~np.isnan(past[:, s])]
                out[t, s] = known.mean() if len(known) else np.nan
        return torch.tensor(out)

    closed = np.where(table > 0, table, np.nan).astype(np.float32)
    right = means(closed, (7, 14, 21))
    zeros_in = means(table, (7, 14, 21))
    late = right.clone()
    late[:21] = torch.nan
    late_zeros = zeros_in.clone()
    late_zeros[:21] = torch.nan
    filled = [np.vstack([np.zeros((7 * w, 2)), table[: -7 * w]]) for w in (1, 2, 3)]
    undivided = np.mean(filled, axis=0, dtype=np.float32)
    compare(
        call(forecast, counts, weeks),
        right,
        {
            "the mean holds the day itself, which is to be forecast: begin 7 days before.": means(
                closed, (0, 7, 14)
            ),
            "the day itself is among the days of the mean: that is what we want to know.": means(
                closed, (0, 7, 14, 21)
            ),
            "days on which a station was closed are in the mean: leave out the zeros.": zeros_in,
            "at the start some of the weeks are there already: take the mean of those.": late,
            "the start is all nan, and the zeros are in the mean: leave out only what is missing or 0.": (
                late_zeros
            ),
            "you divide by weeks although some days are left out: divide by the number of the others.": (
                torch.tensor(undivided)
            ),
            "where no day is left the forecast is nan, not 0.": right.nan_to_num(),
            "these are the days just before: go back in steps of 7.": means(closed, (1, 2, 3)),
            "these are all days of the weeks before: only the same weekday counts.": means(
                closed, range(1, 22)
            ),
            "you look forward, to the same weekday of the weeks to come.": means(
                closed[::-1], (7, 14, 21)
            ).flip(0),
            "this is last week alone: take the mean over all the weeks.": means(closed, (7,)),
        },
        name="the forecast from 3 weeks",
    )
    compare(
        call(forecast, counts, 6),
        means(closed, range(7, 43, 7)),
        name="the forecast from 6 weeks of a series that has not so many",
    )
