"""What the scripts share, room by room; docs/house.md says what lies where."""

from util import start

start.prepare()  # every script imports this package first
