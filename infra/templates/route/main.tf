locals {
  # 32 characters at most: 14, a dash, 4, a dash, 12. Names that begin with "internal-" are reserved.
  readable = replace(trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-"), "/^internal-/", "in-")
  prefix   = coalesce(trim(substr(local.readable, 0, 14), "-"), "route")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  # What cannot be changed on a target group is in its name: the new one stands beside the old one while the rule moves.
  shape = substr(sha256(jsonencode([var.vpc, var.port, var.protocol])), 0, 4)

  path  = var.path == "/" ? "/" : trimsuffix(var.path, "/")
  paths = local.path == "/" ? ["/*"] : [local.path, "${local.path}/*"]

  # Most services refuse '#' and the like in a tag's value, and Score's shared ids have it in their names.
  tags = { for k, v in var.conductor_tags : k => substr(replace(v, "/[^\\p{L}\\p{Z}\\p{N}_.:/=+@-]/", "-"), 0, 256) }
}

resource "terraform_data" "prefix" {
  input = local.prefix

  lifecycle {
    # A later change of the readable name must not replace the target group.
    ignore_changes = [input]
  }
}

resource "aws_lb_target_group" "this" {
  name        = "${terraform_data.prefix.output}-${local.shape}-${local.suffix}"
  vpc_id      = var.vpc
  target_type = "ip"
  port        = var.port
  protocol    = var.protocol
  tags        = local.tags

  health_check {
    path     = var.healthpath
    protocol = var.protocol
    matcher  = "200-399"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener_rule" "this" {
  listener_arn = var.listener
  priority     = var.priority == 0 ? null : var.priority
  tags         = local.tags

  condition {
    host_header {
      values = [lower(var.host)]
    }
  }

  condition {
    path_pattern {
      values = local.paths
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
