"""A network camera on loopback: the dialogue of RTSP, and packets that FFmpeg makes."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading

import av
import numpy as np

__all__ = ["RtspCamera"]

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=control:track1\r\n"
)
_INTERLEAVED = b"$\x00"  # a packet of channel 0 within the connection of the dialogue


class RtspCamera(socketserver.ThreadingTCPServer):
    """Sends pictures again and again to each client, as H.264 in RTP within TCP."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, pictures: list[np.ndarray], rate_hz: int) -> None:
        super().__init__(("127.0.0.1", 0), _Dialogue)
        self.packets = _packets(pictures, rate_hz)
        self.gap_s = 1 / rate_hz
        self.ended = threading.Event()
        self.url = f"rtsp://127.0.0.1:{self.server_address[1]}/main"
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()


class _Dialogue(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while request := self.rfile.readline().decode():
            headers = {}
            while line := self.rfile.readline().decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            method = request.split()[0]
            extra, body = "", ""
            if method == "DESCRIBE":
                extra, body = "Content-Type: application/sdp\r\n", _SDP
            elif method == "SETUP":
                extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
            elif method == "OPTIONS":
                extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            self.wfile.write(
                f"RTSP/1.0 200 OK\r\nCSeq: {headers['cseq']}\r\nSession: 1\r\n{extra}"
                f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
            )
            if method == "PLAY":
                with contextlib.suppress(OSError):
                    self._play()
                return

    def _play(self) -> None:
        camera = self.server
        assert isinstance(camera, RtspCamera)
        number, step = 0, 0
        while True:
            for packets in camera.packets:
                for packet in packets:
                    # Numbers and times go on where the film begins again.
                    stamp = (step * 90_000 // round(1 / camera.gap_s)).to_bytes(4, "big")
                    renewed = packet[:2] + (number & 0xFFFF).to_bytes(2, "big") + stamp + packet[8:]
                    self.wfile.write(_INTERLEAVED + len(renewed).to_bytes(2, "big") + renewed)
                    number += 1
                step += 1
                if camera.ended.wait(camera.gap_s):
                    return


def _packets(pictures: list[np.ndarray], rate_hz: int) -> list[list[bytes]]:
    """The RTP packets of each picture, as FFmpeg sends them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)
        url = f"rtp://127.0.0.1:{receiver.getsockname()[1]}"
        found: list[list[bytes]] = []
        with av.open(url, "w", format="rtp") as container:
            stream = container.add_stream("libx264", rate=rate_hz)
            stream.height, stream.width = pictures[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            # Each picture stands alone and is sent at once.
            stream.options = {"tune": "zerolatency", "x264-params": "keyint=1:repeat-headers=1"}
            for picture in pictures:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                container.mux(stream.encode(frame.reformat(format="yuv420p")))
                packets: list[bytes] = []
                while not packets or not packets[-1][1] & 0x80:  # the mark of a picture's end
                    packets.append(receiver.recv(65536))
                found.append(packets)
        return found
