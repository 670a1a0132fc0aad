output "host" {
  description = "Host name whose requests are routed."
  value       = lower(var.host)
}

output "path" {
  description = "Path that is routed, with everything below it."
  value       = local.path
}

output "port" {
  description = "Port that the workload listens on."
  value       = aws_lb_target_group.this.port
}

output "targetgroup" {
  description = "ARN of the target group, where the workload registers its addresses."
  value       = aws_lb_target_group.this.arn
}
