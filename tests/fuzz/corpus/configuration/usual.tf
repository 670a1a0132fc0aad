terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.100" }
    random = "~> 3"
  }
}
variable "name" { type = string }
variable "size" {
  type = object({ a = number, "b" = optional(list(map(any)), [{}]), c = tuple([bool, set(string)]) })
  default = { a = -1.5e3, c = [true, []] }
  sensitive = true
  nullable = false
  description = <<-EOT
    Words ${"{"} $${x} %%{y} ä
    EOT
}
variable plain {}
resource "aws_s3_bucket" "it" {
  bucket = "${var.name}-${length([for k, v in var.size : k if v != null])}"
  dynamic "x" {
    for_each = var.size == null ? [] : [1]
    content {}
  }
  lifecycle { prevent_destroy = true }
}
data "aws_region" "here" { provider = aws.west }
module "part" { source = "./part" }
output "arn" {
  value     = aws_s3_bucket.it.arn
  sensitive = "true"
}
