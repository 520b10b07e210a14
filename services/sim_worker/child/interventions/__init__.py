"""What can be changed in a running simulation, for both engines.

Every kind is looked at whole before anything is changed; what is found are the changes to make, in order. So an
intervention that is refused has changed nothing, and `check` costs nothing but the look.
"""

from sim_worker.child.interventions.apply import Interventions
from sim_worker.child.interventions.looks import Refusal

__all__ = ["Interventions", "Refusal"]
