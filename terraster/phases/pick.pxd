cimport cython

from ..balance.contract cimport Balancer, Member
from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from .data_plane cimport DataPlane


@cython.locals(location=LocationPlan)
cpdef Member first_pick(DataPlane plane, Exchange exchange)
