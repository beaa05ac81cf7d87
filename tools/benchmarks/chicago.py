"""Tomorrow's passengers at 20 Chicago stations: the textbook LSTM against that of chapter 12."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn
from torch.nn import functional as F

from tools.benchmarks.chapters import define
from tools.benchmarks.recipes import Race, Recipe
from tools.benchmarks.watch import EnoughError, Watch
from utils.metrics import wmape
from utils.runtime import seed_everything
from utils.timeseries import Standardizer, sliding_windows
from utils.training import TensorBatches

RAW = (
    *("ridership", "weather", "dates", "names", "days", "flow", "WINDOW", "train", "valid", "test"),
    *("np", "pd", "USFederalHolidayCalendar", "sliding_windows", "nn"),
)


def _raw(watch: Watch):
    seed_everything(watch.seed)
    return define("12", RAW, device=watch.device)


class VectorLSTM(nn.Module):
    def __init__(self, stations: int, hidden: int = 32) -> None:
        super().__init__()
        self.lstm = nn.LSTM(stations, hidden, batch_first=True)
        self.out = nn.Linear(hidden, stations)

    def forward(self, past):  # (batch, days, stations)
        return self.out(self.lstm(past)[0][:, -1])  # (batch, stations)


def classic(watch: Watch) -> float:
    raw = _raw(watch)

    def error(model, part=raw.valid) -> float:
        with torch.no_grad():
            forecast = scale.inverse(model(past[part - raw.WINDOW]).cpu()).clamp(min=0)
        return wmape(forecast, raw.flow[part])

    watch.follow(error, every=77)
    scale = Standardizer.fit(raw.flow[: raw.valid[0]].float())
    past, future = sliding_windows(scale.transform(raw.flow.float()), raw.WINDOW, 1)
    past, future = past.to(watch.device), future[:, 0].to(watch.device)
    rows = raw.train - raw.WINDOW
    batches = TensorBatches(past[rows], future[rows], 64, shuffle=True)
    net = VectorLSTM(20).to(watch.device)
    optimizer = torch.optim.Adam(net.parameters(), 0.001)
    watch.fit(net, batches, F.mse_loss, optimizer, 30)
    return error(net, raw.test)


def course(watch: Watch) -> float:
    raw = _raw(watch)
    plain = define("12", ["fit"])

    def fit(model, loss_of, items, *options):
        watch.model = loss_of
        started = False

        def loss(batch):
            nonlocal started
            if started:
                watch.tick()
            started = True
            return loss_of(batch)

        with suppress(EnoughError):
            plain.fit(model, loss, items, *options)
            watch.tick()
        return model.eval()

    def error(loss_of) -> float:
        with torch.no_grad():
            return loss_of(raw.valid).item() / raw.flow[raw.valid].mean().item()

    watch.follow(error, every=21)
    chapter = define("12", ["learn", "seen", "calendar", "MetroLSTM"], fit=fit, **vars(raw))
    net = chapter.MetroLSTM(20, chapter.seen.shape[1], chapter.calendar.shape[1])
    forecast = chapter.learn(net, chapter.seen, 1, chapter.calendar)
    return wmape(forecast[raw.test], raw.flow[raw.test])


RACE = Race(
    title="Chicago 'L', one day ahead",
    measure="WMAPE in the validation year",
    form=".2%",
    at_most=True,
    targets={0.09: "", 0.042: "the bar of chapter 12"},
    recipes={
        "classic": Recipe(
            classic,
            "the notes stop before a forecast of their own (N0-70); their parts put together: windows of 21 days "
            "(N0-33), standardised counts, an LSTM with 32 units and a linear layer (N0-44), squared error, Adam "
            "0.001 (N0-56), batches of 64, 30 epochs.",
        ),
        "course": Recipe(
            course,
            "the same LSTM on what the seasonal forecast leaves, with the calendar; absolute error in passengers, "
            "Adam with one cycle up to 0.01, 15 epochs; the seasonal forecast is in the time (chapter 12, *The "
            "network*).",
        ),
    },
)
