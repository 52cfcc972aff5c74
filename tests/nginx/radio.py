"""A programme as radio mixes it, with the truth beside it: what ran when.

For: tests of monitor. Sounds are mono, at 22,050 Hz, which is all that the fingerprint hears twice over.
"""

import dataclasses

import numpy

from sounds import run

RATE_HZ = 22050


@dataclasses.dataclass
class Played:
    """A play as the ear has it: it may begin and end anywhere inside its fades."""

    track_id: str
    begin_s: tuple
    end_s: tuple
    track_start_s: float
    speed: float


def decoded(path, *filters):
    """A file's sound, or that of a WAV's bytes."""
    source = ("-i", path) if isinstance(path, str) else ("-i", "-")
    chain = ("-af", ",".join(filters)) if filters else ()
    raw = run("ffmpeg", "-v", "error", *source, *chain, "-ac", "1", "-ar", str(RATE_HZ), "-f", "f32le", "-", data=None if isinstance(path, str) else path)
    return numpy.frombuffer(raw, "<f4").astype(numpy.float64)


def at_speed(sound, speed):
    """Played faster, as a turntable does it: pitch and tempo together."""
    at = numpy.arange(int(len(sound) / speed)) * speed
    return numpy.interp(at, numpy.arange(len(sound)), sound)


class Programme:
    def __init__(self, seconds):
        self.sound = numpy.zeros(round(seconds * RATE_HZ))
        self.truth = []

    def _add(self, piece, at_s):
        first = round(at_s * RATE_HZ)
        piece = piece[: len(self.sound) - first]
        self.sound[first : first + len(piece)] += piece

    def play(self, track_id, sound, at_s, seconds, track_start_s=0.0, speed=1.0, fade_in_s=0.01, fade_out_s=0.01):
        """`seconds` of the programme, from there in the track."""
        first = round(track_start_s * RATE_HZ)
        source = sound[first : first + round((seconds * speed + 1) * RATE_HZ)]
        piece = (at_speed(source, speed) if speed != 1.0 else source)[: round(seconds * RATE_HZ)].copy()
        level = 0.5 / max(0.05, numpy.sqrt(numpy.mean(piece**2))) * 0.25
        rise, fall = round(fade_in_s * RATE_HZ), round(fade_out_s * RATE_HZ)
        piece[:rise] *= numpy.linspace(0, 1, rise)
        piece[len(piece) - fall :] *= numpy.linspace(1, 0, fall)
        self._add(piece * level, at_s)
        end_s = at_s + len(piece) / RATE_HZ
        self.truth.append(Played(track_id, (at_s, at_s + fade_in_s), (end_s - fade_out_s, end_s), track_start_s, speed))
        return end_s

    def say(self, speech, at_s, seconds, over_music=False):
        """Somebody talks; where there is music it is turned down meanwhile, as a mixing desk does."""
        first, count = round(at_s * RATE_HZ), round(seconds * RATE_HZ)
        if over_music:
            self.sound[first : first + count] *= 0.4
        words = numpy.resize(speech, count)
        self._add(words * 0.1 / numpy.sqrt(numpy.mean(words**2)), at_s)
