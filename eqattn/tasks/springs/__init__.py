"""The task "springs": the motion of particles coupled by springs."""
