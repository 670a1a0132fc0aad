output "host" {
  description = "The whole host name."
  value       = aws_route53_record.this.fqdn
}
