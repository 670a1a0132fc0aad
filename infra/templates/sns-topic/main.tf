locals {
  prefix = coalesce(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "topic")
  suffix = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # SNS demands the ".fifo".
  name = "${local.prefix}-${local.suffix}${var.fifo ? ".fifo" : ""}"

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_sns_topic" "this" {
  name                        = local.name
  display_name                = var.displayname
  fifo_topic                  = var.fifo
  content_based_deduplication = var.fifo ? var.dedup : null
  kms_master_key_id           = var.kmskey == "" ? null : var.kmskey
  tags                        = local.tags

  lifecycle {
    # A later change of the readable name must not replace a topic and its subscriptions.
    ignore_changes = [name]
  }
}
