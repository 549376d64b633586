cimport cython

from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from ..net.connection cimport Connection
from ..plan cimport Plan, ServicePlan
from ..route.target cimport canonical
from ..wire.heads cimport RequestHead


@cython.locals(plan=Plan, head=RequestHead, connection=Connection, target=bytes, host=bytes, service=ServicePlan, location=LocationPlan, limit=cython.longlong)
cpdef LocationPlan locate(Exchange exchange)
