output "source" {
  description = "Name of the volume, for a container's volumes."
  value       = terraform_data.this.output
}

output "size" {
  description = "Size of the volume."
  value       = var.size
}
