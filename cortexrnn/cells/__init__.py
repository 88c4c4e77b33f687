"""One step of every kind of network cell: forward, hand-written adjoint, initial weights."""
