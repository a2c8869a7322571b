"""Images and videos: files and pixels."""
