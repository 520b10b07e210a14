"""The map of a study's report: roads of a network, traffic on them from SUMO's edge data."""

import gzip
import math

import pytest

from milepost.report.study.model import EdgeMeans
from milepost.report.study.roads import Point, Road, roads_of, simplified
from milepost.report.study.traffic import EdgeTraffic, means_of, traffic_of

NET = b"""<net>
  <edge id=":J_0" function="internal"><lane id=":J_0_0" index="0" shape="0,0 1,1"/></edge>
  <edge id="a" from="A" to="B">
    <lane id="a_0" index="0" shape="0.00,0.00 50.00,0.10 100.00,0.00"/>
    <lane id="a_1" index="1" shape="0.00,3.20 50.00,30.00,7 100.00,3.20"/>
  </edge>
  <edge id=":J_c0" function="crossing"><lane id=":J_c0_0" index="0" shape="0,0 1,1"/></edge>
  <edge id="b" from="B" to="A"><lane id="b_0" index="0" shape="100,0 50,0.1 0,0"/></edge>
</net>"""
EDGES = b"""<meandata>
  <interval begin="0.00" end="60.00" id="e">
    <edge id="a" sampledSeconds="100.00" traveltime="10.0" timeLoss="20.50" speed="10.00" departed="2" entered="3"/>
    <edge id="quiet" sampledSeconds="0.00"/>
  </interval>
  <interval begin="60.00" end="120.00" id="e">
    <edge id="a" sampledSeconds="300.00" traveltime="10.0" timeLoss="9.50" speed="2.00" departed="0" entered="1"/>
  </interval>
</meandata>"""


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_roads_are_the_edges_that_vehicles_drive_on_without_corners_that_are_none(pack):
    content = pack(NET)
    roads = roads_of([content[:9], content[9:40], content[40:]])
    assert roads == [
        Road("a", 2, (Point(0, 3.2), Point(50, 30), Point(100, 3.2))),
        Road("b", 1, (Point(100, 0), Point(0, 0))),
    ]


def test_a_curve_keeps_its_form_and_a_ring_its_corners():
    ring = (Point(0, 0), Point(10, 0), Point(10, 10), Point(0, 10), Point(0, 0))
    assert simplified(ring) == ring
    assert simplified((Point(1, 1),)) == (Point(1, 1),)


def test_traffic_is_added_up_over_intervals_and_averaged_over_runs():
    run = traffic_of([EDGES[:100], EDGES[100:]])
    busy = {"a": EdgeTraffic(sampled_s=400.0, driven_m=3200.0, time_loss_s=0.0, vehicles=0)}
    means = means_of([run])
    assert means["a"] == EdgeMeans(speed_mps=4.0, delay_s=30.0, vehicles=6.0)
    assert math.isnan(means["quiet"].speed_mps)
    assert means_of([run, busy])["a"] == EdgeMeans(speed_mps=6.0, delay_s=15.0, vehicles=3.0)


@pytest.mark.parametrize(
    "content", [b"", b"no xml", b"<meandata><interval>", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", b"<a><edge/></a>"]
)
def test_what_is_no_edge_data_is_refused(content):
    with pytest.raises(ValueError, match=r"no XML|document type|missing"):
        traffic_of([content])
