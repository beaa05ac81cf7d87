"""Build the website: ``python -m tools.site``."""

import sys

from tools.site.build import main

sys.exit(main())
