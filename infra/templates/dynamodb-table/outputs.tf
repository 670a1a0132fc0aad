output "name" {
  description = "The table's name."
  value       = aws_dynamodb_table.this.name
}

output "arn" {
  description = "The table's ARN."
  value       = aws_dynamodb_table.this.arn
}

output "region" {
  description = "The region that the table is in."
  value       = split(":", aws_dynamodb_table.this.arn)[3]
}
