locals {
  # An id begins with a letter and has 40 characters at most: 27, a dash, 12.
  readable = replace(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "/^([0-9])/", "r-$1")
  prefix   = coalesce(trim(substr(local.readable, 0, 27), "-"), "redis")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_elasticache_replication_group" "this" {
  replication_group_id = "${local.prefix}-${local.suffix}"
  description          = "Made by Conductor"
  engine               = "redis"
  engine_version       = var.engineversion
  node_type            = var.node
  port                 = var.port

  num_cache_clusters         = var.nodes
  automatic_failover_enabled = var.nodes > 1
  multi_az_enabled           = var.nodes > 1

  # 244 random bits, from the system's source for keys. Not from the data source aws_secretsmanager_random_password:
  # that has the password as its id, and terraform writes ids into its log.
  auth_token                 = sensitive(replace("${uuid()}${uuid()}", "-", ""))
  transit_encryption_enabled = true
  at_rest_encryption_enabled = true
  kms_key_id                 = var.kmskey == "" ? null : var.kmskey

  subnet_group_name  = var.subnetgroup == "" ? null : var.subnetgroup
  security_group_ids = length(var.securitygroups) == 0 ? null : var.securitygroups

  snapshot_retention_limit   = var.backupdays
  auto_minor_version_upgrade = true
  apply_immediately          = var.immediate
  tags                       = local.tags

  lifecycle {
    # A later change of the readable name must not replace a cache, and it keeps its first password.
    ignore_changes = [replication_group_id, auth_token]
  }
}
