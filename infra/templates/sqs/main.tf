locals {
  prefix = coalesce(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "queue")
  suffix = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # 80 characters at most: 62, a dash, 12, and ".fifo", which SQS demands.
  name = "${trim(substr(local.prefix, 0, 62), "-")}-${local.suffix}${var.fifo ? ".fifo" : ""}"

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_sqs_queue" "this" {
  name                        = local.name
  fifo_queue                  = var.fifo
  content_based_deduplication = var.fifo ? var.dedup : null
  visibility_timeout_seconds  = var.visibility
  message_retention_seconds   = var.retention
  delay_seconds               = var.delay
  receive_wait_time_seconds   = var.wait
  sqs_managed_sse_enabled     = var.kmskey == "" ? true : null
  kms_master_key_id           = var.kmskey == "" ? null : var.kmskey
  tags                        = local.tags

  redrive_policy = var.deadletter == "" ? null : jsonencode({
    deadLetterTargetArn = var.deadletter
    maxReceiveCount     = var.maxreceives
  })

  lifecycle {
    # A later change of the readable name must not replace a queue and its messages.
    ignore_changes = [name]

    # The provider keeps a redrive policy that is no longer asked for; better to say so than to pretend.
    postcondition {
      condition     = try(jsondecode(self.redrive_policy).deadLetterTargetArn, "") == var.deadletter
      error_message = "deadletter can be changed, not taken away: the queue still has its dead-letter queue."
    }
  }
}
