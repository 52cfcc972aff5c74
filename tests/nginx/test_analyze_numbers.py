"""The figures of analyze against numpy."""

import hashlib

import numpy
import pytest
from scipy.signal import get_window

from contract import assert_job_answer
from sounds import RATE_HZ, noise, tone, wav

WINDOWS = ["hann", "hamming", "blackman", "blackmanharris"]


def analyze(server, file, **parameters):
    return assert_job_answer(server.post("/v1/analyze", params=parameters, data=file), "analyze")


def db(ratio):
    return 20 * numpy.log10(ratio)


def as_read(samples):
    """What a decoder sees of 16-bit samples."""
    return numpy.clip(numpy.round(numpy.asarray(samples) * 32768), -32768, 32767) / 32768


@pytest.mark.parametrize("seconds", [0.2, 1, 30, 182.5])
def test_a_full_scale_a4_is_one_sinusoid_at_every_length(server, seconds):
    out = analyze(server, wav(tone(440, seconds, 1.0, phase_rad=0.3), bits=32))
    assert out["audio"]["duration_s"] == pytest.approx(seconds, abs=1e-3)
    assert len(out["peaks"]) == 1, out["peaks"]
    peak = out["peaks"][0]
    assert peak["frequency_hz"] == pytest.approx(440.0, abs=0.1)
    assert peak["amplitude"] == pytest.approx(1.0, rel=0.01)
    assert peak["magnitude_db"] == pytest.approx(0.0, abs=0.09)
    assert (peak["note"], round(peak["cents"])) == ("A4", 0)
    assert "phase_rad" not in peak


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("fft_size", [0, 4096, 16384, 65536])
def test_true_frequency_and_amplitude_with_every_window_and_size(server, window, fft_size):
    # Between two bins of every size, where an uncorrected bin would be off by up to 1.4 dB.
    for frequency_hz in (437.31, 1234.567, 9876.5):
        out = analyze(server, wav(tone(frequency_hz, 3, 0.5)), window=window, fft_size=fft_size, peaks=4)
        assert out["peaks"][0]["frequency_hz"] == pytest.approx(frequency_hz, abs=0.1)
        assert out["peaks"][0]["amplitude"] == pytest.approx(0.5, rel=0.01)


def test_a_whole_transform_tells_the_phase_at_the_first_sample(server):
    for phase_rad in (-2.0, 0.0, 0.7, 3.0):
        out = analyze(server, wav(tone(1000, 2, 0.5, phase_rad=phase_rad)), fft_size=0, peaks=1)
        found = out["peaks"][0]["phase_rad"]
        error = (found - phase_rad + numpy.pi) % (2 * numpy.pi) - numpy.pi
        assert abs(error) < 0.05, (phase_rad, found)


def test_several_tones_come_sorted_by_amplitude(server):
    wanted = [(523.25, 0.3), (660.0, 0.2), (97.0, 0.1), (5000.0, 0.05), (12000.0, 0.01)]
    out = analyze(server, wav(sum(tone(f, 3, a) for f, a in wanted)), peaks=16, fft_size=16384)
    found = [(p["frequency_hz"], p["amplitude"]) for p in out["peaks"]]
    assert len(found) == len(wanted), found
    for (f, a), (found_f, found_a) in zip(wanted, found, strict=True):
        assert found_f == pytest.approx(f, abs=0.1)
        assert found_a == pytest.approx(a, rel=0.01)


def test_a_peak_60_db_below_the_largest_is_left_out(server):
    out = analyze(server, wav(tone(1000, 2, 0.9) + tone(3000, 2, 0.9 * 10 ** (-66 / 20)), bits=32), fft_size=16384)
    assert len(out["peaks"]) == 1


def test_levels_are_those_of_numpy_over_all_channels(server):
    left, right = tone(440, 2, 0.8) + 0.01, noise(2, 0.3, seed=7) + 0.01
    samples = as_read(numpy.stack([left, right], axis=1))
    levels = analyze(server, wav(samples))["levels"]
    rms = numpy.sqrt(numpy.mean(samples**2))
    peak = numpy.abs(samples).max()
    assert levels["rms_dbfs"] == pytest.approx(db(rms), abs=0.01)
    assert levels["peak_dbfs"] == pytest.approx(db(peak), abs=0.01)
    assert levels["crest_db"] == pytest.approx(db(peak / rms), abs=0.02)
    assert levels["dc_offset"] == pytest.approx(samples.mean(), abs=1e-4)
    assert levels["clipped_samples"] == 0


def test_a_full_scale_sine_has_minus_three_db_rms(server):
    levels = analyze(server, wav(tone(441, 1, 1.0), bits=32))["levels"]
    assert levels["rms_dbfs"] == pytest.approx(-3.0103, abs=0.01)
    assert levels["peak_dbfs"] == pytest.approx(0, abs=0.01)


def test_clipping_is_counted(server):
    clipped = numpy.clip(tone(100, 1, 2.0), -1, 1)
    levels = analyze(server, wav(clipped))["levels"]
    at_the_rails = numpy.count_nonzero(numpy.abs(as_read(clipped)) >= 32767 / 32768)
    assert levels["clipped_samples"] == pytest.approx(at_the_rails, rel=0.02)
    assert analyze(server, wav(0.5 * clipped))["levels"]["clipped_samples"] == 0


def test_silence_has_the_floor_and_no_peaks(server):
    out = analyze(server, wav(numpy.zeros(RATE_HZ)))
    assert out["levels"]["rms_dbfs"] == -200
    assert out["levels"]["peak_dbfs"] == -200
    assert out["levels"]["silence_ratio"] == 1
    assert out["peaks"] == []


def test_half_silence_is_half(server):
    out = analyze(server, wav(numpy.concatenate([noise(5, 0.5), numpy.zeros(5 * RATE_HZ)])))
    assert out["levels"]["silence_ratio"] == pytest.approx(0.5, abs=0.02)


def test_spectral_figures_of_a_tone_and_of_noise(server):
    of_tone = analyze(server, wav(tone(1000, 2, 0.5)))["spectral"]
    assert of_tone["centroid_hz"] == pytest.approx(1000, abs=20)
    assert of_tone["rolloff_hz"] == pytest.approx(1000, abs=25)
    assert of_tone["flatness"] < 0.01
    assert of_tone["zero_crossing_rate"] == pytest.approx(2000 / RATE_HZ, rel=0.01)
    of_noise = analyze(server, wav(noise(2, 0.5)))["spectral"]
    assert of_noise["centroid_hz"] == pytest.approx(RATE_HZ / 4, rel=0.03)
    assert of_noise["rolloff_hz"] == pytest.approx(0.85 * RATE_HZ / 2, rel=0.03)
    assert of_noise["flatness"] > 0.5
    assert of_noise["zero_crossing_rate"] == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize("window", ["hann", "blackmanharris", "rect"])
def test_the_mean_spectrum_is_numpys(server, window):
    size, hop = 2048, 512
    samples = as_read(tone(3000, 1, 0.5)[: size + 20 * hop] + noise(1, 0.1)[: size + 20 * hop])
    out = analyze(server, wav(samples), fft_size=size, hop=hop, window=window, spectrum="mean")["spectrum"]
    assert (out["fft_size"], out["hop"], out["window"]) == (size, hop, window)
    assert out["resolution_hz"] == pytest.approx(RATE_HZ / size, abs=0.01)
    taper = get_window({"rect": "boxcar"}.get(window, window), size)
    blocks = numpy.stack([samples[i : i + size] for i in range(0, len(samples) - size + 1, hop)])
    power = numpy.mean(numpy.abs(numpy.fft.rfft(blocks * taper)) ** 2, axis=0) / (taper.sum() / 2) ** 2
    assert len(out["mean_db"]) == size // 2 + 1
    # Bin 0 and the last have no mirror image and conventions differ there; 0.1 dB covers rounding of the figures.
    assert numpy.allclose(out["mean_db"][1:-1], 10 * numpy.log10(power[1:-1]), atol=0.1)


def test_start_and_duration_choose_the_part(server):
    samples = numpy.concatenate([tone(500, 2), tone(1000, 2), tone(2000, 2)])
    out = analyze(server, wav(samples), start_s=2.2, duration_s=1.5, peaks=1)
    assert out["peaks"][0]["frequency_hz"] == pytest.approx(1000, abs=0.1)
    assert out["peaks"][0]["amplitude"] == pytest.approx(0.5, rel=0.01)


def test_a_channel_can_be_chosen(server):
    file = wav(numpy.stack([tone(700, 2, 0.5), tone(1900, 2, 0.5)], axis=1))
    for channel, frequency_hz, amplitude in (("left", 700, 0.5), ("right", 1900, 0.5), ("mix", None, 0.25)):
        peaks = analyze(server, file, channel=channel)["peaks"]
        assert peaks[0]["amplitude"] == pytest.approx(amplitude, rel=0.01)
        assert frequency_hz is None or peaks[0]["frequency_hz"] == pytest.approx(frequency_hz, abs=0.1)
        assert len(peaks) == (2 if channel == "mix" else 1)


@pytest.mark.parametrize("frames", [1, 2, 100, 4095, 4096, 4097])
def test_a_signal_around_the_block_size_is_zero_padded(server, frames):
    file = wav(tone(1000, 1, 0.5)[:frames])
    out = analyze(server, file)
    assert out["audio"]["frames"] == frames
    assert out["audio"]["sha256"] == hashlib.sha256(file).hexdigest()


def test_features_decide_what_is_answered(server):
    file = wav(tone())
    assert "spectral" not in analyze(server, file, features="levels")
    assert "levels" not in analyze(server, file, features="spectral")
    assert "spectrum" not in analyze(server, file) or analyze(server, file)["spectrum"].get("mean_db") is None
    assert analyze(server, file, peaks=0).get("peaks", []) == []
    assert len(analyze(server, wav(noise(3, 0.5)), peaks=7)["peaks"]) <= 7


def test_the_same_bytes_give_the_same_answer(server):
    file = wav(noise(2, 0.4) + tone(440, 2, 0.3))
    first, second = analyze(server, file, spectrum="mean"), analyze(server, file, spectrum="mean")
    for name in ("audio", "levels", "spectral", "spectrum", "peaks"):
        assert first[name] == second[name]
