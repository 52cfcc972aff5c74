#!/usr/bin/python3
"""Expected values of dsp/ by numpy and scipy, in double precision: writes tests/golden/analysis.inc.

The signal is made from integers alone, so that C++ makes the same one: a linear congruential generator's noise, two
square waves of different period, and an offset.
"""
import pathlib

import numpy as np
from scipy import signal

RATE_HZ = 8000
SAMPLES = 12345


def make_signal():
    state = 12345
    out = np.empty(SAMPLES, dtype=np.float32)
    for i in range(SAMPLES):
        state = (state * 1103515245 + 12345) % 2**31
        noise = (state >> 15) - 32768
        square = 8000 if i // 10 % 2 == 0 else -8000
        slow = 4000 if i // 37 % 2 == 0 else -4000
        out[i] = (noise // 8 + square + slow + 500) / 32768 if i < 9000 else 0
    return out


WINDOWS = {"hann": "hann", "hamming": "hamming", "blackman": "blackman", "blackmanharris": "blackmanharris",
           "rect": "boxcar"}


def mean_power(x, size, hop, window):
    w = signal.get_window(WINDOWS[window], size)  # periodic
    blocks = [x[i:i + size] * w for i in range(0, len(x) - size + 1, hop)]
    return np.mean([np.abs(np.fft.rfft(b)) ** 2 for b in blocks], axis=0) / (w.sum() / 2) ** 2


def shape(power, size):
    f = np.arange(len(power)) * RATE_HZ / size
    m = np.sqrt(power)
    centroid = (f * m).sum() / m.sum()
    rolloff = f[np.searchsorted(np.cumsum(m), 0.85 * m.sum())]
    bandwidth = np.sqrt((m * (f - centroid) ** 2).sum() / m.sum())
    flatness = np.exp(np.mean(np.log(power))) / np.mean(power)
    return centroid, rolloff, bandwidth, flatness


def main():
    x = make_signal().astype(np.float64)
    lines = ["// Made by tests/golden/analysis.py; do not edit."]
    for window in WINDOWS:
        power = mean_power(x, 512, 200, window)
        picked = [0, 1, 2, 25, 26, 77, 200, 255, 256]
        figures = ", ".join(f"{v:.12g}" for v in shape(power, 512))
        bins = ", ".join(f"{power[k]:.12g}" for k in picked)
        lines.append(f"{{WindowKind::{window}, {{{figures}}}, {{{bins}}}}},")
    segments = [x[i:i + 160] for i in range(0, len(x), 160)]
    silent = sum(len(s) for s in segments if np.mean(s ** 2) < 1e-6) / len(x)
    crossings = np.count_nonzero(np.diff(np.signbit(x))) / (len(x) - 1)
    peak = 20 * np.log10(np.abs(x).max())
    rms = 10 * np.log10(np.mean(x ** 2))
    pathlib.Path(__file__).with_name("analysis.inc").write_text("\n".join(lines) + "\n")
    pathlib.Path(__file__).with_name("levels.inc").write_text(
        "// Made by tests/golden/analysis.py; do not edit.\n"
        f"{{{peak:.12g}, {rms:.12g}, {peak - rms:.12g}, {x.mean():.12g}, {silent:.12g}, {crossings:.12g}}}\n")


main()
