output "text" {
  description = "What the note says."
  value       = terraform_data.this.output.text
}

output "length" {
  description = "Number of characters of the text."
  value       = length(terraform_data.this.output.text)
}

output "tags" {
  description = "The tags."
  value       = terraform_data.this.output.tags
}

output "id" {
  description = "The note's id; another one after a replacement."
  value       = terraform_data.this.id
}

output "secret" {
  description = "The secret."
  value       = var.secret
  sensitive   = true
}
