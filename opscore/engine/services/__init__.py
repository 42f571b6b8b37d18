"""What runs beside the executions: the queue and the pruner."""
