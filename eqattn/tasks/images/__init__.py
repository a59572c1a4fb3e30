"""The task "images": what an image shows, as points with intensities."""
