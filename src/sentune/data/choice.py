"""Which columns of a table are texts and which one is the label, and what they become."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from sentune._lazy import need
from sentune.checks import nearest
from sentune.data import column_values as values
from sentune.data.columns import LABEL_COLUMNS
from sentune.data.csv_rows import NUMBERED
from sentune.errors import DatasetError, SettingError

# Names of columns with labels that are not those of a dataset for training.
_LABEL_WORDS = frozenset(
    "similarity similarity_score sim_score relatedness relatedness_score gold_label gold_score "
    "class category intent topic target sentiment rating stars relevance is_duplicate "
    "is_paraphrase entailment".split()
)
_SCORE = re.compile(r"score|similarity|relatedness")  # in names of numbers that are no classes
_NAMED = (  # what a name such as docid or questionID says that it is the number of
    "q|d|p|doc|document|query|question|answer|passage|pair|sent|sentence|text|row|item|user|group|"
    "product|review|post|comment|article|page|news|record|case|ticket|order|customer|session"
)
_ID = re.compile(
    rf"(?i:(.*[_-])?(id|idx|index|uid|uuid|guid)|({_NAMED})id|unnamed: 0)|.*[a-z](ID|Id)"
)
_LONG = 40  # characters on average that no id has
_FEWEST = 10  # rows in which whole numbers that all differ are ids
_FEW_WORDS = 20  # rows in which any words may be labels
_MANY = 40  # rows in which a column that has a few words again and again is no text
_LOOKED_AT = 100  # values that show that a column holds no numbers
_LINE = "text"  # the column of a text file


class MissingColumnError(DatasetError):
    """A column that was asked for and is not there."""


class Wish(NamedTuple):
    """What somebody says of the columns.

    Attributes:
        columns: New name -> name in the data, in order; None for all of them.
        label: Name in the data of the column with the labels; None if it is to be detected.
        is_whole: Whether all columns are taken as they are.
    """

    columns: Mapping[str, str] | None
    label: str | None
    is_whole: bool = False

    @classmethod
    def of(cls, columns: Mapping[str, str] | Sequence[str] | None, label: str | None) -> Wish:
        """From what a caller gives; a sequence has names that stay."""
        if columns is None or isinstance(columns, Mapping):
            return cls(columns, label)
        if isinstance(columns, str):
            raise SettingError(
                f"columns must be a dict of new name -> name in the data or a list of names, got "
                f"{columns!r}"
            )
        if len(set(columns)) < len(columns):
            raise SettingError(f"columns has a name twice: {', '.join(columns)}")
        return cls({name: name for name in columns}, label)

    def names(self) -> list[str] | None:
        """The columns that the data must have; None if all are taken."""
        if self.columns is None:
            return None
        return list(dict.fromkeys([*self.columns.values(), *([self.label] if self.label else [])]))


class Column(NamedTuple):
    """A column as it will be.

    Attributes:
        name: Its new name.
        source: Its name in the data.
        convert: Makes its values of those in the data.
        feature: Of the `datasets` library; None for that of its type.
        is_label: Whether it is the label.
    """

    name: str
    source: str
    convert: Callable[[Any], Any]
    feature: Any
    is_label: bool


class Choice(NamedTuple):
    """The columns in their order, and what a person should know of the choice, as sentences."""

    columns: list[Column]
    notes: list[str]
    is_whole: bool = False  # all of them are taken as they are: nothing was chosen

    @property
    def is_plain(self) -> bool:
        """Whether columns are only chosen and renamed."""
        sources = [column.source for column in self.columns]
        is_same = all(column.convert is values.same for column in self.columns)
        return is_same and len(set(sources)) == len(sources)


def choose(table: Any, wish: Wish, *, is_text: bool, features: Mapping[str, Any]) -> Choice:
    """What the columns of a table become.

    Args:
        table: A `pyarrow.Table`.
        wish: What was asked for.
        is_text: Whether numbers may be written as texts, as in csv files.
        features: Of the `datasets` library, as far as they are known.

    Raises:
        DatasetError: If a column is missing or the label cannot be one.
    """
    return _Chooser(table, wish, is_text, features).choice()


class _Chooser:
    def __init__(self, table: Any, wish: Wish, is_text: bool, features: Mapping[str, Any]) -> None:
        self.table, self.wish, self.is_text, self.features = table, wish, is_text, features
        self.notes: list[str] = []
        self._numbers: dict[str, Any] = {}

    def choice(self) -> Choice:
        wish, names = self.wish, self.table.column_names
        for name in [*(wish.columns or {}).values(), *([wish.label] if wish.label else [])]:
            if name not in names:
                raise MissingColumnError(f"there is no column {name!r}{near(name, names)}")
        pairs, label = self._named() if wish.columns is not None else self._detected()
        is_single = len(pairs) == 2
        columns = [
            self._label(new, old, is_single=is_single) if old == label else self._plain(new, old)
            for new, old in pairs
        ]
        new_names = [column.name for column in columns]
        if twice := next((name for name in new_names if new_names.count(name) > 1), None):
            raise DatasetError(
                f"two columns would have the name {twice!r}; give another one in columns"
            )
        return Choice(columns, self.notes, wish.is_whole)

    def _named(self) -> tuple[list[tuple[str, str]], str | None]:
        """The columns that were asked for."""
        columns, label = dict(self.wish.columns or {}), self.wish.label
        named = [new for new in columns if new in LABEL_COLUMNS]
        if label is None:
            return list(columns.items()), columns[named[0]] if named else None
        if named and columns[named[0]] != label:
            raise DatasetError(
                f"the label is to be {columns[named[0]]!r} by columns and {label!r} by label; "
                "leave out one of them"
            )
        if label not in columns.values():
            if label in columns:
                raise DatasetError(
                    f"{label!r} is the label and the new name of another column; give that column "
                    "another name"
                )
            columns[label] = label
        return list(columns.items()), label

    def _detected(self) -> tuple[list[tuple[str, str]], str | None]:
        """All columns, without those that are no texts and no label."""
        names = self.table.column_names
        if self.wish.is_whole:
            return [(name, name) for name in names], None
        self._tell_of_tabs()
        label = self.wish.label or self._found_label(names)
        left_out = [name for name in names if name in LABEL_COLUMNS and name != label]
        if left_out:
            others = _listed(left_out)
            self.notes.append(
                f"column {label!r} is the label; {others} left out, as a dataset has one label "
                f"(label={left_out[0]!r} or --label {left_out[0]} takes it)"
            )
        empty = [name for name in names if self._is_empty(name) and name != label]
        if empty and len(empty) < len(names):
            self.notes.append(f"{_listed(empty)} left out: there is nothing in it")
            left_out += empty
        rest = [name for name in names if name not in (*left_out, label)]
        ids = [name for name in rest if self._is_id(name)]
        if ids and len(ids) < len(rest):
            left_out += ids
            shown = [name for name in ids if name != "Unnamed: 0"]
            if shown:
                self.notes.append(
                    f"{_left_out(shown)} ids, which are no texts (name the columns "
                    f"with columns=... or --columns to keep {_them(shown)})"
                )
        kinds = [] if label is None else [n for n in rest if n not in ids]
        kinds = [name for name in kinds if self._is_kind(name) or self._names(name, label)]
        if kinds and len(ids) + len(kinds) < len(rest):
            left_out += kinds
            self.notes.append(
                f"{_left_out(kinds)} numbers or a few words that come again and "
                f"again, which are no texts (columns=... or --columns keeps {_them(kinds)}, "
                "label=... or --label makes one the label)"
            )
        return [(name, name) for name in names if name not in left_out], label

    def _tell_of_tabs(self) -> None:
        """Lines of a text file that are more likely rows of a table."""
        pa = need("pyarrow", extra="train")
        pc = need("pyarrow.compute", extra="train")
        if self.table.column_names != [_LINE] or not pa.types.is_string(self.table.column(0).type):
            return
        tabs = pc.count_substring(self.table.column(0).slice(0, _LOOKED_AT), "\t").unique()
        if len(tabs) == 1 and (tabs[0].as_py() or 0) > 0:
            self.notes.append(
                "each line is one text, but all have tabs; format='tsv' or --format tsv makes "
                "columns of them"
            )

    def _found_label(self, names: Sequence[str]) -> str | None:
        usual = [name for name in names if name in LABEL_COLUMNS]
        if usual:
            return usual[0]
        likely = [name for name in names if self._may_be(name)]
        likely = likely or [n for n in names if self._is_kind(n) and not self._is_id(n)]
        if not likely or len(names) == 1:
            return None
        if len(likely) > 1:  # whichever were taken, it might be the wrong one
            if not any(self._is_text(name) for name in names if name not in likely):
                return None
            raise DatasetError(
                f"columns {', '.join(map(repr, likely))} may each be the label; say which one it "
                f"is with label={likely[0]!r} or --label {likely[0]}, or which columns are texts "
                "with columns=... or --columns"
            )
        self.notes.append(
            f"column {likely[0]!r} is taken as the label; label=... or --label names another, "
            "columns=... or --columns makes it a text"
        )
        return likely[0]

    def _may_be(self, name: str) -> bool:
        """Whether a column is a label by its name, and can be: numbers, or words in many rows."""
        pa = need("pyarrow", extra="train")
        if name.startswith(NUMBERED):  # in a file without a head
            return self._kind(name) is not None and not self._is_id(name)
        if name.lower() not in _LABEL_WORDS:
            return False
        if self._kind(name) is not None:
            return True
        column = self.table.column(name)
        if not pa.types.is_string(column.type):
            return False
        words, rows = len(column.unique()), len(column)
        return (
            words <= rows / 2
            or (rows < _FEW_WORDS and words < rows)
            or values.are_with_comma(column)
        )

    def _is_text(self, name: str) -> bool:
        pa = need("pyarrow", extra="train")
        return pa.types.is_string(self.table.column(name).type) and not self._is_id(name)

    def _is_empty(self, name: str) -> bool:
        column = self.table.column(name)
        return bool(column.null_count == len(column))

    def _is_id(self, name: str) -> bool:
        pc = need("pyarrow.compute", extra="train")
        pa = need("pyarrow", extra="train")
        column, kind = self.table.column(name), self._kind(name)
        is_whole = kind is not None and pa.types.is_integer(kind)
        if name.lower() == "unnamed: 0":
            return is_whole
        if _ID.fullmatch(name):
            is_number = kind is not None
            is_string = pa.types.is_string(column.type)
            return is_number or (
                is_string and (pc.mean(pc.utf8_length(column)).as_py() or 0) <= _LONG
            )
        if not is_whole or len(column) < _FEWEST:
            return False
        return bool(pc.count_distinct(column).as_py() == len(column) - column.null_count)

    def _is_kind(self, name: str) -> bool:
        """Whether a column of many rows has numbers, or says with a word of what kind a row is."""
        pa = need("pyarrow", extra="train")
        pc = need("pyarrow.compute", extra="train")
        column = self.table.column(name)
        if len(column) < _MANY:
            return False
        if not pa.types.is_string(column.type) or self._kind(name) is not None:
            return self._kind(name) is not None
        if len(column.slice(0, _MANY).unique()) > _MANY / 2:  # seen without a look at all rows
            return False
        words = column.unique().drop_null()
        is_few = 0 < len(words) <= len(column) / 10
        return is_few and not pc.any(pc.match_substring_regex(words, r"\s")).as_py()

    def _names(self, name: str, label: str | None) -> bool:
        """Whether a column says the label again, in words: label_text beside label."""
        pa = need("pyarrow", extra="train")
        columns = [self.table.column(one) for one in (name, label)]
        if not all(
            pa.types.is_string(one.type) or pa.types.is_integer(one.type) for one in columns
        ):
            return False
        # Most columns are told apart without a look at all rows.
        first = values.counted(pa, [one.slice(0, _LOOKED_AT) for one in columns])
        if len(set(first)) > 1:
            return False
        count, *others = values.counted(pa, columns)
        return set(others) == {count} and count <= len(self.table) / 2

    def _kind(self, name: str) -> Any:
        """The type of the numbers in a column; None if it has others than numbers."""
        if name not in self._numbers:
            self._numbers[name] = self._kind_of(self.table.column(name))
        return self._numbers[name]

    def _kind_of(self, column: Any) -> Any:
        pa = need("pyarrow", extra="train")
        types = pa.types
        if types.is_integer(column.type) or types.is_floating(column.type):
            return column.type
        if not types.is_string(column.type) or not self.is_text:
            return None
        return values.numbers_in(column)

    def _plain(self, new: str, old: str) -> Column:
        """A column that is no label: numbers of a text file are numbers, unless it was named."""
        kind = self._kind(old) if self.wish.columns is None else None
        if kind is None or kind == self.table.column(old).type:
            return Column(new, old, values.same, self._feature(old), False)
        return Column(new, old, values.to_numbers(kind), None, False)

    def _label(self, new: str, old: str, *, is_single: bool) -> Column:
        """The label; of a single text whole numbers written as 1.0 are classes, too."""
        pa = need("pyarrow", extra="train")
        column = self.table.column(old)
        is_class = is_single and not _SCORE.search(old.lower())
        if not pa.types.is_string(column.type):
            is_float = pa.types.is_floating(column.type)
            if is_float and is_class and values.are_whole(column):
                return Column(self._label_name(new, old, "label"), old, values.to_whole, None, True)
            name = self._label_name(new, old, "score" if is_float else "label")
            return Column(name, old, values.same, self._feature(old), True)
        kind, convert = values.numbers_in(column), values.to_numbers
        if kind is None and values.are_with_comma(column):
            kind, convert = pa.float64(), values.with_comma
            self.notes.append(f"the numbers in {old!r} have a comma for the decimal point")
        if kind is not None:
            if _SCORE.search(old.lower()) and not values.are_binary(column):
                kind = pa.float64()
            is_float = pa.types.is_floating(kind)
            if is_float and is_class and values.are_whole(convert(kind)(column)):
                whole = values.in_turn(convert(kind), values.to_whole)
                return Column(self._label_name(new, old, "label"), old, whole, None, True)
            name = self._label_name(new, old, "score" if is_float else "label")
            return Column(name, old, convert(kind), None, True)
        return self._words(self._label_name(new, old, "label"), old)

    def _feature(self, name: str) -> Any:
        """What is known of a column, if its values are still such."""
        types = need("pyarrow", extra="train").types
        feature = self.features.get(name)
        is_whole = types.is_integer(self.table.column(name).type)
        return feature if is_whole or not hasattr(feature, "names") else None

    def _label_name(self, new: str, old: str, usual: str) -> str:
        return new if new in LABEL_COLUMNS else usual

    def _words(self, name: str, old: str) -> Column:
        """Labels that are words: numbers from 0, in the order of the words."""
        column = self.table.column(old)
        words = sorted(word for word in column.unique().to_pylist() if word is not None)
        if len(words) == len(column) - column.null_count and len(column) >= _FEW_WORDS:
            if self.wish.label is not None:
                raise DatasetError(
                    f"column {old!r} cannot be the label: its {len(words):,} texts all differ"
                )
            return Column(name, old, values.same, None, True)
        shown = ", ".join(f"{word} = {place}" for place, word in enumerate(words[:4]))
        more = " ..." if len(words) > 4 else ""
        self.notes.append(f"the words in {old!r} are numbered: {shown}{more}")
        feature = need("datasets", extra="train").ClassLabel(names=words)
        return Column(name, old, values.to_places(words), feature, True)


def near(name: str, names: Sequence[str]) -> str:
    """The end of a sentence about a column that is not there: what there is."""
    return f"; there are {', '.join(names)}{nearest(name, names)}"


def _left_out(names: Sequence[str]) -> str:
    return f"{_listed(names)} left out: {'it has' if len(names) == 1 else 'they have'}"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _listed(names: Sequence[str]) -> str:
    words = ", ".join(map(repr, names))
    return f"column {words} is" if len(names) == 1 else f"columns {words} are"
