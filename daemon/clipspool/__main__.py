"""The command `clipspool`, also as `python -m clipspool`."""

import gc

# Loading modules makes many objects and no garbage: collections in between take 20 to 50 ms.
gc.set_threshold(10_000)

from clipspool.cli import main  # noqa: E402 - click is the first that is loaded

if __name__ == "__main__":
    main()
