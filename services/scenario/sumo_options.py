"""SUMO 1.28's options by what a scenario may do with them; taken from `sumo --save-template`.

What stands nowhere here is refused, and a test holds the lists against the installed SUMO.
"""

# Lists of words are read, compared and regenerated more easily as text than as 400 quoted names.
# ruff: noqa: SIM905

from __future__ import annotations

from typing import Final

# Fields of the Scene of their own.
SCENE: Final = frozenset(
    """
    net-file route-files additional-files begin end step-length
    """.split()
)
# Further inputs in XML, comma-separated.
XML_INPUTS: Final = frozenset(
    """
    weight-files device.fcd-replay.files
    """.split()
)
# Further inputs in other formats.
TEXT_INPUTS: Final = frozenset(
    """
    fcd-output.filter-edges.input-file device.ssm.filter-edges.input-file astar.all-distances
    astar.landmark-distances
    """.split()
)
# Files SUMO writes: kept, but redirected into the session's own directory.
OUTPUTS: Final = frozenset(
    """
    netstate-dump emission-output battery-output elechybrid-output chargingstations-output
    overheadwiresegments-output substations-output fcd-output person-fcd-output full-output queue-output
    vtk-output amitran-output summary-output person-summary-output tripinfo-output personinfo-output
    vehroute-output personroute-output link-output railsignal-block-output railsignal-vehicle-output bt-output
    lanechange-output stop-output collision-output edgedata-output lanedata-output statistic-output
    deadlock-output pedestrian.jupedsim.wkt pedestrian.jupedsim.py device.rerouting.output device.ssm.file
    device.toc.file device.taxi.dispatch-algorithm.output device.taxi.idle-algorithm.output
    """.split()
)
# Every session's own (prepare.py sets them): a scenario's are overridden.
SESSION: Final = frozenset(
    """
    seed random threads device.rerouting.threads route-steps xml-validation xml-validation.net
    xml-validation.routes save-state.rng save-state.transportables save-state.constraints save-state.precision
    device.tripinfo.probability device.tripinfo.explicit device.tripinfo.deterministic
    """.split()
)
# No part of the simulation: reports, windows, names of outputs, state files (checkpoints are the session's).
IGNORED: Final = frozenset(
    """
    output-prefix output-suffix save-state.times save-state.period save-state.period.keep save-state.prefix
    save-state.suffix save-state.files verbose print-options help version no-warnings aggregate-warnings log
    message-log error-log log.timestamps log.processid language duration-log.disable duration-log.statistics
    no-step-log step-log.period gui-settings-file quit-on-end game game.mode start delay breakpoints
    edgedata-files alternative-net-file selection-file demo disable-textures registry-viewport window-size
    window-pos tracker-interval gui-testing gui-testing-debug gui-testing.setting-output
    """.split()
)
# Values: true or false.
BOOLEANS: Final = frozenset(
    """
    junction-taz write-license write-metadata human-readable-time netstate-dump.empty-edges emission-output.geo
    emission-output.step-scaled elechybrid-output.aggregated chargingstations-output.aggregated
    chargingstations-output.aggregated.write-unfinished fcd-output.geo fcd-output.utm fcd-output.signals
    fcd-output.distance fcd-output.acceleration fcd-output.speed-relative fcd-output.skip-empty
    queue-output.skip-empty tripinfo-output.write-unfinished tripinfo-output.write-undeparted
    vehroute-output.exit-times vehroute-output.last-route vehroute-output.sorted vehroute-output.dua
    vehroute-output.cost vehroute-output.intended-depart vehroute-output.route-length
    vehroute-output.write-unfinished vehroute-output.skip-ptlines vehroute-output.incomplete
    vehroute-output.stop-edges vehroute-output.speedfactor vehroute-output.internal lanechange-output.started
    lanechange-output.ended lanechange-output.xy stop-output.write-unfinished pedestrian.jupedsim.wkt.geo
    step-method.ballistic extrapolate-departpos no-internal-links ignore-route-errors ignore-accidents
    collision.check-junctions time-to-teleport.remove time-to-teleport.remove-constraint sloppy-insert
    eager-insert emergency-insert lanechange.overtake-right tls.all-off tls.actuated.show-detectors
    railsignal-moving-block slope-centered overhead-wire.solver overhead-wire.recuperation
    overhead-wire.substation-current-limits parking.maneuver use-stop-ended use-stop-started
    pedestrian.striping.legacy-departposlat mapmatch.junctions mapmatch.taz weights.random-factor.dynamic
    persontrip.ride-public-line replay-rerouting device.rerouting.deterministic device.rerouting.invalidation
    device.rerouting.with-taz device.rerouting.init-with-loaded-weights device.rerouting.synchronize
    device.rerouting.railsignal device.rerouting.bike-speeds person-device.rerouting.deterministic
    emissions.volumetric-fuel device.emissions.deterministic device.btreceiver.deterministic
    device.btreceiver.all-recognitions device.btsender.deterministic person-device.btsender.deterministic
    person-device.btreceiver.deterministic device.stationfinder.deterministic
    device.stationfinder.checkEnergyForRoute device.battery.deterministic device.battery.track-fuel
    device.example.deterministic device.ssm.deterministic device.ssm.trajectories device.ssm.geo
    device.ssm.write-positions device.ssm.write-lane-positions device.ssm.write-na device.toc.deterministic
    device.toc.mrmKeepRight device.toc.useColorScheme device.driverstate.deterministic
    device.bluelight.deterministic device.fcd.deterministic person-device.fcd.deterministic
    device.elechybrid.deterministic device.taxi.deterministic device.glosa.deterministic device.glosa.use-queue
    device.glosa.override-safety device.glosa.ignore-cfmodel device.vehroute.deterministic
    device.friction.deterministic device.fcd-replay.deterministic mesosim meso-ltm meso-multi-queue
    meso-lane-queue meso-junction-control meso-junction-control.limited meso-overtaking meso-interpolate-pos
    """.split()
)
# Values: whole numbers.
INTEGERS: Final = frozenset(
    """
    precision precision.geo netstate-dump.precision emission-output.precision battery-output.precision
    elechybrid-output.precision substations-output.precision max-num-vehicles max-num-persons max-num-teleports
    pedestrian.striping.walkingarea-detail device.rerouting.adaptation-steps device.rerouting.cch-ensemble
    phemlight-year thread-rngs
    """.split()
)
# Values: numbers.
FLOATS: Final = frozenset(
    """
    fcd-output.max-leader-distance queue-output.speed-threshold queue-output.percentile lateral-resolution
    collision.check-junctions.mingap collision.mingap-factor scale time-to-teleport.highways.min-speed
    tls.actuated.jam-threshold tls.actuated.detector-length tls.delay_based.detector-range tls.yellow.min-decel
    railsignal.moving-block.max-dist railsignal.max-block-length default.action-step-length default.speeddev
    emergencydecel.warning-threshold pedestrian.timegap-crossing pedestrian.striping.stripe-width
    pedestrian.striping.dawdling pedestrian.striping.mingap-to-vehicle pedestrian.striping.jamfactor
    pedestrian.striping.reserve-oncoming pedestrian.striping.reserve-oncoming.junctions
    pedestrian.striping.reserve-oncoming.max pedestrian.jupedsim.exit-tolerance
    pedestrian.jupedsim.strength-neighbor-repulsion pedestrian.jupedsim.range-neighbor-repulsion
    pedestrian.jupedsim.strength-geometry-repulsion pedestrian.jupedsim.range-geometry-repulsion
    ride.stop-tolerance mapmatch.distance weights.turnaround-penalty weights.reversal-penalty
    persontrip.walk-opposite-factor weights.random-factor weights.minor-penalty weights.tls-penalty
    weights.priority-factor weights.separate-turns persontrip.walkfactor railway.max-train-length
    device.rerouting.probability device.rerouting.adaptation-weight device.rerouting.cch-update-threshold.factor
    device.rerouting.threshold.factor person-device.rerouting.probability phemlight-temperature
    device.emissions.probability device.btreceiver.probability device.btreceiver.range device.btreceiver.offtime
    device.btsender.probability person-device.btsender.probability person-device.btreceiver.probability
    device.stationfinder.probability device.stationfinder.reserveFactor device.stationfinder.emptyThreshold
    device.stationfinder.maxEuclideanDistance device.stationfinder.saturatedChargeLevel
    device.stationfinder.needToChargeLevel device.stationfinder.opportunisticChargeLevel
    device.stationfinder.replacePlannedStop device.stationfinder.maxDistanceToReplacedStop
    device.battery.probability device.example.probability device.example.parameter device.ssm.probability
    device.ssm.range device.ssm.extratime device.ssm.mdrac.prt device.toc.probability device.toc.responseTime
    device.toc.recoveryRate device.toc.lcAbstinence device.toc.initialAwareness device.toc.mrmDecel
    device.toc.dynamicToCThreshold device.toc.dynamicMRMProbability device.toc.mrmSafeSpotDuration
    device.toc.maxPreparationAccel device.toc.ogNewTimeHeadway device.toc.ogNewSpaceHeadway
    device.toc.ogMaxDecel device.toc.ogChangeRate device.driverstate.probability
    device.driverstate.initialAwareness device.driverstate.errorTimeScaleCoefficient
    device.driverstate.errorNoiseIntensityCoefficient device.driverstate.speedDifferenceErrorCoefficient
    device.driverstate.headwayErrorCoefficient device.driverstate.freeSpeedErrorCoefficient
    device.driverstate.speedDifferenceChangePerceptionThreshold
    device.driverstate.headwayChangePerceptionThreshold device.driverstate.minAwareness
    device.driverstate.maximalReactionTime device.bluelight.probability device.bluelight.reactiondist
    device.bluelight.mingapfactor device.fcd.probability device.fcd.radius person-device.fcd.probability
    device.elechybrid.probability device.taxi.probability device.glosa.probability device.glosa.range
    device.glosa.max-speedfactor device.glosa.min-speed device.glosa.add-switchtime device.vehroute.probability
    device.friction.probability device.friction.stdDev device.friction.offset device.fcd-replay.probability
    meso-edgelength meso-jam-threshold meso-tls-penalty meso-tls-flow-penalty
    """.split()
)
# Values: seconds or [d:]h:m:s.
TIMES: Final = frozenset(
    """
    queue-output.period queue-output.aggregation summary-output.period ignore-junction-blocker
    collision.stoptime intermodal-collision.stoptime keep-after-arrival time-to-teleport
    time-to-teleport.highways time-to-teleport.disconnected time-to-teleport.ride time-to-teleport.bidi
    time-to-teleport.railsignal-deadlock waiting-time-memory startup-wait-threshold max-depart-delay
    random-depart-offset lanechange.duration time-to-impatience pedestrian.striping.jamtime
    pedestrian.striping.jamtime.crossing pedestrian.striping.jamtime.narrow pedestrian.jupedsim.step-length
    persontrip.taxi.waiting-time device.rerouting.period device.rerouting.pre-period
    device.rerouting.adaptation-interval device.rerouting.cch-update-threshold.constant
    device.rerouting.threshold.constant person-device.rerouting.period device.stationfinder.rescueTime
    device.stationfinder.radius device.stationfinder.repeat device.stationfinder.waitForCharge
    device.stationfinder.minOpportunityDuration device.taxi.dispatch-period
    device.taxi.dispatch-keep-unreachable meso-tauff meso-taufj meso-taujf meso-taujj meso-minor-penalty
    meso-recheck
    """.split()
)
# Values: text, also lists of it.
TEXTS: Final = frozenset(
    """
    weight-attribute output.compression output.format output.column-header output.column-separator
    collision.action intermodal-collision.action scale-suffix insertion-checks default.departspeed
    default.departlane default.carfollowmodel default.emergencydecel pedestrian.model pedestrian.jupedsim.model
    routing-algorithm persontrip.default.group device.rerouting.mode person-device.rerouting.mode
    person-device.rerouting.scope device.emissions.begin device.emissions.period
    device.stationfinder.rescueAction device.stationfinder.chargeType device.stationfinder.chargingStrategy
    device.ssm.measures device.ssm.thresholds device.ssm.exclude-conflict-types device.toc.manualType
    device.toc.automatedType device.toc.mrmSafeSpot device.fcd.begin device.fcd.period person-device.fcd.period
    device.taxi.dispatch-algorithm device.taxi.dispatch-algorithm.params device.taxi.idle-algorithm
    emission-output.attributes fcd-output.params fcd-output.attributes fcd-output.filter-shapes
    railsignal.moving-block.default-classes railsignal.default-classes persontrip.transfer.car-walk
    persontrip.transfer.taxi-walk persontrip.transfer.walk-taxi device.rerouting.explicit
    person-device.rerouting.explicit device.emissions.explicit device.btreceiver.explicit
    device.btsender.explicit person-device.btsender.explicit person-device.btreceiver.explicit
    device.stationfinder.explicit device.battery.explicit device.example.explicit device.ssm.explicit
    device.toc.explicit device.driverstate.explicit device.bluelight.explicit device.fcd.explicit
    person-device.fcd.explicit device.elechybrid.explicit device.taxi.explicit device.taxi.vclasses
    device.glosa.explicit device.vehroute.explicit device.friction.explicit device.fcd-replay.explicit
    device.fcd-replay.consistency meso-ignore-lanes-by-vclass
    """.split()
)
# Other spellings SUMO takes.
SYNONYMS: Final = dict(
    pair.split("=")
    for pair in """
    n=net-file net=net-file r=route-files routes=route-files a=additional-files additional=additional-files
    w=weight-files weights=weight-files measure=weight-attribute x=weight-attribute H=human-readable-time
    ndump=netstate-dump netstate=netstate-dump netstate-output=netstate-dump
    dump-empty-edges=netstate-dump.empty-edges netstate-output.empty-edges=netstate-dump.empty-edges
    netstate.empty-edges=netstate-dump.empty-edges dump-precision=netstate-dump.precision
    netstate-output.precision=netstate-dump.precision netstate.precision=netstate-dump.precision
    person-fcd=person-fcd-output summary=summary-output tripinfo=tripinfo-output personinfo=personinfo-output
    vehroutes=vehroute-output vehroutes.exit-times=vehroute-output.exit-times
    vehroutes.last-route=vehroute-output.last-route vehroutes.sorted=vehroute-output.sorted
    vehroutes.dua=vehroute-output.dua vehroutes.intended-depart=vehroute-output.intended-depart
    vehroutes.route-length=vehroute-output.route-length personroutes=personroute-output
    statistics-output=statistic-output b=begin e=end s=route-steps
    railsignal.moving-block=railsignal-moving-block carfollow.model=default.carfollowmodel
    device.rerouting.knownveh=device.rerouting.explicit device.routing.period=device.rerouting.period
    device.routing.pre-period=device.rerouting.pre-period
    device.routing.adaptation-weight=device.rerouting.adaptation-weight
    device.routing.adaptation-steps=device.rerouting.adaptation-steps
    device.routing.adaptation-interval=device.rerouting.adaptation-interval
    device.routing.with-taz=device.rerouting.with-taz with-taz=device.rerouting.with-taz
    routing-threads=device.rerouting.threads person-device.rerouting.knownveh=person-device.rerouting.explicit
    person-device.routing.period=person-device.rerouting.period v=verbose ?=help V=version X=xml-validation
    W=no-warnings suppress-warnings=no-warnings l=log log-file=log no-duration-log=duration-log.disable
    t=duration-log.statistics device.emissions.knownveh=device.emissions.explicit
    device.btreceiver.knownveh=device.btreceiver.explicit device.btsender.knownveh=device.btsender.explicit
    person-device.btsender.knownveh=person-device.btsender.explicit
    person-device.btreceiver.knownveh=person-device.btreceiver.explicit
    device.stationfinder.knownveh=device.stationfinder.explicit device.battery.knownveh=device.battery.explicit
    device.example.knownveh=device.example.explicit device.ssm.knownveh=device.ssm.explicit
    device.toc.knownveh=device.toc.explicit device.driverstate.knownveh=device.driverstate.explicit
    device.bluelight.knownveh=device.bluelight.explicit device.fcd.knownveh=device.fcd.explicit
    person-device.fcd.knownveh=person-device.fcd.explicit device.elechybrid.knownveh=device.elechybrid.explicit
    device.taxi.knownveh=device.taxi.explicit taxi.vclasses=device.taxi.vclasses
    device.glosa.knownveh=device.glosa.explicit device.tripinfo.knownveh=device.tripinfo.explicit
    device.vehroute.knownveh=device.vehroute.explicit device.friction.knownveh=device.friction.explicit
    device.fcd-replay.knownveh=device.fcd-replay.explicit device.fcd-replay.file=device.fcd-replay.files
    meso.ignore-lanes.by-vclass=meso-ignore-lanes-by-vclass abs-rand=random srand=seed g=gui-settings-file
    Q=quit-on-end G=game S=start d=delay B=breakpoints data-files=edgedata-files m=edgedata-files
    N=alternative-net-file D=demo T=disable-textures
    """.split()
)
