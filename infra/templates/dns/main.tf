locals {
  # A label has 63 characters at most: 50, a dash, 12.
  readable = trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-")
  prefix   = coalesce(trim(substr(local.readable, 0, 50), "-"), "host")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)

  label = var.name == "" ? terraform_data.label.output : var.name
  host  = "${local.label}.${trimsuffix(lower(var.zone), ".")}"

  ipv4 = can(cidrhost("${var.target}/32", 0)) && !strcontains(var.target, ":")
  ipv6 = can(cidrhost("${var.target}/128", 0)) && strcontains(var.target, ":")
  type = var.aliaszone != "" || local.ipv4 ? "A" : local.ipv6 ? "AAAA" : "CNAME"
}

resource "terraform_data" "label" {
  input = "${local.prefix}-${local.suffix}"

  lifecycle {
    # A later change of the readable name must not change the host name.
    ignore_changes = [input]
  }
}

data "aws_route53_zone" "this" {
  name         = var.zone
  private_zone = var.private
}

resource "aws_route53_record" "this" {
  zone_id = data.aws_route53_zone.this.zone_id
  name    = local.host
  type    = local.type
  ttl     = var.aliaszone == "" ? var.ttl : null
  records = var.aliaszone == "" ? [var.target] : null

  dynamic "alias" {
    for_each = var.aliaszone == "" ? [] : [var.aliaszone]
    content {
      name                   = var.target
      zone_id                = alias.value
      evaluate_target_health = true
    }
  }
}
