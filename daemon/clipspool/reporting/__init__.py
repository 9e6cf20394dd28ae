"""What people, scripts and monitors are told: status, metrics, health, notifications, `_status.txt`.

Nothing here changes a job.
"""
