"""The error tree. Each class is also the builtin that older `except` lines expect.

SentuneError
├── InputError              (ValueError)   a text, column, label or vector that cannot be used
│   ├── InputTypeError      (TypeError)    ... because of its type
│   ├── MissingInputError   (FileNotFoundError)   ... or a file of it that is not there
│   └── WorkersDiedError                   ... or on which worker processes die
├── SettingError            (ValueError)   an argument or option outside what is allowed
│   └── MissingFolderError  (FileNotFoundError)   ... as a folder that is not there
├── DatasetError            (ValueError)   a dataset whose columns or labels do not fit
│   └── MissingDatasetError (FileNotFoundError)   ... or that is not there
├── ModelFileError          (ValueError)   a folder or file that is not a model, or is damaged
│   ├── MissingModelError   (FileNotFoundError)   ... or that is not there
│   └── UntrustedCodeError                 ... or would run code that was not allowed to run
├── HubError                (OSError)      the Hub said no, or could not be reached
│   └── HubNotFoundError    (FileNotFoundError)   ... or does not have it, nor does the cache
├── MissingDependencyError  (ImportError)  an extra that is not installed
├── OutputError             (OSError)      results that cannot be written, as on a full disk
└── TrainingError           (RuntimeError) a run that cannot go on

A message says what was given, what is allowed and what to do.
"""

from __future__ import annotations

import os
import sys
import warnings


class SentuneError(Exception):
    """Base of every error that sentune raises on purpose."""


class InputError(SentuneError, ValueError):
    """A text, column, label or vector that cannot be used."""


class InputTypeError(InputError, TypeError):
    """A value of a type that cannot be used."""


class MissingInputError(InputError, FileNotFoundError):
    """A file of input that is not there."""


class WorkersDiedError(InputError):
    """Inputs on which worker processes die, most often because memory runs out."""


class SettingError(SentuneError, ValueError):
    """An argument or option outside what is allowed."""


class MissingFolderError(SettingError, FileNotFoundError):
    """An argument that names a folder which is not there."""


class DatasetError(SentuneError, ValueError):
    """A dataset whose columns or labels do not fit what is asked of them."""


class MissingDatasetError(DatasetError, FileNotFoundError):
    """A file or folder of data that is not there."""


class ModelFileError(SentuneError, ValueError):
    """A folder or file that is not a model, or is damaged."""


class MissingModelError(ModelFileError, FileNotFoundError):
    """A folder or file of a model that is not there."""


class UntrustedCodeError(ModelFileError):
    """A model that would run code of its own without being allowed to."""


class HubError(SentuneError, OSError):
    """The Hugging Face Hub said no, or could not be reached."""


class HubNotFoundError(HubError, FileNotFoundError):
    """What the Hub does not have or does not show; or, offline, what the cache does not have."""


class MissingDependencyError(SentuneError, ImportError):
    """An optional dependency that is not installed."""


class OutputError(SentuneError, OSError):
    """Results that cannot be written: a disk that is full, or that may not be written to."""


class TrainingError(SentuneError, RuntimeError):
    """A training run that cannot go on."""


class SentuneWarning(UserWarning):
    """Something worth knowing that is no error."""


def warn(message: str) -> None:
    """Warn at the line of the caller outside this package.

    Args:
        message: What happened, and what can be done.
    """
    package = os.path.dirname(__file__) + os.sep
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, SentuneWarning, stacklevel=level)
