"""What serving costs: our gateway, direct Triton, echoes and peers, in one interleaved run.

    .venv/bin/python -m benchmarks.serving run --store .demo/store

``docs/performance.md`` says what is compared and shows the last results.
"""
