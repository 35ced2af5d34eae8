from .example import InputExample as InputExample
from .fitting import check as check
from .nested import spread as spread
