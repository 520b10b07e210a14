"""SUMO scenarios from upload to argv: unpacked, inspected and prepared; hostile until proven otherwise.

upload -> bundle (paths, sizes, links) -> limited (inspect in a limited process) -> Scene + warnings
Scene + fresh copies of its files -> prepare (outputs rewritten) -> arguments of SUMO
"""
