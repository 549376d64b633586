cpdef tuple canonical(bytes target, bint refuse_encoded_slashes, bint merge_slashes=*)
