"""The addresses at which sentence-transformers has names: here, and for code of models.

The package names what is above it by strings alone, so that every layer may use it.
"""

from sentune.compat.alias import install as install
from sentune.compat.alias import uninstall as uninstall
