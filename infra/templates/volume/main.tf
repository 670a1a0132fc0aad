locals {
  # A DNS label, as volume claims want it, has 63 characters at most: 50, a dash, 12.
  readable = trim(replace(lower(var.conductor_name), "/[^a-z0-9]+/", "-"), "-")
  prefix   = coalesce(trim(substr(local.readable, 0, 50), "-"), "volume")
  suffix   = substr(replace(var.conductor_resource_id, "-", ""), 20, 12)
}

resource "terraform_data" "this" {
  input = "${local.prefix}-${local.suffix}"

  lifecycle {
    # A later change of the readable name must not lead to another, empty volume.
    ignore_changes = [input]
  }
}
