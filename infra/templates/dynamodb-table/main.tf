locals {
  prefix = coalesce(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "table")
  suffix = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # Each key attribute is declared once, however many keys it is part of.
  attributes = distinct(concat(
    [{ name = var.hashkey, type = var.hashtype }],
    var.rangekey == "" ? [] : [{ name = var.rangekey, type = var.rangetype }],
    [for i in var.indexes : { name = i.hashkey, type = i.hashtype }],
    [for i in var.indexes : { name = i.rangekey, type = i.rangetype } if i.rangekey != ""],
  ))

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_dynamodb_table" "this" {
  name                        = "${local.prefix}-${local.suffix}"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = var.hashkey
  range_key                   = var.rangekey == "" ? null : var.rangekey
  deletion_protection_enabled = var.protection
  tags                        = local.tags

  dynamic "attribute" {
    for_each = local.attributes
    content {
      name = attribute.value.name
      type = attribute.value.type
    }
  }

  dynamic "global_secondary_index" {
    for_each = var.indexes
    content {
      name            = global_secondary_index.value.name
      hash_key        = global_secondary_index.value.hashkey
      range_key       = global_secondary_index.value.rangekey == "" ? null : global_secondary_index.value.rangekey
      projection_type = "ALL"
    }
  }

  point_in_time_recovery {
    enabled = var.pitr
  }

  # Without a key of one's own, DynamoDB encrypts with one that AWS owns.
  dynamic "server_side_encryption" {
    for_each = var.kmskey == "" ? [] : [var.kmskey]
    content {
      enabled     = true
      kms_key_arn = server_side_encryption.value
    }
  }

  dynamic "ttl" {
    for_each = var.ttl == "" ? [] : [var.ttl]
    content {
      enabled        = true
      attribute_name = ttl.value
    }
  }

  lifecycle {
    # A later change of the readable name must not replace a table and its items.
    ignore_changes = [name]

    precondition {
      condition     = length(local.attributes) == length(distinct(local.attributes[*].name))
      error_message = "A key attribute is used with two types: the table and its indexes must agree."
    }
  }
}
