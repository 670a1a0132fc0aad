variable "zone" {
  description = "Name of the hosted zone, such as apps.example.com. Usually set in the environment's defaults."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?[.])+[a-zA-Z]([a-zA-Z0-9-]*[a-zA-Z0-9])?[.]?$", var.zone))
    error_message = "zone must be the name of a hosted zone, such as apps.example.com."
  }
}

variable "private" {
  description = "The zone is a private one."
  type        = bool
  default     = false
  nullable    = false
}

variable "target" {
  description = "What the name leads to: an IPv4 or IPv6 address, or a host name. Usually set in the environment's defaults."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9_.:-]{1,253}$", var.target))
    error_message = "target must be an IP address or a host name."
  }
}

variable "name" {
  description = "Name within the zone, such as shop or api.shop; empty: made from the resource's name and id."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^([*][.])?[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?([.][a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$", var.name))
    error_message = "name must be one or more lower-case DNS labels, without the zone."
  }
}

variable "aliaszone" {
  description = "Hosted zone id of the AWS load balancer or distribution that target names, for an alias record; empty: a plain record."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^Z[A-Z0-9]+$", var.aliaszone))
    error_message = "aliaszone must be a hosted zone id, such as Z35SXDOTRQ7X7K, or empty."
  }
}

variable "ttl" {
  description = "Seconds for which the answer may be kept; an alias record has its target's."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.ttl >= 0 && var.ttl <= 2147483647 && floor(var.ttl) == var.ttl
    error_message = "ttl must be a whole number from 0 to 2147483647."
  }
}

# Passed by Conductor; not set in a Score file.

variable "conductor_resource_id" {
  description = "The resource's id in Conductor (UUIDv7). Its last 12 digits make physical names unique."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.conductor_resource_id))
    error_message = "conductor_resource_id must be a UUID in lower case."
  }
}

variable "conductor_name" {
  description = "The resource's name in Conductor. Its beginning makes physical names readable."
  type        = string
  nullable    = false
}
