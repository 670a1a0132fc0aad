locals {
  # 63 characters at most: 50, a dash, 12. Some prefixes are reserved by S3.
  readable = replace(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "/^-?(sthree|amzn-s3-demo)-/", "s3-")
  prefix   = coalesce(trim(substr(trim(local.readable, "-"), 0, 50), "-"), "bucket")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_s3_bucket" "this" {
  bucket        = "${local.prefix}-${local.suffix}"
  force_destroy = var.force_destroy
  tags          = local.tags

  lifecycle {
    # A later change of the readable name must not replace a bucket and its objects.
    ignore_changes = [bucket]
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket                  = aws_s3_bucket.this.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

# These two are always there, so that switching an option is an update and never a deletion.

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.id

  rule {
    bucket_key_enabled = var.kmskey != ""

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kmskey == "" ? "AES256" : "aws:kms"
      kms_master_key_id = var.kmskey == "" ? null : var.kmskey
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.id

  versioning_configuration {
    status = var.versioning ? "Enabled" : "Suspended"
  }
}
