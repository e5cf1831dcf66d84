"""Provides `open_record` for scripts written for version 0.1; `open_recording` reads any format."""

from ecgmoe_edge.records.formats.wfdb_record import WfdbRecord, open_record

__all__ = ["WfdbRecord", "open_record"]
