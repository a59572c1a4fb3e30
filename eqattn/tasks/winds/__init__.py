"""The task "winds": next month's wind on the globe, a tangent vector field on the sphere."""
