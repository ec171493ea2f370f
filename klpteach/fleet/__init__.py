"""A fleet of machines lives through a year, once under each proposal: what does each cost whom?

In this order: events.py (an event as commands), fleet.py (parameters, customers, the year in numbers), days.py (the
calendar), fingerprint.py (when two machines are in the same state), states.py (the table of states that the model fills),
walk.py (all machines at once), run.py (run_fleet).
"""

from .fleet import CUSTOMERS as CUSTOMERS
from .fleet import LEFT_OUT as LEFT_OUT
from .fleet import Customer as Customer
from .fleet import Fleet as Fleet
from .fleet import Tally as Tally
from .fleet import assumptions as assumptions
from .fleet import default_mixes as default_mixes
from .run import run_fleet as run_fleet
