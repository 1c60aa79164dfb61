"""Settings -> the plain values and the parts that other rooms work with: the one place that joins what the walls keep apart.

It reads `config`; everything below it gets plain values.
"""
