"""Typical wrong answers to the exercises of chapter 03: (code, part of the diagnosis)."""

DATASET = """
class AheadWindows(Dataset):
    def __init__(self, series, input_len, horizon):
        self.series, self.input_len, self.horizon = series, input_len, horizon
    def __len__(self):
        return {length}
    def __getitem__(self, i):
        end = i + self.input_len
        return {inputs}, {target}
"""


def _windows(
    length="len(self.series) - self.input_len - self.horizon + 1",
    inputs="self.series[i:end]",
    target="self.series[end + self.horizon - 1]",
):
    return DATASET.format(length=length, inputs=inputs, target=target)


LOADER = """
def load(dataset, order, batch_size):
    batches = []
    for start in range(0, {stop}, batch_size):
        items = [dataset[i] for i in {chosen}]
        batches.append({batch})
    return batches
"""
STACKED = "tuple(torch.stack(parts) for parts in zip(*items))"


def _loader(stop="len(order)", chosen="order[start : start + batch_size]", batch=STACKED):
    return LOADER.format(stop=stop, chosen=chosen, batch=batch)


SCALE = """
def scale_with_gaps(x, n_train):
    {first}
    train = x[:n_train]
    mean = {mean}
    std = {std}
    z = (x - mean) / {divisor}
    return {result}
"""


def _scale(
    first="pass",
    mean="train.nanmean(0)",
    std="(train - train.nanmean(0)).square().nanmean(0).sqrt()",
    divisor="torch.where(std > 0, std, 1.0)",
    result="torch.where(z.isnan(), 0.0, z)",
):
    return SCALE.format(first=first, mean=mean, std=std, divisor=divisor, result=result)


MEANS = """
def weekday_mean(counts, weeks):
    days = {days}
    past = torch.full((weeks, *counts.shape), float("nan"))
    for w in {range}:
        lag = {lag}
        if lag < len(days):
            past[w - 1, lag:] = days[: len(days) - lag]
    return {result}
"""


def _means(
    days="torch.where(counts > 0, counts, float('nan'))",
    weeks="range(1, weeks + 1)",
    lag="7 * w",
    result="past.nanmean(0)",
):
    return MEANS.format(days=days, range=weeks, lag=lag, result=result)


WRONG = {
    "03.1": [
        (
            "def epoch_plan(n, batch_size, drop_last): return n // batch_size, batch_size",
            "an incomplete last batch is a batch too",
        ),
        (
            "def epoch_plan(n, batch_size, drop_last): return -(-n // batch_size), n % batch_size",
            "with drop_last=True the incomplete batch is not served",
        ),
        (
            "def epoch_plan(n, batch_size, drop_last):\n"
            "    if drop_last: return n // batch_size, batch_size\n"
            "    return -(-n // batch_size), n % batch_size",
            "it does not have 0 examples",
        ),
        (
            "def epoch_plan(n, batch_size, drop_last):\n"
            "    if drop_last: return n // batch_size, batch_size\n"
            "    return n // batch_size + 1, n % batch_size",
            "there is no further batch with 0",
        ),
        (
            "def epoch_plan(n, batch_size, drop_last):\n"
            "    if drop_last: return n // batch_size, n % batch_size\n"
            "    return -(-n // batch_size), n % batch_size or batch_size",
            "all batches are full, the last one too",
        ),
        (
            "def epoch_plan(n, batch_size, drop_last): return n % batch_size, -(-n // batch_size)",
            "first the number of batches",
        ),
    ],
    "03.2": [
        (
            _windows(length="len(self.series) - self.input_len - self.horizon"),
            "one window is missing, the newest",
        ),
        (_windows(length="len(self.series) - self.input_len + 1"), "must still be there"),
        (_windows(length="len(self.series)"), "the length of the series"),
        (
            _windows(target="self.series[min(end + self.horizon, len(self.series) - 1)]"),
            "one step too far",
        ),
        (_windows(target="self.series[end]"), "is the very next step"),
        (_windows(target="self.series[end : end + self.horizon]"), "all steps on the way"),
        (
            _windows(target="self.series[end + self.horizon - 1 : end + self.horizon]"),
            "without an axis of size 1",
        ),
        (_windows(target="self.series[i + self.horizon]"), "not from the first"),
        (_windows(inputs="self.series[i : end + 1]"), "one input is missing or too many"),
        ("def AheadWindows(series, input_len, horizon): return 3", "a class is asked for"),
    ],
    "03.3": [
        (_loader(stop="len(order) - batch_size + 1"), "the last, smaller batch is missing"),
        (
            _loader(
                stop="len(dataset)", chosen="range(start, min(start + batch_size, len(dataset)))"
            ),
            "you go through the items from 0 on",
        ),
        (
            _loader(chosen="range(start, min(start + batch_size, len(order)))"),
            "keep their own order",
        ),
        (
            _loader(batch="(torch.cat([x for x, _ in items]), torch.stack([y for _, y in items]))"),
            "joined along an axis they have",
        ),
        (_loader(batch="items"), "a list of the single pairs"),
        (_loader(batch="tuple(zip(*items))"), "still a tuple of single tensors"),
        (
            _loader(
                batch="(torch.stack([x for x, _ in items], -1), torch.stack([y for _, y in items]))"
            ),
            "the new axis must come first",
        ),
        (
            "def load(dataset, order, batch_size):\n"
            "    return [dataset[order[s:s + batch_size]] for s in range(0, len(order), batch_size)]",
            "your code raises TypeError",
        ),
        (
            "def load(dataset, order, batch_size):\n"
            "    return [tuple(part[None] for part in dataset[i]) for i in order]",
            "yours are 7",
        ),
    ],
    "03.4": [
        (_scale(first="n_train = len(x)"), "come from all days"),
        (
            _scale(first="x = torch.where(x.isnan(), 0.0, x)"),
            "filled with 0 before scaling",
        ),
        (_scale(result="z"), "the gaps are still nan"),
        (_scale(divisor="std", result="z.nan_to_num()"), "makes huge numbers"),
        (_scale(divisor="std"), "is divided by 0: divide it by 1"),
        (
            _scale(divisor="std", result="torch.where(z.isfinite(), z, 0.0)"),
            "has lost its shift",
        ),
        (_scale(mean="train.nanmean()", std="train[~train.isnan()].std(correction=0)"), "dim=0"),
        (
            _scale(
                std="torch.stack([c[~c.isnan()].std() for c in train.T])",
            ),
            "divided by n - 1",
        ),
        (_scale(mean="train.mean(0)"), "Use nanmean"),
        (_scale(divisor="1.0"), "divide by the standard deviation, too"),
        (_scale(std="(x - mean).square().nanmean(0).sqrt()"), "not from all days"),
    ],
    "03.5": [
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.dropna().unique())\n"
            "    return torch.tensor([known.index(w) if w in known else 0 for w in words])",
            "count from 1: the code 0",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.dropna().unique())\n"
            "    codes = pd.Categorical(words.where(words.isin(known)), categories=known).codes\n"
            "    return torch.tensor(codes).long()",
            "not -1",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(set(train.dropna()) | set(words.dropna()))\n"
            "    return torch.tensor([known.index(w) + 1 if w in known else 0 for w in words])",
            "'lemon' has a code of its own",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.astype(object).map(str).unique())\n"
            "    words = words.astype(object).map(str)\n"
            "    return torch.tensor([known.index(w) + 1 if w in known else 0 for w in words])",
            "nan became a word",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.fillna('---').unique())\n"
            "    words = words.fillna('---')\n"
            "    return torch.tensor([known.index(w) + 1 if w in known else 0 for w in words])",
            "'---' has been numbered",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = list(train.dropna().unique())\n"
            "    return torch.tensor([known.index(w) + 1 if w in known else 0 for w in words])",
            "as they appear",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.dropna().unique())\n"
            "    return pd.Categorical(words.where(words.isin(known)), categories=known).codes + 1",
            "return a tensor",
        ),
        (
            "def word_codes(train, words):\n"
            "    known = sorted(train.dropna().unique())\n"
            "    return torch.tensor(pd.Categorical(words.where(words.isin(known)), categories=known).codes + 1)",
            "return int64",
        ),
        (
            "def word_codes(train, words):\n"
            "    words[words.isna()] = '---'\n"
            "    known = sorted(train.dropna().unique())\n"
            "    return torch.tensor([known.index(w) + 1 if w in known else 0 for w in words])",
            "changes the columns",
        ),
    ],
    "03.6": [
        (_means(lag="7 * (w - 1)"), "begin 7 days before"),
        (_means(days="counts"), "leave out the zeros"),
        (_means(result="past.nanmean(0).nan_to_num()"), "nan, not 0"),
        (_means(result="past.nan_to_num().sum(0) / weeks"), "you divide by weeks"),
        (
            _means(
                result="torch.cat([past[:, : 7 * weeks].sum(0) * float('nan'),"
                " past[:, 7 * weeks :].nanmean(0)])"
            ),
            "at the start some of the weeks",
        ),
        (_means(lag="w"), "go back in steps of 7"),
        (_means(weeks="[1]"), "last week alone"),
        (_means(days="counts", result="past.mean(0)"), "the start is all nan"),
    ],
}
