output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.bucket
}

output "name" {
  description = "The bucket's name, once more."
  value       = aws_s3_bucket.this.bucket
}

output "arn" {
  description = "The bucket's ARN."
  value       = aws_s3_bucket.this.arn
}

output "region" {
  description = "The region that the bucket is in."
  value       = aws_s3_bucket.this.region
}

output "endpoint" {
  description = "URL of S3 in the bucket's region, without the bucket."
  value       = "https://${trimprefix(aws_s3_bucket.this.bucket_regional_domain_name, "${aws_s3_bucket.this.bucket}.")}"
}
