"""The checks of `terrasterctl doctor`: of the host, the files and the running processes.

A check takes values (a `/proc` below some root, a configuration, the state of files) and returns findings. `terraster.cli.doctor` gathers
the values and prints.
"""
