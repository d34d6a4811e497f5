"""``python -m bioclip_lib.figures``: draw a run's figures again."""

import sys

from .gallery import main

sys.exit(main())
