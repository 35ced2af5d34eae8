"""Functions that code for sentence-transformers imports give what they give there."""

import csv
import functools
import http.server
import logging
import subprocess
import sys
import threading

import numpy as np
import pytest
import sentence_transformers.util as peer
import torch
from torch import nn

from sentune import util
from sentune.errors import MissingDependencyError, UntrustedCodeError

ROWS = torch.tensor([[0.0, -3.0, 2.0], [1.0, 0.0, 0.5]])


@pytest.mark.parametrize("name", ["_convert_to_tensor", "_convert_to_batch_tensor"])
@pytest.mark.parametrize(
    "value",
    [
        [1.0, 2.0],
        [[1, 2], [3, 4]],
        ROWS,
        [ROWS[0], ROWS[1]],
        ROWS.numpy(),
        [ROWS[0].numpy(), ROWS[1].numpy()],
        ROWS.to_sparse(),
        [ROWS[0].to_sparse(), ROWS[1].to_sparse()],
    ],
    ids=["list", "lists", "tensor", "tensors", "array", "arrays", "sparse", "several sparse"],
)
def test_numbers_become_tensors(name, value):
    ours, theirs = getattr(util, name)(value), getattr(peer, name)(value)
    assert ours.is_sparse == theirs.is_sparse and ours.dtype == theirs.dtype
    dense = [x.to_dense() if x.is_sparse else x for x in (ours, theirs)]
    torch.testing.assert_close(*dense, rtol=0, atol=0)


@pytest.mark.parametrize("most", [None, 1, 2, 9])
def test_entries_are_selected_as_there(most):
    before = ROWS.clone()
    ours = util.select_max_active_dims(ROWS, most)
    torch.testing.assert_close(ours, peer.select_max_active_dims(ROWS, most), rtol=0, atol=0)
    assert torch.equal(ROWS, before)
    with pytest.raises(ValueError, match="max_active_dims must be a whole number"):
        util.select_max_active_dims(ROWS, 0)


@pytest.mark.parametrize("rows", [ROWS, ROWS.to_sparse(), ROWS[0], torch.zeros(2, 3)])
def test_counts_are_as_there(rows):
    ours, theirs = util.compute_count_vector(rows), peer.compute_count_vector(rows)
    assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_a_sparse_tensor_becomes_that_of_scipy():
    np.testing.assert_array_equal(util.to_scipy_coo(ROWS.to_sparse()).toarray(), ROWS.numpy())
    half = util.to_scipy_coo(ROWS.bfloat16().to_sparse())
    np.testing.assert_array_equal(half.toarray(), ROWS.numpy())


def test_tensors_are_found_however_deep():
    value = {"a": [ROWS, (ROWS, 1)], "b": "text"}
    moved = util._move_tensors_to_cpu(value)
    assert moved["a"][1][1] == 1 and moved["b"] == "text" and moved["a"][0] is ROWS


def test_one_process_gathers_its_own_rows():
    x = ROWS.clone().requires_grad_()
    assert not util.is_dist_initialized()
    for with_grad in (False, True):
        torch.testing.assert_close(util.all_gather(x, with_grad), x)
        assert util.all_gather(x, with_grad).requires_grad


def test_packages_and_their_releases():
    assert util.is_training_available() and util.is_datasets_available()
    assert not util.check_package_availability("datasets", "nobody-at-all")
    assert not util.check_package_availability("no-such-package", "huggingface")
    util.check_version_requirements(None)
    util.check_version_requirements({"torch": ">=2"}, "model")
    with pytest.raises(ImportError, match="no-such-package>=1"):
        util.check_version_requirements({"no-such-package": ">=1"}, "model")
    with pytest.raises(MissingDependencyError, match="why"):
        util.check_version_requirements({"torch": {"specifier": "<1", "reason": "why"}})


def test_a_model_is_told_from_a_checkpoint(tiny_model, tiny_bert_folder, tmp_path):
    tiny_model.save(str(tmp_path / "model"))
    assert util.is_sentence_transformer_model(str(tmp_path / "model"))
    assert not util.is_sentence_transformer_model(str(tiny_bert_folder))


@pytest.fixture
def server():
    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - the name is the library's
            if self.path == "/moved":
                self.send_response(302)
                self.send_header("Location", "/file")
                self.end_headers()
                return
            is_there = self.path == "/file"
            self.send_response(200 if is_there else 404)
            self.send_header("Content-Length", str(50_000 if is_there else 0))
            self.end_headers()
            self.wfile.write(b"x" * 50_000 if is_there else b"")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_file_is_downloaded_whole_or_not_at_all(server, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    path = tmp_path / "folder" / "file.bin"
    util.http_get(f"{server}/moved", str(path))
    assert path.read_bytes() == b"x" * 50_000
    other = tmp_path / "other.bin"
    with pytest.raises(Exception, match="404"):
        util.http_get(f"{server}/none", str(other))
    assert not other.exists()


def test_a_bar_that_is_never_drawn(capsys):
    assert list(util.disabled_tqdm(range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_logging_is_off_for_a_while(caplog):
    with util.disable_logging(logging.WARNING):
        logging.getLogger("x").warning("hidden")
        logging.getLogger("x").error("shown")
    logging.getLogger("x").warning("again")
    assert [record.message for record in caplog.records] == ["shown", "again"]


def test_values_are_added_to_the_last_row(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n", encoding="utf-8")
    assert util.append_to_last_row(path, [3]) is False
    path.write_text('a,b\n1,"x, y"\n', encoding="utf-8")
    assert util.append_to_last_row(path, [3, "z"]) is True
    with path.open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[-1] == ["1", "x, y", "3", "z"]


def test_the_datasets_library_keeps_nothing_for_a_while():
    import datasets

    before = datasets.is_caching_enabled()
    with util.disable_datasets_caching():
        assert not datasets.is_caching_enabled()
    assert datasets.is_caching_enabled() == before


def test_similarities_are_named_as_there(tiny_model):
    class Scaled:
        def get_config_dict(self):
            return {"scale": 2}

        def __call__(self, a, b):
            return a

    for ours, theirs in (
        (util.cos_sim, peer.cos_sim),
        (util.pairwise_dot_score, peer.pairwise_dot_score),
        (functools.partial(util.cos_sim, scale=3), functools.partial(peer.cos_sim, scale=3)),
        (Scaled(), Scaled()),
        (tiny_model.similarity, peer.cos_sim),
        (tiny_model.similarity_pairwise, peer.pairwise_cos_sim),
    ):
        assert util.similarity_fct_name(ours) == peer.similarity_fct_name(theirs)


def test_the_class_of_a_module_by_its_type():
    names = ("sentence_transformers.models.Pooling", "sentune.models.Pooling")
    for name in names:
        assert util.import_module_class(name).__name__ == "Pooling"
    assert util.import_module_class("torch.nn.Tanh") is nn.Tanh
    with pytest.raises(UntrustedCodeError, match="trust_remote_code=True"):
        util.import_module_class("own.Module", "some/model")


GATHER = """
import torch
from torch import distributed
from sentune import util

distributed.init_process_group("gloo")
rank = util.get_rank()
x = torch.arange(6.0).reshape(2, 3)[: 1 + rank] + 10 * rank
x.requires_grad_()
for with_grad in (False, True):
    rows = util.all_gather(x, with_grad)
    assert rows.tolist() == [[0, 1, 2], [10, 11, 12], [13, 14, 15]]
    x.grad = None
    (rows * torch.arange(1.0, 10).reshape(3, 3)).sum().backward()
    own = torch.arange(1.0, 10).reshape(3, 3)[rank : 2 * rank + 1]
    assert torch.equal(x.grad, own * (2 if with_grad else 1)), x.grad
assert util.is_dist_initialized()
distributed.barrier()
distributed.destroy_process_group()
"""


def test_processes_gather_rows_and_gradients_of_their_own_or_of_all(tmp_path):
    (tmp_path / "gather.py").write_text(GATHER, encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(tmp_path / "gather.py")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
