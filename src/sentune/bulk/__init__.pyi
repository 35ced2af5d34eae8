from .encode import Summary as Summary
from .encode import encode_corpus as encode_corpus
from .encode import encode_shard as encode_shard
from .encode import finish as finish
from .job import Job as Job
from .job import Settings as Settings
from .share import Share as Share
