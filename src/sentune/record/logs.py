"""What a trainer logs besides the loss, its parts and the figures of evaluators."""

from __future__ import annotations

import re

# Where tokens are counted: the share of a padded batch that would be padding.
PADDING_SAVED = "padding_saved"
# Names of figures that say nothing of the model.
OF_THE_TRAINER = re.compile(
    "epoch|step|total_flos|num_input_tokens_seen|learning_rate|grad_norm|"
    f"{PADDING_SAVED}|.*(_runtime|_per_second)"
)
