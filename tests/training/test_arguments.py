"""Settings of a run: what they accept, what they make of it, and what they refuse."""

import json
import sys
from functools import cached_property

import pytest
import torch
from transformers import HfArgumentParser, TrainingArguments

from sentune.errors import SentuneWarning, SettingError
from sentune.training.arguments import (
    BatchSamplers,
    MultiDatasetBatchSamplers,
    SentenceTransformerTrainingArguments,
)
from sentune.training.samplers import DefaultBatchSampler


def arguments(tmp_path, **options):
    return SentenceTransformerTrainingArguments(output_dir=str(tmp_path), use_cpu=True, **options)


def test_defaults(tmp_path):
    args = arguments(tmp_path)
    assert args.batch_sampler is BatchSamplers.BATCH_SAMPLER
    assert args.multi_dataset_batch_sampler is MultiDatasetBatchSamplers.PROPORTIONAL
    assert args.prompts is None
    assert args.router_mapping == args.learning_rate_mapping == {}
    assert args.report_to == []
    assert args.prediction_loss_only
    assert args.ddp_broadcast_buffers is False
    assert not args.logging_nan_inf_filter
    assert not args.dataloader_pin_memory
    assert args.accelerator_config.dispatch_batches is False


@pytest.mark.parametrize("name", ["no_duplicates", "no_duplicates_hashed", "group_by_label"])
def test_samplers_by_name(tmp_path, name):
    assert arguments(tmp_path, batch_sampler=name).batch_sampler == BatchSamplers(name)


def test_an_unknown_sampler_lists_those_there_are(tmp_path):
    with pytest.raises(SettingError, match=r"'no_duplicates', .*got 'sorted'"):
        arguments(tmp_path, batch_sampler="sorted")
    with pytest.raises(SettingError, match=r"\['round_robin', 'proportional'\], got 'x'"):
        arguments(tmp_path, multi_dataset_batch_sampler="x")


def test_a_sampler_instance_is_refused(tmp_path):
    with pytest.raises(SettingError, match="pass the class itself"):
        arguments(tmp_path, batch_sampler=DefaultBatchSampler([1, 2], 1))


def test_samplers_as_a_class_or_function_are_named_in_json(tmp_path):
    def order(rows, **options):
        return None

    args = arguments(tmp_path, batch_sampler=DefaultBatchSampler, multi_dataset_batch_sampler=order)
    values = args.to_dict()
    assert values["batch_sampler"] == "DefaultBatchSampler"
    assert values["multi_dataset_batch_sampler"].endswith("order")
    assert '"DefaultBatchSampler"' in args.to_json_string()


def test_mappings_as_json(tmp_path):
    args = arguments(
        tmp_path,
        prompts='{"query": "q: "}',
        router_mapping='{"question": "query"}',
        learning_rate_mapping='{"pooler": 0.1}',
    )
    assert args.prompts == {"query": "q: "}
    assert args.router_mapping == {"question": "query"}
    assert args.learning_rate_mapping == {"pooler": 0.1}


@pytest.mark.parametrize("prompt", ["query: ", "{instruction} ", "12", "true"])
def test_one_prompt_is_any_string(tmp_path, prompt):
    assert arguments(tmp_path, prompts=prompt).prompts == prompt
    assert arguments(tmp_path, prompts={"a": prompt}).prompts == {"a": prompt}
    assert arguments(tmp_path, prompts=json.dumps({"a": prompt})).prompts == {"a": prompt}
    assert arguments(tmp_path, prompts=json.dumps(prompt)).prompts == prompt


@pytest.mark.parametrize("option", ["prompts", "router_mapping"])
@pytest.mark.parametrize("setting", [{"a": 1}, {"d": {"a": ["x"]}}])
def test_settings_per_column_hold_strings(tmp_path, option, setting):
    with pytest.raises(SettingError, match=f"{option} must hold strings"):
        arguments(tmp_path, **{option: setting})


@pytest.mark.parametrize("value", ["question", "[1]", "{1", ["a"]])
def test_a_mapping_that_is_none_is_refused(tmp_path, value):
    with pytest.raises(SettingError, match="router_mapping must be a dict or its JSON"):
        arguments(tmp_path, router_mapping=value)
    with pytest.raises(SettingError, match="learning_rate_mapping must be a dict or its JSON"):
        arguments(tmp_path, learning_rate_mapping=value)


def test_a_learning_rate_that_is_none_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"learning_rate_mapping\['a'\] must be a number"):
        arguments(tmp_path, learning_rate_mapping={"a": "fast"})


@pytest.mark.parametrize(("ratio", "steps"), [(0.1, 10), (1.0, 100), (0.0, 0)])
def test_warmup_ratio_is_a_share_of_the_steps(tmp_path, ratio, steps):
    assert arguments(tmp_path, warmup_ratio=ratio).get_warmup_steps(100) == steps


def test_transformers_does_not_read_warmup_ratio_again(tmp_path, monkeypatch):
    current = TrainingArguments.__post_init__

    def older(self):  # as in transformers 5.9
        self.warmup_steps = self.warmup_ratio
        current(self)

    monkeypatch.setattr(TrainingArguments, "__post_init__", older)
    assert arguments(tmp_path, warmup_ratio=1.0).get_warmup_steps(100) == 100


def test_warmup_ratio_and_steps_contradict(tmp_path):
    with pytest.raises(SettingError, match="not both"):
        arguments(tmp_path, warmup_ratio=0.1, warmup_steps=5)
    with pytest.raises(SettingError, match="between 0 and 1, got 3"):
        arguments(tmp_path, warmup_ratio=3)


def test_only_random_and_sequential_order(tmp_path):
    assert arguments(tmp_path, train_sampling_strategy="sequential")
    with pytest.raises(SettingError, match="batches are packed"):
        arguments(tmp_path, train_sampling_strategy="group_by_length")


def test_several_gpus_are_one_device_and_the_way_to_all_is_named(tmp_path, monkeypatch):
    whole = SentenceTransformerTrainingArguments._setup_devices.func

    def two_gpus(self):
        device = whole(self)
        self._n_gpu = 2
        return device

    devices = cached_property(two_gpus)
    devices.__set_name__(SentenceTransformerTrainingArguments, "_setup_devices")
    monkeypatch.setattr(SentenceTransformerTrainingArguments, "_setup_devices", devices)
    with pytest.warns(SentuneWarning, match="torchrun --nproc-per-node 2"):
        args = arguments(tmp_path, per_device_train_batch_size=4)
    assert args.n_gpu == 1
    assert args.train_batch_size == 4


def test_processes_that_would_each_train_a_model_are_refused(tmp_path, monkeypatch):
    """As on a GPU under mpirun, where accelerate sees one process."""
    monkeypatch.setattr("sentune.training.arguments.best_device", lambda: torch.device("mps"))
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    with pytest.raises(SettingError, match=r"one of 2 processes \(OMPI_COMM_WORLD_SIZE=2\)"):
        SentenceTransformerTrainingArguments(str(tmp_path), bf16=False)


def test_an_accelerator_is_used_unless_the_cpu_is_asked_for(tmp_path, monkeypatch):
    def uses_cpu(**options):
        return SentenceTransformerTrainingArguments(str(tmp_path), bf16=False, **options).use_cpu

    monkeypatch.setattr("sentune.training.arguments.best_device", lambda: torch.device("mps"))
    assert not uses_cpu()
    assert uses_cpu(use_cpu=True)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert uses_cpu()
    monkeypatch.delenv("ACCELERATE_USE_CPU")
    monkeypatch.setattr("sentune.training.arguments.best_device", lambda: torch.device("cpu"))
    assert uses_cpu()
    if hasattr(torch, "accelerator"):  # an accelerator of another kind
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
        assert not uses_cpu()


def test_the_command_line_reads_them(tmp_path, monkeypatch):
    parser = HfArgumentParser(SentenceTransformerTrainingArguments)
    line = ["--output_dir", str(tmp_path), "--batch_sampler", "no_duplicates"]
    line += ["--prompts", '{"a": "b"}', "--use_cpu", "true"]
    monkeypatch.setattr(sys, "argv", ["train.py", *line])
    (args,) = parser.parse_args_into_dataclasses()
    assert args.batch_sampler is BatchSamplers.NO_DUPLICATES
    assert args.prompts == {"a": "b"}
