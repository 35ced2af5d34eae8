"""SentenceTransformer: texts in, one vector each out."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sentune.checks import with_arguments_of
from sentune.encoder import pipeline
from sentune.encoder.model import Model, opened, progress, wants_bar
from sentune.encoder.runner import Options, TorchRunner, check_finite
from sentune.encoder.workers import WorkerPool
from sentune.errors import SettingError
from sentune.files.kinds import SENTENCE_TRANSFORMER
from sentune.flow import loop
from sentune.hub.fetch import Access
from sentune.models.pooling import Pooling
from sentune.share.data import SentenceTransformerModelCardData
from sentune.text import prompts as prompting
from sentune.text.inputs import as_items, stream_of
from sentune.types import Features
from sentune.vectors.finish import OutputValue, Precision, check, finish
from sentune.vectors.similarity import SimilarityFunction, compares_by_name, of_vectors

# What quantises each embedding by itself.
_BY_ROW = ("float32", "binary", "ubinary")


class SentenceTransformer(Model):
    """Maps texts to embeddings: a sequence of modules, executed one after the other.

    Args:
        model_name_or_path: A folder, or an id on the Hugging Face Hub. A plain transformers
            checkpoint becomes Transformer + mean Pooling.
        modules: The modules, in order, in place of a name; or a dict of name -> module.
        device: "cpu", "cuda", "cuda:1", "mps" ...; None for the best there is.
        prompts: Name -> text put before each input that is encoded under that name.
        default_prompt_name: The prompt used when a call names none.
        similarity_fn_name: "cosine", "dot", "euclidean" or "manhattan"; None for what the model
            says, else cosine.
        cache_folder: Where downloads are kept.
        trust_remote_code: Whether code that comes with a model may run.
        revision: Branch, tag or commit on the Hub.
        local_files_only: Never ask the Hub.
        token: Access token for the Hub.
        truncate_dim: Keep this many dimensions of each embedding; None for all.
        model_kwargs: For the encoder's `from_pretrained`, as `dtype` or `attn_implementation`.
        processor_kwargs: For the tokenizer's `from_pretrained`.
        tokenizer_kwargs: Older name of `processor_kwargs`.
        config_kwargs: For the configuration's `from_pretrained`.
        model_card_data: What is known for the model card.
        dtype: "auto" (the default) keeps the weights in float32 and multiplies in bfloat16 where
            the CPU or GPU has it natively, in `encode` and in training. "float32" is exact, in
            training too unless its arguments say otherwise; "bfloat16" and "float16" are the type
            of the weights as well. `model_kwargs={"dtype": ...}` means the same, except for "auto",
            which there keeps the type of the checkpoint. Weights in half precision are trained as
            they are: updates smaller than their rounding are lost, and in float16 small gradients
            become zero. Load a model in float32 to train it.
        backend: Only "torch".
        use_auth_token: Older name of `token`.

    Raises:
        SettingError: If the arguments contradict each other or are out of range.
        ModelFileError: If the folder does not hold a model or is damaged.
        HubError: If the model cannot be had from the Hub.

    Example:
        >>> model = SentenceTransformer("all-MiniLM-L6-v2")  # doctest: +SKIP
        >>> model.encode(["A text.", "Another one."]).shape  # doctest: +SKIP
        (2, 384)
    """

    kind = SENTENCE_TRANSFORMER
    SUPPORTED_SIMILARITY_FN_NAMES: ClassVar[tuple[str, ...]] = SENTENCE_TRANSFORMER.similarities
    model_card_data_class = SentenceTransformerModelCardData

    @torch.inference_mode(mode=False)
    def __init__(
        self,
        model_name_or_path: str | Path | None = None,
        *,
        modules: Iterable[nn.Module] | Mapping[str, nn.Module] | None = None,
        device: str | torch.device | None = None,
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity_fn_name: str | SimilarityFunction | None = None,
        cache_folder: str | None = None,
        trust_remote_code: bool = False,
        revision: str | None = None,
        local_files_only: bool = False,
        token: bool | str | None = None,
        truncate_dim: int | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        processor_kwargs: Mapping[str, Any] | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
        config_kwargs: Mapping[str, Any] | None = None,
        model_card_data: SentenceTransformerModelCardData | None = None,
        dtype: str | torch.dtype | None = None,
        backend: str = "torch",
        use_auth_token: bool | str | None = None,
    ) -> None:
        if use_auth_token is not None and token is not None:
            raise SettingError("use_auth_token is an older name of token; give one of the two")
        token = use_auth_token if token is None else token
        parts = opened(
            self.kind,
            model_name_or_path,
            modules,
            card=model_card_data,
            dtype=dtype,
            backend=backend,
            hub=Access(token, revision, cache_folder, local_files_only, (self.kind.owner,)),
            trust_remote_code=trust_remote_code,
            model_kwargs=model_kwargs,
            processor_kwargs={**(tokenizer_kwargs or {}), **(processor_kwargs or {})},
            config_kwargs=config_kwargs,
        )
        super().__init__(
            parts,
            device=device,
            prompts=prompts,
            default_prompt_name=default_prompt_name,
            trust_remote_code=trust_remote_code,
        )
        stored = parts.settings
        Options(truncate_dim=truncate_dim)  # raises if it is out of range
        self.truncate_dim = stored.get("truncate_dim") if truncate_dim is None else truncate_dim
        self.similarity_fn_name = similarity_fn_name or stored.get("similarity_fn_name")

    # From texts to embeddings -------------------------------------------------------------------

    def encode(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        output_value: OutputValue | None = "sentence_embedding",
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | torch.device | Sequence[str | torch.device] | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        pool: WorkerPool | None = None,
        chunk_size: int | None = None,
        *,
        sentences: Any = None,
        task: str | None = None,
        **kwargs: Any,
    ) -> Any:
        """Embeddings of texts.

        Args:
            inputs: One text, or any iterable of b texts. A pair of texts in a list is read as one
                input of two segments; `{route: text}` names the route of a routed model.
            prompt_name: Name of a prompt of the model to put before each text.
            prompt: A prompt to put before each text; wins over `prompt_name`.
            batch_size: Texts per forward pass; None to choose by tokens, for speed. The embeddings
                do not depend on it.
            show_progress_bar: Whether to draw one; None: if logging is at INFO or below.
            output_value: "sentence_embedding"; "token_embeddings" for a list of `(tokens, d)`;
                None for a list of dicts with all that the modules gave out.
            precision: "float32", or "int8", "uint8", "binary", "ubinary" for quantised vectors.
            convert_to_numpy: Whether to give a numpy array.
            convert_to_tensor: Whether to give a tensor; wins over numpy. Neither: a list of rows.
            device: Where to compute; the model is moved there. A list starts a process for each.
            normalize_embeddings: Whether each vector is brought to length 1, after truncation.
            truncate_dim: Keep this many dimensions; None for the model's `truncate_dim`.
            pool: Processes started by `start_multi_process_pool`.
            chunk_size: Rows per piece of work of a pool.
            sentences: Older name of `inputs`.
            task: Route of a routed model: "query" or "document".
            **kwargs: For modules that name them in `forward_kwargs`.

        Returns:
            `(b, d)` array, tensor or list, rows in the order given; `(d,)` for a single text.

        Raises:
            InputTypeError: If an input is not a text; the message names its row.
            SettingError: If an option is out of range.
        """
        check(output_value, precision)
        items, is_single = as_items(sentences if inputs is None else inputs)
        options = Options(
            value=output_value,
            prompt=self._prompt(prompt, prompt_name),
            batch_size=batch_size,
            show_progress_bar=wants_bar(show_progress_bar),
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize=normalize_embeddings,
            task=task,
            forward_kwargs=self._checked_kwargs(kwargs),
        )
        to_cpu = convert_to_numpy and not convert_to_tensor
        found = self._computed(
            items, options, pool=pool, device=device, chunk_size=chunk_size, on_cpu=to_cpu
        )
        if output_value == "sentence_embedding":
            if found is None:
                width = options.truncate_dim or self.get_embedding_dimension() or 0
                found = torch.zeros((0, width), device="cpu" if to_cpu else self.device)
            check_finite(self, found)
            found = finish(found, precision, to_numpy=convert_to_numpy, to_tensor=convert_to_tensor)
        elif found is None:
            found = []
        return found[0] if is_single else found

    def encode_stream(
        self,
        inputs: Iterable[Any],
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: Precision | None = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
        *,
        task: str | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Embeddings of texts as they come, in bounded memory.

        The arguments are those of `encode`, except that `inputs` is any iterable of texts, also one
        that never ends, and `precision` is "float32", "binary" or "ubinary". If the iterable raises
        an error, all that came before is given, then its error.

        Yields:
            `(n, d)`: the embeddings of the next n texts, in their order; the first after at most
            2,048 texts.

        Raises:
            InputTypeError: If `inputs` is one text, or an item is none; the message names its row.
            SettingError: If an option is out of range.

        Example:
            >>> for rows in model.encode_stream(open("texts.txt")):  # doctest: +SKIP
            ...     index.add(rows)
        """
        inputs = stream_of(inputs)
        check("sentence_embedding", precision)
        if precision is not None and precision not in _BY_ROW:
            raise SettingError(
                f"precision={precision!r} needs the ranges of all embeddings, which a stream does "
                f"not have; use one of {_BY_ROW}, or sentune.quantize_embeddings with ranges=..."
            )
        options = Options(
            prompt=self._prompt(prompt, prompt_name),
            batch_size=batch_size,
            show_progress_bar=wants_bar(show_progress_bar),
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize=normalize_embeddings,
            task=task,
            forward_kwargs=self._checked_kwargs(kwargs),
        )
        form = {"to_numpy": convert_to_numpy, "to_tensor": convert_to_tensor}

        def parts() -> Iterator[Any]:
            with progress(None, options) as count:
                runner = TorchRunner(self, options)
                for part in loop.windows(inputs, runner, batch_size=batch_size, count=count):
                    check_finite(self, part.rows, part.start)
                    yield finish(part.rows, precision, **form)

        return parts()

    @with_arguments_of(encode)
    def encode_query(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `encode`, with the prompt named "query" and the route for queries."""
        if prompt_name is None and prompt is None:
            prompt_name = prompting.first_name(self.prompts, prompting.QUERY_NAMES)
        named = _by_name((inputs, prompt_name, prompt, *args), kwargs)
        return self.encode(**{"task": "query", **named})

    @with_arguments_of(encode)
    def encode_document(
        self,
        inputs: Any = None,
        prompt_name: str | None = None,
        prompt: str | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """As `encode`, with the first prompt of document, passage, corpus, and that route."""
        if prompt_name is None and prompt is None:
            prompt_name = prompting.first_name(self.prompts, prompting.DOCUMENT_NAMES)
        named = _by_name((inputs, prompt_name, prompt, *args), kwargs)
        return self.encode(**{"task": "document", **named})

    def encode_multi_process(
        self,
        sentences: Any,
        pool: WorkerPool,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int | None = None,
        chunk_size: int | None = None,
        show_progress_bar: bool | None = None,
        precision: Precision = "float32",
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """As `encode` with a `pool`, under its older name; gives a numpy array.

        Args:
            sentences: As `inputs` of `encode`; the others are as there.
            pool: Processes started by `start_multi_process_pool`.
            prompt_name: Name of a prompt.
            prompt: A prompt.
            batch_size: Texts per forward pass.
            chunk_size: Rows per piece of work.
            show_progress_bar: Whether to draw one.
            precision: Of the embeddings.
            normalize_embeddings: Whether each is brought to length 1.
            truncate_dim: Keep this many dimensions.
        """
        return self.encode(
            sentences,
            prompt_name,
            prompt,
            batch_size,
            show_progress_bar,
            precision=precision,
            normalize_embeddings=normalize_embeddings,
            truncate_dim=truncate_dim,
            pool=pool,
            chunk_size=chunk_size,
        )

    def _file_settings(self) -> dict[str, Any]:
        return {
            **super()._file_settings(),
            "similarity_fn_name": self.similarity_fn_name,
            "truncate_dim": self.truncate_dim,
        }

    # Comparing embeddings -----------------------------------------------------------------------

    @property
    def similarity_fn_name(self) -> str:
        """How `similarity` compares: "cosine", "dot", "euclidean" or "manhattan"."""
        return self._similarity_fn_name

    @similarity_fn_name.setter
    def similarity_fn_name(self, value: str | SimilarityFunction | None) -> None:
        self._similarity_fn_name = of_vectors(value or "cosine")

    @compares_by_name
    def similarity(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """All similarities `(m, n)` of two sets of vectors `(m, d)` and `(n, d)`."""
        function = SimilarityFunction.to_similarity_fn(self.similarity_fn_name)
        found: Tensor = function(embeddings1, embeddings2)
        return found

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Tensor:
        """Similarities `(n,)` of two sets of vectors `(n, d)`, row by row."""
        function = SimilarityFunction.to_similarity_pairwise_fn(self.similarity_fn_name)
        found: Tensor = function(embeddings1, embeddings2)
        return found

    # What the model is --------------------------------------------------------------------------

    def get_embedding_dimension(self) -> int | None:
        """Width of the embeddings that `encode` gives; None if no module knows."""
        widths = (pipeline.width(self), self.truncate_dim)
        return min((width for width in widths if width is not None), default=None)

    def get_sentence_embedding_dimension(self) -> int | None:
        """As `get_embedding_dimension`."""
        return self.get_embedding_dimension()

    @contextmanager
    def truncate_embeddings(self, truncate_dim: int | None) -> Iterator[None]:
        """Inside the block, `encode` keeps this many dimensions; None for all."""
        before, self.truncate_dim = self.truncate_dim, truncate_dim
        try:
            yield
        finally:
            self.truncate_dim = before

    def get_sentence_features(self, *features: Any) -> Features:
        """What the first module's method of this name gives, as of a `BoW`."""
        found: Features = self._first_module().get_sentence_features(*features)
        return found

    @staticmethod
    def load(input_path: str) -> SentenceTransformer:
        """As `SentenceTransformer(input_path)`."""
        return SentenceTransformer(input_path)

    def truncate_sentence_embeddings(self, truncate_dim: int | None) -> Any:
        """As `truncate_embeddings`."""
        return self.truncate_embeddings(truncate_dim)

    def set_pooling_include_prompt(self, include_prompt: bool) -> None:
        """Set whether the tokens of a prompt count in pooling."""
        for module in self:
            if isinstance(module, Pooling):
                module.include_prompt = include_prompt


_BY_POSITION = tuple(
    takewhile(
        lambda name: name != "sentences", inspect.signature(SentenceTransformer.encode).parameters
    )
)[1:]


def _by_name(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of `encode` by today's names, so that one in its place may have another order."""
    if len(args) > len(_BY_POSITION):
        raise TypeError(f"encode takes {len(_BY_POSITION)} arguments by position, got {len(args)}")
    named = dict(zip(_BY_POSITION, args, strict=False))
    if twice := sorted(named.keys() & kwargs.keys()):
        raise TypeError(f"encode got {twice} by position and by name")
    named |= kwargs
    if named["inputs"] is None and "sentences" in named:
        named["inputs"] = named.pop("sentences")
    return named
