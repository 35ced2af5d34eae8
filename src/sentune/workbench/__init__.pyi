from .duplicates import near_duplicates as near_duplicates
from .duplicates import normalised as normalised
