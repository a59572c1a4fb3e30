"""The task "shapes": what kind of thing a cloud of points in space is."""
