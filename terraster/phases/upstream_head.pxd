cimport cython

from ..balance.contract cimport Member
from ..exchange cimport Exchange
from ..location_plan cimport LocationPlan
from ..wire.heads cimport RequestHead
from ..wire.octets cimport joined


@cython.locals(head=RequestHead, location=LocationPlan, extra=bytes, fields=bytes, path=bytes)
cpdef bytes upstream_head(Exchange exchange, Member member, bint framed)
