"""What people write first: Flask, scipy, the whole upload in memory. Run by gunicorn in bench/transport.py."""

import io

import numpy
import scipy.fft
import scipy.io.wavfile
import scipy.signal
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.post("/v1/analyze")
def analyze():
    sample_rate_hz, samples = scipy.io.wavfile.read(io.BytesIO(request.get_data()))
    mono = samples.astype(numpy.float64) / 32768
    if mono.ndim == 2:
        mono = mono.mean(axis=1)
    magnitudes = numpy.abs(scipy.fft.rfft(mono * scipy.signal.get_window("hann", len(mono))))
    frequencies_hz = scipy.fft.rfftfreq(len(mono), 1 / sample_rate_hz)
    strongest = numpy.argsort(magnitudes)[::-1][:48]
    return jsonify(
        sample_rate_hz=int(sample_rate_hz),
        duration_s=len(mono) / sample_rate_hz,
        rms=float(numpy.sqrt(numpy.mean(mono**2))),
        peaks=[
            {"frequency_hz": float(frequencies_hz[i]), "amplitude": float(4 * magnitudes[i] / len(mono))}
            for i in strongest
        ],
    )
