"""python -m market_maker is the command `market-maker`."""

from market_maker.cli import main

main()
