from .example import InputExample as InputExample
from .inspect import check as check
from .nested import spread as spread
