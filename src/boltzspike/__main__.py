"""``python -m boltzspike``: the command line."""

from boltzspike_command import main

main()
