"""What a real browser may do: chromium-headless-shell, a page from an origin of its own, and what that page reports."""

import os
import sys

sys.dont_write_bytecode = True
here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(os.path.dirname(here), "nginx")]
