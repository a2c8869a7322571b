"""The part of a producer that describes its source: metadata, the format of frames, blobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tensor_pool.protocol.wire.names import format_tags

from ..blobs import blob_messages
from ..frame_parts import PARTS_KEY, format_parts
from ..handle import Handle, HandleClient
from ..image_format import IMAGE_KEYS, ImageFormat
from ..metadata import Metadata, MetadataValue
from .attachment import ProducerAttachment

__all__ = ["DescribedSource"]


class DescribedSource(Handle):
    """The base of Producer with the methods that no frame needs."""

    _attachment: ProducerAttachment

    def __init__(self, client: HandleClient, attachment: ProducerAttachment) -> None:
        super().__init__(client, attachment)
        self._meta_version = 0  # in each descriptor
        self.metadata = Metadata(attachment.clock, self._on_metadata)
        """Name, summary and attributes of the source; see `set_metadata`."""
        self._format_attributes: dict[str, MetadataValue] = {}

    def set_metadata(
        self,
        name: str,
        summary: str = "",
        attributes: dict[str, MetadataValue] | None = None,
        *,
        tags: Iterable[str] = (),
        version: int | None = None,
    ) -> None:
        """Describe the source to consumers: a name, a summary, and attributes by key (C-081).

        Consumers attach by the name, if it is 1 to 256 visible ASCII characters (S-020). `tags` are
        words of `A-Z a-z 0-9 . _ : / -` that streams are found by (S-023). Attributes that
        `set_image_format` and `set_parts` have set stay.

        Values are str, int or bytes, or a pair (format, value) with a media type. `version` is for
        one that passes on the metadata of another source: at least the current version, 1 more if
        not given. Raises ValueError for a lower one, and for what is not a tag.
        """
        self._check_open()
        described = {**self._format_attributes, **(attributes or {})}
        if words := tuple(tags):
            described["tags"] = format_tags(words)
        self.metadata.set(name, summary, described, version=version)

    def set_attribute(self, key: str, format: str, value: str | int | bytes) -> None:  # noqa: A002
        """Set or replace one attribute; `format` is a media type (W-195)."""
        self._check_open()
        self.metadata.set_attribute(key, format, value)

    def delete_attribute(self, key: str) -> None:
        """Remove one attribute; KeyError if there is none of that name."""
        self._check_open()
        self.metadata.delete_attribute(key)

    def set_image_format(
        self,
        encoding: str | None,
        *,
        width: int = 0,
        height: int = 0,
        planes: int = 1,
        color_space: str = "",
    ) -> None:
        """Describe the pixels of the frames from now on, such as `bgr8` (S-132).

        The encodings are those of `ENCODINGS`. `width` and `height` in pixels are needed only where
        the shape of a frame is not that of the image. `planes` above 1 stands for frames of shape
        (planes, h, w). None removes the description. Raises ValueError for an encoding that is not
        known, with the nearest ones.

        >>> camera.set_image_format("bayer_rggb8")  # doctest: +SKIP
        """
        attributes: dict[str, str] = {}
        if encoding is not None:
            image = ImageFormat(
                encoding=encoding,
                width=width,
                height=height,
                planes=planes,
                color_space=color_space,
            )
            image.check()
            attributes = image.attributes()
        self._set_format(IMAGE_KEYS, attributes)

    def set_parts(self, dtype: np.dtype[Any] | None) -> None:
        """Describe frames of several arrays: the fields of a structured dtype (S-134).

        The frames are bytes, `dtype.itemsize` of them: `loan.array.view(dtype)[0]["depth"]` is one
        part to write. None removes the description. Raises ValueError for a dtype without fields,
        and for fields that are not little-endian numbers or bools.
        """
        attributes = {} if dtype is None else {PARTS_KEY: format_parts(dtype)}
        self._set_format((PARTS_KEY,), attributes)

    def _set_format(self, keys: Iterable[str], attributes: Mapping[str, MetadataValue]) -> None:
        self._check_open()
        kept = {key: v for key, v in self._format_attributes.items() if key not in set(keys)}
        self._format_attributes = {**kept, **attributes}
        self.metadata.replace_attributes(keys, attributes)

    def send_blob(self, data: bytes, *, blob_type: int = 0, checksum: bool = True) -> None:
        """Send a larger piece of metadata in chunks, without repair (W-197).

        It belongs to the current `metadata_version`; a consumer that comes later misses it.
        """
        self._check_open()
        messages = blob_messages(
            bytes(data),
            stream_id=self.stream_id,
            meta_version=self.metadata_version,
            blob_type=blob_type,
            checksum=checksum,
        )
        self._attachment.request(lambda: self._attachment.send_blob(messages))

    @property
    def metadata_version(self) -> int:
        """Raised by 1 with each change; 0 while nothing was set (W-190)."""
        return self.metadata.version

    def _on_metadata(self, version: int) -> None:
        self._meta_version = version
        self._attachment.request(self._attachment.announce_metadata)
