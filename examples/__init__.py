"""What a newcomer runs.

Programs that were compiled once are kept in the virtual environment, so that a second run starts at once; a caller's
own choice of a folder is respected.
"""

import os
import sys

if sys.prefix != sys.base_prefix:
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(sys.prefix, "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
