"""`capture`: test pictures, files and URLs as streams, through the real PyAV."""

from __future__ import annotations

import http.server
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import av
import mcap.reader
import numpy as np
import pytest

from tensor_pool.cli.media.live import LiveFrame, SourceError, Wishes, read_source, source_of
from tensor_pool.client import Consumer
from tests.cli.pools import DriverProcess, run, until
from tests.cli.rtsp_server import RtspCamera

pytestmark = pytest.mark.process

FRAMES = 6
RATE_HZ = 20


def pixels(number: int) -> np.ndarray:
    return np.full((48, 64), 10 * number, np.uint8) + np.arange(64, dtype=np.uint8)


def number_of(array: np.ndarray) -> int:
    return int(array[0, 0]) // 10


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Grey frames that a lossless codec keeps."""
    path = tmp_path / "film.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE_HZ)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(pixels(number), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def received(consumer: Consumer, count: int) -> list[tuple[np.ndarray, int]]:
    taken = []
    while len(taken) < count:
        frame = consumer.receive(30)
        assert frame is not None, f"only {len(taken)} frames came"
        taken.append((frame.copy(), frame.timestamp_ns))
    return taken


def test_a_file_is_captured_pixel_for_pixel_with_the_times_of_its_frames(
    pool: DriverProcess, video: Path
) -> None:
    with (
        pool.running("capture", "20040", str(video), "--wait", "1", "--loop") as command,
        pool.client() as client,
        client.consumer(20040, attach_timeout=30) as consumer,
    ):
        taken = received(consumer, FRAMES)
        until(lambda: consumer.image_format is not None, "the image format")
        assert consumer.image_format.encoding == "mono8"
        assert (consumer.image_format.width, consumer.image_format.height) == (64, 48)
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status == 0, outcome
    assert "captured " in outcome.stdout
    assert all(np.array_equal(array, pixels(number_of(array))) for array, _ in taken)
    compared = 0
    for (before, before_ns), (after, after_ns) in itertools.pairwise(taken):
        steps = number_of(after) - number_of(before)
        if steps > 0:  # in the same round
            assert after_ns - before_ns == pytest.approx(steps * 1e9 / RATE_HZ, abs=1e6)
            compared += 1
    assert compared


def test_a_test_picture_comes_in_the_size_rate_and_encoding_that_were_given(
    pool: DriverProcess,
) -> None:
    arguments = ("--size", "32x24", "--rate", "50", "--format", "bgr8", "--frames", "5")
    with (
        pool.running(
            "capture", "20041", "test", *arguments, "--wait", "1", "--linger", "5"
        ) as command,
        pool.client() as client,
        client.consumer(20041, attach_timeout=30) as consumer,
    ):
        taken = received(consumer, 5)
        until(lambda: consumer.image_format is not None, "the image format")
        assert consumer.image_format.encoding == "bgr8"
        command.interrupt()
        assert command.outcome().status == 0
    expected = next(read_source(source_of("test", Wishes(32, 24, 50)), Wishes(32, 24, 50, "rgb8")))
    rgb = np.empty(expected.shape, np.uint8)
    expected.fill(rgb)
    assert np.array_equal(taken[0][0], rgb[:, :, ::-1])
    assert taken[1][1] - taken[0][1] == 20_000_000


@pytest.mark.parametrize("command", ["capture", "publish"])
def test_a_stream_keeps_the_name_that_the_command_was_given(
    pool: DriverProcess, picture: Path, command: str
) -> None:
    """S-020: its metadata does not hide the name that other commands are given too."""
    source = ("test", "--size", "32x24") if command == "capture" else (str(picture), "--loop")
    arguments = (*source, "--rate", "50", "--wait", "1", "--linger", "5")
    with (
        pool.running(command, "second", *arguments) as running,
        pool.client() as client,
        client.consumer("second", attach_timeout=30) as consumer,
    ):
        received(consumer, 3)
        until(lambda: consumer.metadata is not None, "the metadata")
        assert consumer.metadata.name == "second"
        assert [info.name for info in client.streams("second")] == ["second"]
        running.interrupt()
        assert running.outcome().status == 0


def test_a_recording_has_the_name_that_was_asked_for_where_metadata_has_none(
    pool: DriverProcess, tmp_path: Path
) -> None:
    """S-020: the metadata of a producer may come late, or never."""
    out = tmp_path / "named.mcap"
    with (
        pool.client() as client,
        client.producer("second") as producer,
        pool.running("record", "second", str(out), "--count", "1") as running,
    ):
        producer.wait_for_consumers(1, 30)
        producer.publish(np.zeros(8, np.uint8))
        assert running.outcome().status == 0
    with out.open("rb") as file:
        ((_, channel, _),) = mcap.reader.make_reader(file).iter_messages()
    assert channel.metadata["source"] == "second"


class Film(http.server.BaseHTTPRequestHandler):
    """Answers every request with the video."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.server.film)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


class FilmServer(http.server.ThreadingHTTPServer):
    """A server on loopback; `stop()` closes its port."""

    def __init__(self, film: bytes, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Film)
        self.film = film
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def servers() -> Iterator[list[FilmServer]]:
    servers: list[FilmServer] = []
    yield servers
    for server in servers:
        server.stop()


def test_a_url_is_opened_again_when_its_server_was_stopped(
    pool: DriverProcess, video: Path, servers: list[FilmServer]
) -> None:
    film = video.read_bytes()
    servers.append(FilmServer(film))
    port = servers[0].server_address[1]
    url = f"http://127.0.0.1:{port}/film.mkv"
    with (
        pool.running("capture", "20042", url, "--wait", "1") as command,
        pool.client() as client,
        client.consumer(20042, attach_timeout=30) as consumer,
    ):
        first = received(consumer, FRAMES)
        servers.pop().stop()
        assert command.process.stderr is not None
        assert any("refused" in line for line in command.process.stderr)
        while consumer.receive(0.05) is not None:
            pass
        servers.append(FilmServer(film, port))
        second = received(consumer, FRAMES)
        command.interrupt()
        outcome = command.outcome()
    assert outcome.status == 0, outcome
    assert all(np.array_equal(array, pixels(number_of(array))) for array, _ in (*first, *second))
    assert number_of(second[0][0]) == 0
    times = [timestamp_ns for _, timestamp_ns in (*first, *second)]
    assert times == sorted(times)


COLOURS = ((250, 0, 0), (0, 250, 0), (9, 9, 250))


def test_a_network_camera_is_captured_by_rtsp(pool: DriverProcess) -> None:
    films = RtspCamera([np.full((48, 64, 3), colour, np.uint8) for colour in COLOURS], RATE_HZ)
    try:
        with (
            pool.running("capture", "20045", films.url, "--wait", "1") as command,
            pool.client() as client,
            client.consumer(20045, attach_timeout=30) as consumer,
        ):
            taken = received(consumer, 7)
            until(lambda: consumer.image_format is not None, "the image format")
            assert consumer.image_format.encoding == "rgb8"
            command.interrupt()
            assert command.outcome().status == 0
    finally:
        films.stop()
    found = [nearest(array) for array, _ in taken]
    assert found == [(found[0] + n) % len(COLOURS) for n in range(7)]
    (_, before_ns), (_, after_ns) = taken[-2:]
    assert after_ns - before_ns == pytest.approx(1e9 / RATE_HZ, abs=1e6)


def nearest(array: np.ndarray) -> int:
    """The number of the colour that a picture has, which a lossy codec has changed a little."""
    (apart,) = [[np.abs(array.astype(int) - colour).max() for colour in COLOURS]]
    assert min(apart) < 12, apart
    return apart.index(min(apart))


@pytest.mark.parametrize(("form", "codec"), [("mpegts", "libx264"), ("mpjpeg", "mjpeg")])
def test_every_frame_of_a_live_format_is_read_before_its_connection_ends(
    tmp_path: Path, servers: list[FilmServer], form: str, codec: str
) -> None:
    path = tmp_path / "film"
    with av.open(str(path), "w", format=form) as container:
        stream = container.add_stream(codec, rate=RATE_HZ)
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for colour in COLOURS * 4:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), colour, np.uint8))
            container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    servers.append(FilmServer(path.read_bytes()))
    url = f"http://127.0.0.1:{servers[0].server_address[1]}/film"
    found = []
    with pytest.raises(SourceError, match="Input/output"):  # the server gives no length
        for frame in read_source(source_of(url, Wishes()), Wishes()):
            found.append(nearest(filled(frame)))  # noqa: PERF401
    assert found == [0, 1, 2] * 4


def filled(frame: LiveFrame) -> np.ndarray:
    array = np.empty(frame.shape, frame.dtype)
    frame.fill(array)
    return array


def test_a_graph_of_filters_is_a_source() -> None:
    source = source_of("lavfi:color=c=0x0000ff:size=64x48:rate=5", Wishes())
    frame = next(read_source(source, Wishes(encoding="rgb8")))
    assert nearest(filled(frame)) == 2


def test_frames_above_the_rate_are_left_out(video: Path, pool: DriverProcess) -> None:
    outcome = pool.run("capture", "20043", str(video), "--rate", "10", "--linger", "0")
    assert f"captured {FRAMES // 2} frames" in outcome.stdout, outcome


# A program that writes uncompressed video, as `gst-launch-1.0 ... ! y4menc ! fdsink` does.
WRITER = f"""
import sys
sys.stdout.buffer.write(b"YUV4MPEG2 W64 H48 F{RATE_HZ}:1 Ip A1:1 Cmono\\n")
for number in range({FRAMES}):
    row = bytes(10 * number + column for column in range(64))
    sys.stdout.buffer.write(b"FRAME\\n" + 48 * row)
"""


def test_a_program_writes_video_to_the_standard_input_of_capture(pool: DriverProcess) -> None:
    capture = f"-m tensor_pool.cli capture 20046 - --wait 1 --config {pool.config}"
    with subprocess.Popen(
        ["bash", "-c", f'"$0" -c "$1" | "$0" {capture}', sys.executable, WRITER],
        stdout=subprocess.PIPE,
        text=True,
    ) as shell:
        with pool.client() as client, client.consumer(20046, attach_timeout=60) as consumer:
            taken = []
            for _ in range(FRAMES):
                (frame,) = received(consumer, 1)
                taken.append(frame)
                assert frame[1] <= time.monotonic_ns(), "a frame of the future"
            until(lambda: consumer.image_format is not None, "the image format")
            assert consumer.image_format is not None
            assert consumer.image_format.encoding == "mono8"
        assert shell.stdout is not None
        assert shell.stdout.read().startswith(f"captured {FRAMES} frames")
    assert shell.returncode == 0
    for number, (array, _) in enumerate(taken):
        assert np.array_equal(array, pixels(number))
    times = [timestamp for _, timestamp in taken]
    assert times == sorted(times)


def test_a_signal_ends_a_capture_whose_standard_input_is_silent(pool: DriverProcess) -> None:
    command = ["-m", "tensor_pool.cli", "capture", "20047", "-", "--config", str(pool.config)]
    with subprocess.Popen([sys.executable, *command], stdin=subprocess.PIPE) as process:
        until(lambda: 20047 in pool.streams() and pool.has_producer(20047), "a producer")
        process.terminate()
        assert process.wait(60) == 1


@pytest.mark.parametrize(
    ("source", "options", "text"),
    [
        ("nothing.mp4", (), "nothing.mp4: no such file; give a file, a device"),
        ("test", ("--format", "purple8"), "--format purple8: give one of bayer_bggr8"),
        ("test", ("--size", "big"), "--size big: give width and height"),
    ],
)
def test_what_cannot_be_captured_is_wrong_usage(
    source: str, options: tuple[str, ...], text: str
) -> None:
    outcome = run("capture", "10000", source, *options)
    assert outcome.status == 2
    assert text in " ".join(outcome.stderr.split())


def test_a_source_that_fails_has_its_reason(pool: DriverProcess, tmp_path: Path) -> None:
    (tmp_path / "film.mkv").write_bytes(b"nonsense")
    outcome = pool.run("capture", "20044", str(tmp_path / "film.mkv"))
    assert outcome.status == 1
    assert "film.mkv: Invalid data" in outcome.stderr
    with pytest.raises(SourceError, match="No such file"):
        list(read_source(source_of("/dev/video987", Wishes()), Wishes()))


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    outcome = run("capture", "10000", "test", "--aeron-dir", "/dev/shm/tp-nobody-is-here")
    assert outcome.status == 2
    assert "of the extra tools: pip install av" in outcome.stderr
