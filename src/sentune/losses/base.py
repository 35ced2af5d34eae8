"""The contract of a loss: columns of features in, one number (or several named ones) out.

    forward(features, labels) = compute(embed(features), labels, **context(features))

`embed` runs the model and nothing else does. `compute` is the mathematics, pure over embeddings.
`context` is for the few losses that need more of a batch than its embeddings, as those of a second
model. A loss that wraps another (Matryoshka, adaptive layers) takes its embeddings and context from
the inner loss and calls the inner `compute` as often as it likes: wrappers nest in any order, and
mini-batches, guides and gathering work inside them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from sentune.checks import check_sizes
from sentune.data.forms import LABELS, Form, Limits, Wanted
from sentune.errors import InputError, SettingError
from sentune.losses import given
from sentune.losses.embed import Embedder
from sentune.record.citations import cited_by
from sentune.types import EmbeddingModel, Features

# Several named parts are summed for the gradient and logged one by one.
LossValue: TypeAlias = "Tensor | dict[str, Tensor]"
Compare: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # similarities or distances

_HALF = (torch.float16, torch.bfloat16)


def _by_embeddings(
    loss: Any, columns: Sequence[Tensor], labels: Tensor | None = None, **context: Any
) -> LossValue:
    return loss.compute_loss_from_embeddings(columns, labels, **context)


def _by_mini_batches(
    loss: Any, columns: Sequence[Tensor], labels: Tensor | None = None, **context: Any
) -> LossValue:
    # A loss with a guide has the guide's embeddings in the place of labels.
    second = [[rows] for rows in context["guide"]] if "guide" in context else labels
    return loss.calculate_loss([[rows] for rows in columns], second)


class Loss(nn.Module):
    """A training objective over the embeddings of a model; every loss has the arguments below.

    To write one, define `compute(columns, labels)`. Data are checked before the first step for a
    loss that declares its `forms`; a subclass with a `compute` or `forward` of its own inherits
    none.

    Args:
        model: Maps features to features with `sentence_embedding (b, d)`.
        mini_batch_size: Rows of the longest length per forward pass of the model, and as many more
            of shorter ones as take the same memory; None for the whole batch at once. Smaller
            values need less memory and more time, and give the same loss and gradient.
        loss: The inner loss, for those that wrap another; one of a user's own, which computes in
            its `forward`, is run on embeddings that are there already.

    Attributes:
        inputs: The columns it wants, for people.
        forms: The forms of data that it learns from, of `sentune.data.forms` or others; a wrapper
            has those of the inner loss.
        limits: What it can read from labels, of the class or as this one was set up.
        has_batch_negatives: Whether the texts of other rows are its negatives.
        has_batch_classes: Whether it learns from several rows of a class in a batch.
        is_computed_in_full: Whether autocast is off in `compute`.
        head_width: Width of the embeddings that a head of the loss reads; None without a head.
            `MatryoshkaLoss` fills truncated ones up with zeros to this width.
        reads_ragged: Whether `forward` takes ragged features. A class with a `forward` of its own
            that does not say so gets padded ones.
        option_names: Settings that a model card shows.
        other_names: Methods that a subclass may define in place of `compute`, as other libraries
            name it, and what then computes.

    Raises:
        SettingError: If an argument is out of range, in any loss of sentune, or if the inner loss
            does not hold the model.
    """

    inputs: str = "any columns"
    forms: tuple[Form, ...] = ()
    limits: Limits = Limits()
    has_batch_negatives: ClassVar[bool] = False
    has_batch_classes: ClassVar[bool] = False
    is_computed_in_full: bool = True
    head_width: int | None = None
    reads_ragged: ClassVar[bool] = True
    option_names: ClassVar[tuple[str, ...]] = ()
    other_names: ClassVar[dict[str, Callable[..., LossValue]]] = {
        "compute_loss_from_embeddings": _by_embeddings,
        "calculate_loss": _by_mini_batches,
    }

    def __init__(
        self, model: EmbeddingModel, *, mini_batch_size: int | None = None, loss: Any = None
    ) -> None:
        super().__init__()
        self.model = model
        self.loss: Any = loss
        if loss is not None:
            self._wrap(loss)
        check_sizes(mini_batch_size=mini_batch_size)
        self.mini_batch_size = mini_batch_size
        self.mini_batch_num_tokens: int | None = None
        self.show_progress_bar = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        others = [name for name in cls.other_names if name in own] if given.is_foreign(cls) else []
        if ({"compute", "forward"} & own.keys() or others) and "forms" not in own:
            cls.forms = ()  # it may read something else than its parent
        if others and "compute" not in own:
            cls.compute = cls.other_names[others[0]]  # type: ignore[method-assign]

    @property
    def min_columns(self) -> int:
        """Fewest columns."""
        return min((form.fewest for form in self.forms), default=1)

    @property
    def max_columns(self) -> int | None:
        """Most columns; None for any number."""
        most = [form.most for form in self.forms if form.most is not None]
        return max(most) if most and len(most) == len(self.forms) else None

    @property
    def label_kind(self) -> Wanted:
        """What it reads from the labels, in the words of `sentune.data.forms`."""
        return next((form.wanted for form in self.forms if form.wanted != "none"), "none")

    @property
    def is_label_optional(self) -> bool:
        """Whether it reads labels and can do without."""
        return {"none"} < {form.wanted for form in self.forms}

    def forward(
        self, sentence_features: Iterable[Features], labels: Tensor | None = None
    ) -> LossValue:
        """The loss of a batch, one dict of tokenised text per column, ragged or padded."""
        features = list(sentence_features)
        columns = self.embed(features)
        context = self.context(features)
        if not self.is_computed_in_full:
            return self.compute(columns, labels, **context)
        # Autocast would round products to half precision.
        with torch.autocast(columns[0].device.type, enabled=False):
            return self.compute(columns, labels, **context)

    def embed(self, features: Sequence[Features], embedder: Embedder | None = None) -> list[Tensor]:
        """What `compute` works on: one `(b, d)` per column, by `embedder` if it is given."""
        run = embedder or self.embedder()
        return run(self.model, features) if self.loss is None else self._inner.embed(features, run)

    def set_mini_batches(self, num_tokens: int | None, show_progress_bar: bool) -> None:
        """Limit mini-batches by tokens, None for rows, and show a progress bar over them or not."""
        check_sizes(mini_batch_num_tokens=num_tokens)
        self.mini_batch_num_tokens = num_tokens
        self.show_progress_bar = show_progress_bar

    def embedder(self) -> Embedder:
        """How this loss runs the model: a wrapper as the inner loss does, unless set otherwise."""
        if self.loss is not None and self.mini_batch_size is None:
            return self._inner.embedder()
        return Embedder(self.mini_batch_size, self.mini_batch_num_tokens, self.show_progress_bar)

    def context(self, features: Sequence[Features]) -> dict[str, Any]:
        """Keyword arguments for `compute` that come from the features and not from embeddings."""
        return {} if self.loss is None else self._inner.context(features)

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, *args: Any, **context: Any
    ) -> LossValue:
        """The loss of one `(b, d)` per column; with what `context` gave for this batch."""
        raise NotImplementedError(f"{type(self).__name__} has to define compute(columns, labels)")

    def compute_loss_from_embeddings(
        self, embeddings: Sequence[Tensor], labels: Tensor | None = None, **context: Any
    ) -> LossValue:
        """As `compute`, under the name that other libraries call; a subclass may override it."""
        compute = inherited(self, "compute_loss_from_embeddings")
        return compute(embeddings, labels, **context)

    @property
    def uses_gradient_cache(self) -> bool:
        """Whether the model runs again in the backward pass, mini-batch by mini-batch."""
        how = self.embedder()
        return how.mini_batch_size is not None or how.mini_batch_num_tokens is not None

    @property
    def citation(self) -> str:
        """The papers behind it, in BibTeX; empty where there are none. It can be set."""
        if "_citation" in self.__dict__:
            return self.__dict__["_citation"]
        found = (cited_by(kind.__name__) for kind in type(self).__mro__)
        return "\n\n".join(next(filter(None, found), []))

    @citation.setter
    def citation(self, text: str) -> None:
        self.__dict__["_citation"] = text

    def settings(self) -> dict[str, Any]:
        """The settings of this loss, readable and JSON-able, for the model card."""
        names = [*self.option_names]
        names += [name for name in ("mini_batch_size", "mini_batch_num_tokens") if self._has(name)]
        return {name: describe(getattr(self, name)) for name in names}

    def get_config_dict(self) -> dict[str, Any]:
        """As `settings`, under the name that other libraries call."""
        return self.settings()

    def take(self, columns: Sequence[Tensor]) -> list[Tensor]:
        """The columns, one `(b, d)` each, in full precision; InputError unless all are there."""
        most = float("inf") if self.max_columns is None else self.max_columns
        if not self.min_columns <= len(columns) <= most:
            raise InputError(
                f"{type(self).__name__} wants {self.inputs}, got "
                f"{len(columns)} column{'' if len(columns) == 1 else 's'}; "
                "give it one input column for each, in this order"
            )
        rows = [len(column) for column in columns]
        if len(set(rows)) > 1:
            raise InputError(f"all columns must have as many rows, got {rows}")
        return [full_precision(column) for column in columns]

    def row_labels(self, labels: Tensor | None, like: Tensor) -> Tensor:
        """The labels as `(b,)`, on the device of `like (b, d)`; InputError if not one per row."""
        if labels is None or labels.numel() != len(like):
            got = "none" if labels is None else f"labels of shape {tuple(labels.shape)}"
            raise InputError(
                f"{type(self).__name__} wants {LABELS[self.label_kind]}, one for each of the "
                f"{len(like)} rows; got {got}"
            )
        return labels.reshape(-1).to(like.device)

    def extra_repr(self) -> str:
        """The settings, for `print(loss)`."""
        return ", ".join(f"{name}={value!r}" for name, value in self.settings().items())

    def _wrap(self, loss: Any) -> None:
        """Be the inner loss to whoever asks about columns and labels."""
        if not isinstance(loss, nn.Module):
            raise SettingError(
                f"{type(self).__name__} wraps a loss, got {describe(loss)!r}; give it one of "
                "sentune.losses, made with the same model, or a torch.nn.Module of your own"
            )
        if getattr(loss, "model", self.model) is not self.model:
            raise SettingError(f"{type(self).__name__} and its inner loss have different models")
        is_library_loss = isinstance(loss, Loss) and not given.is_users(loss, "forward")
        # In a tuple: the loss itself is the module.
        self._inner_loss: tuple[Any] = (loss if is_library_loss else _CustomLoss(self, loss),)
        inner = self._inner
        self.inputs, self.forms, self.limits = inner.inputs, inner.forms, inner.limits
        self.is_computed_in_full = inner.is_computed_in_full

    @property
    def _inner(self) -> Loss:
        """The inner loss as one with `embed`, `context` and `compute`."""
        return self._inner_loss[0]

    def _has(self, name: str) -> bool:
        return name not in self.option_names and getattr(self, name) is not None


def inherited(loss: Loss, name: str) -> Callable[..., LossValue]:
    """The `compute` of a loss above the classes of users that define a method of this name."""
    mro = type(loss).__mro__
    theirs = [
        place for place, kind in enumerate(mro) if name in vars(kind) and given.is_foreign(kind)
    ]
    above = mro[theirs[-1] + 1 :] if theirs else mro
    compute = next(vars(kind)["compute"] for kind in above if "compute" in vars(kind))
    return functools.partial(compute, loss)


class _CustomLoss(Loss):
    """A loss with a `forward` of the user's own, for the wrapper it is in."""

    is_computed_in_full = False  # as it is on its own

    def __init__(self, wrapper: Loss, own: nn.Module) -> None:
        name = type(own).__name__
        if isinstance(own, Loss) and type(own).embed is not Loss.embed:
            raise SettingError(
                f"{type(wrapper).__name__} cannot wrap {name}, which runs the model in a way of "
                "its own and has its own forward; define compute in place of forward"
            )
        if not given.holders_of(own, wrapper.model):
            raise SettingError(
                f"{type(wrapper).__name__} computes {name} on embeddings that it has changed, and "
                f"{name} does not hold the model to get them from; set self.model = model in it, "
                "or make it a subclass of sentune.losses.Loss with compute(columns, labels)"
            )
        super().__init__(wrapper.model)
        self._own = (own,)
        if isinstance(own, Loss):
            self.inputs, self.forms, self.limits = own.inputs, own.forms, own.limits
            self.head_width = own.head_width

    def context(self, features: Sequence[Features]) -> dict[str, Any]:
        return {"features": [given.padded(self.model, one) for one in features]}

    def compute(
        self, columns: Sequence[Tensor], labels: Tensor | None = None, *args: Any, **context: Any
    ) -> LossValue:
        (own,) = self._own
        value = given.run_on(own, self.model, context["features"], columns, labels)
        return given.checked(value, type(own).__name__)


def full_precision(tensor: Tensor) -> Tensor:
    """Half-precision tensors as float32, others as they are."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def embedding_width(model: Any) -> int | None:
    """The width of the model's embeddings; None if it does not say."""
    ask = getattr(model, "get_embedding_dimension", None)
    return ask() if callable(ask) else None


def describe(value: Any) -> Any:
    """A setting as a model card shows it: functions and modules by name, the rest as it is."""
    if isinstance(value, functools.partial):
        options = ", ".join(f"{key}={option!r}" for key, option in value.keywords.items())
        return f"{describe(value.func)}({options})"
    if isinstance(value, Loss):
        return type(value).__name__
    if isinstance(value, nn.Module):
        return f"{type(value).__module__}.{type(value).__qualname__}"
    if callable(value):
        return getattr(value, "__qualname__", type(value).__name__)
    return value
