"""Hand out photos to workers, in this process, in others or on a cluster, and take their results in order."""
