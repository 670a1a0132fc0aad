locals {
  # An identifier begins with a letter and has 63 characters at most: 50, a dash, 12.
  readable = replace(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "/^([0-9])/", "db-$1")
  prefix   = coalesce(trim(substr(local.readable, 0, 50), "-"), "db")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)
  name     = "${local.prefix}-${local.suffix}"

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "aws_db_instance" "this" {
  identifier     = local.name
  engine         = "postgres"
  engine_version = var.engineversion
  instance_class = var.instance
  db_name        = var.database
  username       = var.username
  port           = var.port

  # 122 random bits, from the system's source for keys. Not from the data source aws_secretsmanager_random_password:
  # that has the password as its id, and terraform writes ids into its log.
  password = sensitive(replace(uuid(), "-", ""))

  storage_type          = "gp3"
  allocated_storage     = var.storage
  max_allocated_storage = var.maxstorage
  storage_encrypted     = true
  kms_key_id            = var.kmskey == "" ? null : var.kmskey

  publicly_accessible    = false
  db_subnet_group_name   = var.subnetgroup == "" ? null : var.subnetgroup
  vpc_security_group_ids = length(var.securitygroups) == 0 ? null : var.securitygroups
  multi_az               = var.multiaz

  backup_retention_period   = var.backupdays
  copy_tags_to_snapshot     = true
  skip_final_snapshot       = !var.finalsnapshot
  final_snapshot_identifier = "${local.name}-final"
  deletion_protection       = var.protection

  auto_minor_version_upgrade = true
  apply_immediately          = var.immediate
  tags                       = local.tags

  lifecycle {
    # A later change of the readable name must not replace a database, and it keeps its first password.
    ignore_changes = [identifier, final_snapshot_identifier, password]

    precondition {
      condition     = var.maxstorage == 0 || var.maxstorage > var.storage
      error_message = "maxstorage must be greater than storage, or 0 for storage that does not grow."
    }
  }
}
