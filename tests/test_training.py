"""The training loop against the obvious one, and what it does when things go wrong."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.data import DataLoader, TensorDataset

from utils.metrics import accuracy
from utils.runtime import CourseError
from utils.training import TensorBatches, evaluate, fit


@pytest.fixture
def data():
    torch.manual_seed(0)
    x = torch.randn(103, 5)  # 103 is prime: every batch size leaves a smaller last batch
    return x, x @ torch.randn(5, 1) + 0.1 * torch.randn(103, 1)


def make_model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))


def sgd(model, lr=0.05):
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def test_against_the_loop_written_out(data):
    x, y = data
    model = make_model()
    ours = copy.deepcopy(model)
    optimizer = sgd(model)
    torch.manual_seed(2)
    losses = []
    for _ in range(3):
        total = 0.0
        for rows in torch.randperm(len(x)).split(20):
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
        losses.append(total / len(x))
    torch.manual_seed(2)
    history = fit(ours, TensorBatches(x, y, 20, shuffle=True), nn.MSELoss(), sgd(ours), 3)
    assert_close(history.train_loss, losses)
    assert history.steps == 18
    for a, b in zip(ours.parameters(), model.parameters(), strict=True):
        assert_close(a, b)


def test_batches_hold_every_example_once(data):
    x, y = data
    for shuffle in (False, True):
        batches = TensorBatches(x, y, 10, shuffle)
        seen = torch.cat([a for a, _ in batches])
        assert len(batches) == len(list(batches)) == 11
        assert_close(seen.sort(0).values, x.sort(0).values)
        assert torch.equal(seen, x) is not shuffle
    for a, b in TensorBatches(x, y, 10, shuffle=True):
        rows = (x[None] == a[:, None]).all(2).nonzero()[:, 1]
        assert_close(y[rows], b)


def test_a_smaller_last_batch_counts_for_what_it_holds(data):
    x, y = data
    model = make_model().eval()
    whole = nn.functional.mse_loss(model(x), y).item()
    for batch_size in (1, 10, 50, 103):
        found = evaluate(model, TensorBatches(x, y, batch_size), nn.MSELoss())
        assert found["loss"] == pytest.approx(whole, rel=1e-5)
    # the mean of the batch means, the classic mistake, is another number
    means = [nn.functional.mse_loss(model(a), b).item() for a, b in TensorBatches(x, y, 50)]
    assert sum(means) / 3 != pytest.approx(whole, rel=1e-3)


def test_a_loader_serves_as_well(data):
    x, y = data
    loader = DataLoader(TensorDataset(x, y), batch_size=10)
    model = make_model()
    batches = TensorBatches(x, y, 10)
    assert evaluate(model, loader, nn.MSELoss()) == evaluate(model, batches, nn.MSELoss())


def test_evaluation_changes_nothing(data):
    x, y = data
    model = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    before = copy.deepcopy(model.state_dict())
    first = evaluate(model, TensorBatches(x, y, 10), nn.MSELoss())
    assert first == evaluate(model, TensorBatches(x, y, 10), nn.MSELoss())  # no dropout
    assert model.training
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_metrics_see_all_examples(data):
    x, _ = data
    y = (x[:, 0] > 0).long()
    model = nn.Linear(5, 2)
    found = evaluate(model, TensorBatches(x, y, 7), nn.CrossEntropyLoss(), accuracy=accuracy)
    assert found["accuracy"] == pytest.approx(accuracy(model(x), y))


def test_early_stopping_goes_back_to_the_best_weights(data):
    x, y = data
    model = nn.Linear(5, 1)
    # a rate that first helps and then diverges slowly
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 if step < 20 else 150)
    batches = TensorBatches(x, y, 103)
    history = fit(
        model,
        batches,
        nn.MSELoss(),
        optimizer,
        200,
        validation=batches,
        schedule=schedule,
        patience=3,
    )
    losses = history.validation["loss"]
    assert len(losses) < 200
    assert history.best_epoch == losses.index(min(losses)) + 1 == len(losses) - 3
    assert evaluate(model, batches, nn.MSELoss())["loss"] == pytest.approx(min(losses))
    assert min(losses) < losses[-1]


def test_without_patience_the_last_weights_stay(data):
    x, y = data
    model, batches = nn.Linear(5, 1), TensorBatches(x, y, 50)
    history = fit(model, batches, nn.MSELoss(), sgd(model, 0.2), 5, validation=batches)
    assert evaluate(model, batches, nn.MSELoss())["loss"] == history.validation["loss"][-1]


@pytest.mark.parametrize("patience", [None, 50])
def test_a_run_taken_up_again_ends_where_an_unbroken_one_does(data, tmp_path, patience):
    x, y = data

    def train(epochs, checkpoint):
        model = make_model()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5)
        batches = TensorBatches(x, y, 20, shuffle=True)
        torch.manual_seed(3)
        history = fit(
            model, batches, nn.MSELoss(), optimizer, epochs, schedule=schedule,
            validation=TensorBatches(x, y, 50), patience=patience, checkpoint=checkpoint,
        )  # fmt: skip
        return model, history

    unbroken, whole = train(6, None)
    train(2, tmp_path / "run.pt")
    resumed, history = train(6, tmp_path / "run.pt")
    assert history == whole
    for a, b in zip(resumed.parameters(), unbroken.parameters(), strict=True):
        assert_close(a, b)
    assert [p.name for p in tmp_path.iterdir()] == ["run.pt"]


def test_a_checkpoint_that_does_not_fit_is_refused(data, tmp_path):
    x, y = data
    path, batches = tmp_path / "run.pt", TensorBatches(x, y, 50)
    model = make_model()
    fit(model, batches, nn.MSELoss(), sgd(model), 1, checkpoint=path)
    other = nn.Linear(5, 1)
    with pytest.raises(CourseError, match=r"run\.pt cannot be taken up .* remove it"):
        fit(other, batches, nn.MSELoss(), sgd(other), 1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CourseError, match="damaged"):
        fit(model, batches, nn.MSELoss(), sgd(model), 1, checkpoint=path)


def test_a_loss_that_is_no_number_stops_with_advice(data):
    x, y = data
    model = nn.Linear(5, 1)
    with pytest.raises(CourseError, match=r"epoch \d+, step \d+: lower the learning rate"):
        fit(model, TensorBatches(x, y, 50), nn.MSELoss(), sgd(model, 1e9), 50)


def test_the_gradient_is_clipped(data):
    x, y = data
    model = nn.Linear(5, 1)
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), lr=1)
    fit(model, TensorBatches(x, 1e6 * y, 103), nn.MSELoss(), optimizer, 1, clip_norm=0.5)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.5, rel=1e-4)


def test_misuse_is_refused(data):
    x, y = data
    model, batches = nn.Linear(5, 1), TensorBatches(x, y, 50)
    with pytest.raises(ValueError, match="do not go with"):
        TensorBatches(x, y[:5], 10)
    with pytest.raises(ValueError, match="at least 1"):
        TensorBatches(x, y, 0)
    with pytest.raises(ValueError, match="validation="):
        fit(model, batches, nn.MSELoss(), sgd(model), 1, patience=2)
    with pytest.raises(ValueError, match="nothing to train on"):
        fit(model, [], nn.MSELoss(), sgd(model), 1)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        evaluate(model, [], nn.MSELoss())
