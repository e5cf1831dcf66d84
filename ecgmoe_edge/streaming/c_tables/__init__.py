"""The constants of the C monitor, all taken from the Python objects of the reference.

The C sources in `firmware_bridge/firmware/monitor` contain no coefficient, weight or threshold that Python defines.
They get them as one struct, `ecgmoe_tables`: for a chip it is generated as C, for the Python extension it is filled at
run time. `python -m ecgmoe_edge.streaming.c_tables` writes the generated files again.
"""
