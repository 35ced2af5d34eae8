from .index import Index as Index
from .searching import Hit as Hit
