"""The feature service alone: `python -m services.feature`."""

from services.feature.alone import main

main()
