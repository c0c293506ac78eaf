"""The loops of `skatom.descriptors._cpu` on tensors; imported only when a device is used.

A module of a descriptor has the functions ``values(pairs, parameters)``, ``pair_gradients(pairs,
parameters, cotangent)`` and ``pair_jacobian(pairs, parameters)`` for the `PairTensors` of some
centres and the parameters of its compiled functions, with tensors instead of arrays, and
``scratch(counts, parameters)``, the memory of their intermediate results. One with tables of its
own has ``on_device(parameters, device)``, whose result takes the place of these tensors.
"""
