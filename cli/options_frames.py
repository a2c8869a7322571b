"""Options and help of the commands that read or write the frames of a stream."""

from __future__ import annotations

import enum
import re
from pathlib import Path
from typing import Annotated

import typer

from .support.connection_options import Connection, connected
from .support.exit_status import leave_with

__all__ = ["add_frame_commands"]


def _streams(incomplete: str) -> list[str]:
    """Names and ids of the configuration that begin with what was typed."""
    from tensor_pool.driver.config.findings import ConfigError
    from tensor_pool.driver.config.load import load_config

    try:
        streams = load_config().config.streams
    except ConfigError:
        return []
    known = [*streams, *(str(stream.stream_id) for stream in streams.values())]
    return [text for text in known if text.startswith(incomplete)]


def _id_or_name(text: str | None) -> int | str | None:
    """Return a stream id or a name (S-021). Raises BadParameter for neither."""
    return None if text is None else _known(text)


def _known(text: str) -> int | str:
    from tensor_pool.client.discovery.names import checked_stream
    from tensor_pool.protocol.errors import ConfigError

    try:
        stream = checked_stream(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if stream == 0:
        raise typer.BadParameter("stream 0 is none; give the id or the name of a stream")
    return stream


Stream = Annotated[
    str,
    typer.Argument(
        metavar="STREAM",
        callback=_id_or_name,
        help="Name of the stream, such as camera/left, or its id.",
        autocompletion=_streams,
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
Idle = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="Exit after SECONDS without a frame.",
        show_default=False,
    ),
]
Wait = Annotated[
    int, typer.Option(metavar="N", min=0, help="Begin once N consumers have mapped the stream.")
]
Linger = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.0,
        help="Keep the lease after the last frame: its end takes unread frames away.",
    ),
]
Loop = Annotated[bool, typer.Option("--loop", help="Begin again at the end, until Ctrl-C.")]


class Compression(enum.StrEnum):
    """The compression of a recording; all are lossless."""

    LZ4 = "lz4"
    ZSTD = "zstd"
    NONE = "none"


class ExportFormat(enum.StrEnum):
    """The form of an exported recording."""

    MP4 = "mp4"
    MKV = "mkv"
    PNG = "png"
    TIFF = "tiff"
    NPZ = "npz"
    ZARR = "zarr"
    MCAP = "mcap"


def add_frame_commands(app: typer.Typer) -> None:
    """Add the commands for frames, from `hz` to `foxglove`."""
    app.command("hz", epilog="Example: tensor-pool hz 10000 --duration 5")(hz_command)
    app.command("echo", epilog="Example: tensor-pool echo 10000 --once --json")(echo_command)
    app.command("view", epilog="Example: tensor-pool view 10000 --png frame.png")(view_command)
    app.command("publish", epilog="Example: tensor-pool publish 10000 *.png --rate 10 --loop")(
        publish_command
    )
    app.command("capture", epilog="Example: tensor-pool capture camera/door rtsp://10.0.0.7/main")(
        capture_command
    )
    app.command("record", epilog="Example: tensor-pool record 10000 run.mcap --duration 60")(
        record_command
    )
    app.command("export", epilog="Example: tensor-pool export run.mcap run.mp4")(export_command)
    app.command("replay", epilog="Example: tensor-pool replay run.mcap --speed 0.5 --loop")(
        replay_command
    )
    app.command("foxglove", epilog="Example: tensor-pool foxglove camera/left --max-rate 10")(
        foxglove_command
    )


@connected
def hz_command(
    connection: Connection,
    stream: Stream,
    window: Annotated[
        int, typer.Option(metavar="N", min=2, help="Number of the latest frames to measure.")
    ] = 1000,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Exit after SECONDS.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Measure how often frames come, how regularly, how many bytes.

    Prints a line a second. Periods are taken from the capture times that the producer stamps, so
    waiting here does not count. Ctrl-C ends it.

    Exit status: 0 frames came, 1 none or only one came, or the driver refused, 2 wrong usage.
    """
    from .commands.hz_echo import measure_rate

    leave_with(measure_rate, connection, stream, window=window, duration_s=duration, as_json=json)


@connected
def echo_command(
    connection: Connection,
    stream: Stream,
    once: Annotated[bool, typer.Option("--once", help="End after one frame.")] = False,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="End after N frames.", show_default=False),
    ] = None,
    idle: Idle = None,
    stats: Annotated[
        bool, typer.Option(help="Minimum, maximum, mean and deviation of the values.")
    ] = True,
    json: Json = False,
) -> None:
    """Print a line for each frame: type, shape, sequence, statistics.

    Ctrl-C ends it. Frames that come faster than they can be printed are left out.

    Exit status: 0 frames came (N of them with --count), 1 they did not, or the driver refused,
    2 wrong usage.
    """
    from .commands.hz_echo import echo_stream

    leave_with(
        echo_stream,
        connection,
        stream,
        count=1 if once else count,
        idle_s=idle,
        with_statistics=stats,
        as_json=json,
    )


@connected
def view_command(
    connection: Connection,
    stream: Stream,
    png: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the frame to FILE instead.", show_default=False),
    ] = None,
    follow: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.1,
            help="Show the newest frame HZ times a second.",
            show_default=False,
        ),
    ] = None,
    width: Annotated[
        int | None,
        typer.Option(
            metavar="COLUMNS",
            min=1,
            help="Width of the picture; the terminal's if not given.",
            show_default=False,
        ),
    ] = None,
    idle: Idle = None,
    rerun: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Log frames to Rerun until Ctrl-C: viewer starts its application, run.rrd is a"
            " file, rerun+http://... a viewer that runs.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show the newest frame in the terminal, save it as PNG, or log frames to Rerun.

    Types other than 8-bit images are stretched from their smallest to their largest value (a PNG of
    16-bit grey keeps its values). Of more than one plane the first is shown. Needs a terminal with
    24-bit colour. --rerun needs the extra `rerun`.

    Exit status: 0 a frame was shown, 1 none came, or the driver refused, 2 wrong usage.
    """
    from .commands.view import view_in_rerun, view_stream

    if rerun is not None:
        if png is not None or width is not None:
            raise typer.BadParameter("--rerun goes without --png and --width")
        leave_with(view_in_rerun, connection, stream, rerun, follow_hz=follow, idle_s=idle)
    leave_with(view_stream, connection, stream, png=png, follow_hz=follow, width=width, idle_s=idle)


@connected
def publish_command(
    connection: Connection,
    stream: Stream,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILES...",
            help="Images, directories of images, .npy or .npz arrays, videos.",
            show_default=False,
        ),
    ],
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.0,
            help="Frames a second, 0 as many as possible; a video's own rate, else 30.",
            show_default=False,
        ),
    ] = None,
    loop: Loop = False,
    wait: Wait = 0,
    linger: Linger = 0.5,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name in the metadata; default: STREAM if that is a name, else the first file.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Publish files as frames, pixel for pixel as they decode.

    Arrays of four and more dimensions are frames along the first axis, and so are those of three
    whose last is longer than 4, that is, not a colour. Palettes and CMYK become RGB.

    Exit status: 0 published (also when Ctrl-C ended it), 1 nothing was, or the driver refused, or a
    frame is too large for the stream, 2 wrong usage or a file that cannot be read, 4 the transport
    did not take some frames.
    """
    from .commands.publish import publish_files

    leave_with(
        publish_files,
        connection,
        stream,
        files,
        rate_hz=rate,
        loop=loop,
        wait=wait,
        linger_s=linger,
        name=name,
    )


@connected
def capture_command(
    connection: Connection,
    stream: Stream,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A device (/dev/video0), a URL (rtsp://, http://), a video file, test (a test"
            " picture), lavfi:GRAPH, screen, screen:DISPLAY, or - for a video on standard input.",
            show_default=False,
        ),
    ],
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.001,
            help="Frames a second: requested of a device, others are left out. Default: all.",
            show_default=False,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="WxH",
            help="Size in pixels: requested of a device, else frames are scaled to it.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        str,
        typer.Option(
            metavar="ENCODING",
            help="Encoding of the pixels, such as bgr8 or mono8. Default: the source's own, or"
            " rgb8 where frames cannot have that.",
            show_default=False,
        ),
    ] = "",
    frames: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Exit after N frames.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Name in the metadata; default: STREAM if that is a name, else SOURCE.",
            show_default=False,
        ),
    ] = None,
    wait: Wait = 0,
    linger: Linger = 1.0,
    loop: Loop = False,
    reconnect: Annotated[
        bool,
        typer.Option(
            "--reconnect/--no-reconnect",
            help="Open a device or URL again when it fails or ends, after 0.5 to 5 s.",
        ),
    ] = True,
) -> None:
    """Publish the frames of a camera, a URL, a screen or a video.

    Each frame has the time of its source and is decoded into shared memory with one copy. The
    stream has the encoding, width and height of the frames. A file and a test picture are read at
    their own pace. Needs the extra `tools`.

    Exit status: 0 frames were captured, 1 none, the source or the driver failed, 2 wrong usage,
    4 frames were lost, 130 after Ctrl-C before anything.
    """
    from .commands.capture import capture_source
    from .media.live import Wishes

    width, height = _size(size)
    leave_with(
        capture_source,
        connection,
        stream,
        source,
        wishes=Wishes(width=width, height=height, rate_hz=rate or 0.0, encoding=format),
        loop=loop,
        reconnect=reconnect,
        frames=frames,
        wait=wait,
        linger_s=linger,
        name=name,
    )


def _size(text: str | None) -> tuple[int, int]:
    """Return width and height, (0, 0) for None. Raises BadParameter."""
    if text is None:
        return 0, 0
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise typer.BadParameter(f"--size {text}: give width and height, such as 1280x720")
    return int(match[1]), int(match[2])


@connected
def record_command(
    connection: Connection,
    streams_and_out: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STREAM... OUT",
            help="Names or ids of streams, and the file to write, such as run.mcap.",
            autocompletion=_streams,
            show_default=False,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="End after N frames of all streams.", show_default=False
        ),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0.0, help="Exit after SECONDS.", show_default=False),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            help="Exit after SECONDS without a frame.",
            show_default=False,
        ),
    ] = None,
    compression: Annotated[
        Compression, typer.Option(help="All are lossless; lz4 is fast, zstd is small.")
    ] = Compression.LZ4,
    images: Annotated[
        bool,
        typer.Option(
            "--images",
            help="Store images as foxglove.RawImage messages, which other programs read.",
        ),
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Begin a new file after a size or a time, such as 1GiB or 60s.",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option(
            metavar="AMOUNT",
            help="Keep the last AMOUNT, such as 10s or 500MiB, in memory, and write it to a file"
            " on each SIGUSR1.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    repair: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Complete FILE, a recording without an end, and exit.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Record every frame of streams into a file, bit for bit.

    The file is an MCAP file, the recording container of robotics. Ctrl-C ends the recording in
    order. With --force, the old file stays until the new one is complete. --split and --last write
    run-0000.mcap, run-0001.mcap and so on for run.mcap. Several streams are recorded from the time
    on when all of them are there. --images needs the extra `foxglove`.

    A recorder that was killed, or whose disk was full, leaves a file without an end. `replay` reads
    it up to the last whole frame, and --repair completes it.

    Exit status: 0 everything since the first frame was recorded, 1 no frame came, or the driver
    refused, 2 wrong usage, 4 recorded, but frames were lost on the way.
    """
    from .commands.record import record_streams, repair_recording
    from .support.amounts import parse_amount

    if repair is not None:
        if streams_and_out:
            raise typer.BadParameter("--repair FILE takes no STREAM and no OUT")
        leave_with(repair_recording, repair, compression=compression.value)
    if streams_and_out is None or len(streams_and_out) < 2:
        raise typer.BadParameter("STREAM and OUT are needed, such as 10000 run.mcap")
    if split is not None and last is not None:
        raise typer.BadParameter("--split and --last exclude each other")
    *streams, out = streams_and_out
    if out.isdecimal():
        raise typer.BadParameter(f"OUT is missing: {out} is the id of a stream")
    leave_with(
        record_streams,
        connection,
        [_known(text) for text in streams],
        Path(out),
        count=count,
        duration_s=duration,
        idle_s=idle,
        compression=compression.value,
        images=images,
        split=parse_amount(split),
        last=parse_amount(last),
        force=force,
    )


def export_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.", show_default=False)],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="File to write (.mp4, .mkv, .npz, .zarr, .mcap), or a directory for pictures.",
            show_default=False,
        ),
    ],
    to: Annotated[
        ExportFormat | None,
        typer.Option(help="Form of OUT. Default: by its name.", show_default=False),
    ] = None,
    stream: Annotated[
        str | None,
        typer.Option(
            metavar="STREAM",
            help="Id or source of the stream, of several in the recording.",
            show_default=False,
        ),
    ] = None,
    first: Annotated[int, typer.Option(metavar="N", min=0, help="Begin with frame N.")] = 0,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Export at most N frames.", show_default=False),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a recording as a video, pictures, arrays, or an MCAP file of `foxglove.RawImage`.

    mp4 and mkv: H.264 with the frames at their capture times. png and tiff: a file a frame, 16-bit
    grey is kept, in TIFF also 32-bit floats. npz: the arrays `frames`, `timestamps_ns`, `seq`.
    zarr: the same, a chunk a frame, which needs the extra `zarr`.
    mcap: a channel of images for each stream, which needs the extra `foxglove`.

    Exit status: 0 exported, 1 the file could not be written, 2 wrong usage or no whole recording.
    """
    from .commands.export import export_recording

    leave_with(
        export_recording,
        file,
        out,
        to=to.value if to is not None else None,
        stream=stream,
        first=first,
        count=count,
        force=force,
    )


@connected
def replay_command(
    connection: Connection,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording.", show_default=False)],
    stream: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[RECORDED=]STREAM",
            help="Stream to publish to, a name or an id; the recorded one if not given. With"
            " RECORDED=, an id or a source of the recording, only the named ones are replayed."
            " May be repeated.",
            show_default=False,
        ),
    ] = None,
    info: Annotated[bool, typer.Option("--info", help="Print its contents, and exit.")] = False,
    start: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.0, help="Begin SECONDS after the first frame.")
    ] = 0.0,
    first: Annotated[
        int, typer.Option(metavar="N", min=0, help="Begin with frame number N, counted from 0.")
    ] = 0,
    count: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Publish at most N frames.", show_default=False),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(metavar="FACTOR", min=0.001, help="Speed relative to the recorded pace."),
    ] = 1.0,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ", min=0.001, help="Publish at a fixed rate instead.", show_default=False
        ),
    ] = None,
    loop: Loop = False,
    wait: Wait = 0,
    linger: Linger = 0.5,
    json: Annotated[bool, typer.Option("--json", help="Print JSON; with --info.")] = False,
) -> None:
    """Publish a recording again, at its own pace, bit for bit.

    Only the requested part of the file is read. Capture times are those of the replay. Several
    streams are replayed in step: their frames are as far apart as they were captured.

    The space bar pauses and goes on, and so does SIGUSR1. Meanwhile the streams keep their
    producers. Ctrl-Z stops the whole process: then its leases expire.

    Exit status: 0 all was published, 1 nothing was, or the driver refused, 2 wrong usage or no
    whole recording, 4 the transport did not take some frames.
    """
    from .commands.replay import describe_recording, replay_recording

    if info:
        leave_with(describe_recording, file, as_json=json)
    targets = {}
    for text in stream or ():
        recorded, _, target = text.rpartition("=")
        if recorded in targets:
            raise typer.BadParameter(f"--stream {text}: give each recorded stream once")
        targets[recorded] = _known(target)
    leave_with(
        replay_recording,
        connection,
        file,
        targets=targets,
        start_s=start,
        first=first,
        count=count,
        speed=speed,
        rate_hz=rate,
        loop=loop,
        wait=wait,
        linger_s=linger,
    )


@connected
def foxglove_command(
    connection: Connection,
    streams: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STREAM]...",
            help="Names or ids; all that the driver has if not given.",
            autocompletion=_streams,
            show_default=False,
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on. Any other than loopback shows frames to others."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any free one.")
    ] = 8765,
    max_rate: Annotated[
        float | None,
        typer.Option(
            metavar="HZ",
            min=0.001,
            help="Send at most HZ frames a second of each stream.",
            show_default=False,
        ),
    ] = None,
    http: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="The driver's status page; default: that of the configuration, if it answers.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Serve live streams on a WebSocket, in the protocol of Foxglove.

    A channel of `foxglove.RawImage` for each stream, one with its rate, drops and consumers, and
    the changes of the driver as a log. Frames are read only while a client has subscribed to them,
    the newest one first. Ctrl-C ends it. Needs the extra `foxglove`.

    Exit status: 0 ended by Ctrl-C, 1 the port is taken, or the driver refused, 2 wrong usage.
    """
    from .commands.foxglove_server import serve_foxglove

    leave_with(
        serve_foxglove,
        connection,
        [_known(text) for text in streams or ()],
        host=host,
        port=port,
        max_rate_hz=max_rate,
        http=http,
    )
