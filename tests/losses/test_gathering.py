"""Two processes that each hold half of the rows equal one process that holds all."""

import pytest
import torch
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from sentune import losses
from sentune.machine.distributed import all_gather_with_grad, gather_rows, rank, world_size
from sentune.text import layouts
from tests.losses.tools import TableModel, column, value_and_gradient
from tests.processes import leave

LOSSES = {
    "mnrl": lambda model, **options: losses.MultipleNegativesRankingLoss(
        model,
        directions=("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"),
        hardness_mode="all_negatives",
        hardness_strength=2.0,
        **options,
    ),
    "symmetric": losses.MultipleNegativesSymmetricRankingLoss,
    "cached": lambda model, **options: losses.CachedMultipleNegativesRankingLoss(
        model, mini_batch_size=2, **options
    ),
    "gist": lambda model, **options: losses.GISTEmbedLoss(
        model, TableModel(seed=5).double(), 0.1, margin=0.05, **options
    ),
    "matryoshka over cached gist": lambda model, **options: losses.MatryoshkaLoss(
        model,
        losses.CachedGISTEmbedLoss(
            model, TableModel(seed=5).double(), 0.1, mini_batch_size=2, **options
        ),
        [6, 3],
    ),
}


LABELS = torch.tensor([5, 2**40, 5, 7, 5, 2**40, 2**40 + 1, 5])


def whole():
    return torch.linspace(-1, 2, 14, dtype=torch.float64).view(7, 2)


def twice(gather, rows):
    found = gather(rows)
    return found @ found.T + found.sum()


def checkpointed(gather, rows):
    return checkpoint(twice, gather, rows, use_reentrant=False)


def under_autocast(gather, rows):
    with torch.autocast("cpu", torch.bfloat16):
        return gather(rows.float()).float().pow(3)


GATHERED = {use.__name__: use for use in (twice, checkpointed, under_autocast)}


def work(process, folder):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=process, world_size=2
    )
    results = {}
    features = [column(8, seed) for seed in range(3)]
    rows = [[0, 1, 2, 3], [4, 5, 6, 7]][process]
    own = [layouts.select(x, rows) for x in features]
    for name, make in LOSSES.items():
        loss = make(TableModel().double(), gather_across_devices=True)
        results[name] = value_and_gradient(loss, own)
        # Data-parallel training wraps model and loss as one, and averages by itself.
        for unused in (False, True):
            model = TableModel().double()
            wrapped = DistributedDataParallel(
                make(model, gather_across_devices=True), find_unused_parameters=unused
            )
            wrapped(own).backward()
            results[f"{name} in DDP, {unused}"] = model.table.grad
    uneven = torch.arange(3.0 + process)[:, None].requires_grad_()  # 3 rows here, 4 there
    gathered = all_gather_with_grad(uneven)
    (gathered.squeeze(1) * torch.arange(7.0) * (process + 1)).sum().backward()
    start = gather_rows([uneven, uneven])[1]
    for name, use in GATHERED.items():
        rows = whole()[3 * process : 3 * process + 3 + process].requires_grad_()
        use(all_gather_with_grad, rows).sum().backward()
        results[name] = rows.grad
    own_labels = LABELS[rows_of_classes := [[0, 1, 2], [3, 4, 5, 6, 7]][process]]
    loss = losses.SupervisedContrastiveLoss(TableModel().double(), gather_across_devices=True)
    results["classes"] = value_and_gradient(
        loss, [layouts.select(features[0], rows_of_classes)], own_labels
    )
    results["uneven"] = (gathered.detach(), uneven.grad, start, rank(), world_size())
    torch.save(results, f"{folder}/{process}.pt")
    leave()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gather")
    multiprocessing.spawn(work, (str(folder),), nprocs=2)
    return [torch.load(folder / f"{process}.pt") for process in range(2)]


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_equal_one_with_the_joined_batch(two_processes, name):
    loss = LOSSES[name](TableModel().double())
    value, gradient = value_and_gradient(loss, [column(8, seed) for seed in range(3)])
    values, gradients = zip(*(results[name] for results in two_processes), strict=True)
    torch.testing.assert_close(sum(values) / 2, value)
    torch.testing.assert_close(sum(gradients) / 2, gradient)  # data-parallel training averages
    assert not torch.allclose(gradients[0], gradients[1])
    for unused in (False, True):
        for results in two_processes:
            torch.testing.assert_close(results[f"{name} in DDP, {unused}"], gradient)


def test_classes_are_those_of_all_processes_however_many_rows_each_has(two_processes):
    loss = losses.SupervisedContrastiveLoss(TableModel().double())
    value, gradient = value_and_gradient(loss, [column(8, 0)], LABELS)
    values, gradients = zip(*(results["classes"] for results in two_processes), strict=True)
    torch.testing.assert_close(sum(values) / 2, value)
    torch.testing.assert_close(sum(gradients) / 2, gradient)


@pytest.mark.parametrize("name", GATHERED)
def test_however_gathered_rows_are_used_their_gradient_is_that_of_one_process(two_processes, name):
    """Each process computes the same of all rows, so that each row hears of it from both."""
    rows = whole().requires_grad_()
    GATHERED[name](lambda x: x, rows).sum().backward()
    found = torch.cat([results[name] for results in two_processes])
    torch.testing.assert_close(found, 2 * rows.grad, rtol=1e-5, atol=1e-6)


def test_processes_may_hold_different_numbers_of_rows(two_processes):
    everything = torch.tensor([0.0, 1, 2, 0, 1, 2, 3])[:, None]
    for process, results in enumerate(two_processes):
        gathered, gradient, start, number, processes = results["uneven"]
        torch.testing.assert_close(gathered, everything)
        own = torch.arange(7.0)[[slice(0, 3), slice(3, 7)][process]]
        torch.testing.assert_close(gradient.squeeze(1), own * (1 + 2))
        assert (start, number, processes) == (3 * process, process, 2)


def test_on_one_process_gathering_changes_nothing():
    rows = torch.randn(3, 2)
    assert all_gather_with_grad(rows) is rows
    assert gather_rows([rows])[1] == rank() == 0 and world_size() == 1
    for make in LOSSES.values():
        features = [column(6, seed) for seed in range(3)]
        plain = value_and_gradient(make(TableModel()), features)
        gathered = value_and_gradient(make(TableModel(), gather_across_devices=True), features)
        torch.testing.assert_close(gathered, plain)
