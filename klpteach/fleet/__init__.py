"""A fleet of machines lives through a year, once under each proposal: what does each cost whom?

Rooms: run.py (parameters, customers, run_fleet), days.py (the calendar), events.py (an event as commands), states.py (the
table of states that the model fills), prints.py (when two machines are in the same state), saved.py (a kernel put aside),
walk.py (all machines at once).
"""

from .events import Cast as Cast
from .events import Event as Event
from .run import CUSTOMERS as CUSTOMERS
from .run import LEFT_OUT as LEFT_OUT
from .run import Customer as Customer
from .run import Fleet as Fleet
from .run import Tally as Tally
from .run import assumptions as assumptions
from .run import default_mixes as default_mixes
from .run import run_fleet as run_fleet
