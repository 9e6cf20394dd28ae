"""Reports to people, scripts and monitors: status, metrics, health, notifications, `_status.txt`.

Nothing here changes a job.
"""
