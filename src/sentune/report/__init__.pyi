from .document import missing as missing
from .document import page as page
