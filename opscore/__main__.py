"""``python -m opscore`` is the command ``opscore``."""

from opscore.cli import main

if __name__ == "__main__":
    main()
