from sentune.data.example import InputExample as InputExample

from .files import LabelSentenceReader as LabelSentenceReader
from .files import NLIDataReader as NLIDataReader
from .files import PairedFilesReader as PairedFilesReader
from .files import STSBenchmarkDataReader as STSBenchmarkDataReader
from .files import STSDataReader as STSDataReader
from .files import TripletReader as TripletReader
