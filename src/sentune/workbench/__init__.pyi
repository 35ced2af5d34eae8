from .duplicates import near_duplicates as near_duplicates
from .duplicates import normalised as normalised
from .model_info import ModelInfo as ModelInfo
from .model_info import info as info
from .training import Result as Result
from .training import train as train
