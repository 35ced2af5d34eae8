"""`python -m sentune` is `sentune`."""

from __future__ import annotations

import sys

from sentune.cli import main

sys.exit(main())
