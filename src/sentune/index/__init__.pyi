from .index import Hit as Hit
from .index import Index as Index
