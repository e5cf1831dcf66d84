"""Scripts that write documents and reference files: run each as `python -m tools.NAME`."""
