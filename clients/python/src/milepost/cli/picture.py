"""The picture of a few runs: vehicles, speed and arrivals over simulated time, a colour per seed."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from milepost.cli.series import Series

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_SIZE_INCHES = (11.0, 7.0)
_DPI = 120
_KMH_PER_MPS = 3.6
# Intervals of 10 s that a mean is taken over: two cycles of a signal of 90 s.
_WAVE_INTERVALS = 18


def draw(runs: Sequence[Series], to: Path) -> None:
    """Write a PNG with four panels. Needs no screen."""
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    (running, halting), (speed, arrived) = figure.subplots(2, 2, sharex=True)
    for run, colour in zip(runs, _COLOURS, strict=False):
        minutes = [time_s / 60 for time_s in run.times_s]
        # No vehicle, no speed: SUMO says -1.
        moving = [
            (at, kpis.mean_speed_mps * _KMH_PER_MPS) for at, kpis in zip(minutes, run.kpis, strict=True) if kpis.running
        ]
        running.plot(minutes, [kpis.running for kpis in run.kpis], color=colour, label=f"seed {run.seed}")
        _plot_wave(halting, minutes, [kpis.halting for kpis in run.kpis], colour)
        _plot_wave(speed, [at for at, _ in moving], [kmh for _, kmh in moving], colour)
        arrived.plot(minutes, [kpis.arrived for kpis in run.kpis], color=colour)
    _dress(running, "Vehicles in the network")
    _dress(halting, "Halting vehicles")
    _dress(speed, "Mean speed, km/h", x_label="simulated time, min")
    _dress(arrived, "Arrived vehicles", x_label="simulated time, min")
    running.legend(frameon=False)
    figure.suptitle("Milepost demo: one city, three seeds, three sessions at once")
    figure.savefig(to, dpi=_DPI, format="png")


def _plot_wave(panel: Axes, minutes: Sequence[float], values: Sequence[float], colour: str) -> None:
    """What rises and falls with every red light: as it was, faint, and its mean over a few cycles."""
    panel.plot(minutes, values, color=colour, alpha=0.2, linewidth=0.8)
    half = _WAVE_INTERVALS // 2
    windows = [values[max(0, at - half) : at + half] for at in range(len(values))]
    panel.plot(minutes, [sum(window) / len(window) for window in windows], color=colour)


def _dress(panel: Axes, title: str, *, x_label: str = "") -> None:
    panel.set_title(title, loc="left", fontsize=11)
    panel.set_xlabel(x_label)
    panel.set_ylim(bottom=0)
    panel.margins(x=0)
    panel.grid(visible=True, alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
