output "host" {
  description = "Host name of the primary node. It speaks TLS only."
  value       = aws_elasticache_replication_group.this.primary_endpoint_address
}

output "port" {
  description = "Port of the cache."
  value       = aws_elasticache_replication_group.this.port
}

output "username" {
  description = "User to authenticate as: Redis's default user."
  value       = "default"
}

output "password" {
  description = "Password of the default user (the AUTH token)."
  value       = aws_elasticache_replication_group.this.auth_token
  sensitive   = true
}
