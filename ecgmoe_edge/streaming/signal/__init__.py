"""The signal of one lead: filters, buffers, windows, quality, flatline and clipping."""
