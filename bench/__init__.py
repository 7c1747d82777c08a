"""asv benchmarks: `make bench`, or `asv run --python=same --quick --bench mailbox`.

There is no benchmark of conversations: nothing native follows them yet.

asv imports this package without the checkout on the path, where the twins of tests/oracles are.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
