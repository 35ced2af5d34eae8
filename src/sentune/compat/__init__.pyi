from .alias import install as install
from .alias import uninstall as uninstall
