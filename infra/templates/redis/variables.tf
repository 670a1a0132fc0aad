variable "engineversion" {
  description = "Redis OSS version."
  type        = string
  default     = "7.1"
  nullable    = false

  validation {
    condition     = can(regex("^([67][.][0-9]+|7)$", var.engineversion))
    error_message = "engineversion must be a Redis OSS version from 6.0, such as 7.1."
  }
}

variable "node" {
  description = "Node type."
  type        = string
  default     = "cache.t4g.micro"
  nullable    = false

  validation {
    condition     = can(regex("^cache[.][a-z0-9-]+[.][a-z0-9]+$", var.node))
    error_message = "node must be an ElastiCache node type, such as cache.t4g.micro."
  }
}

variable "nodes" {
  description = "Number of nodes: one primary, the others its replicas, with failover from two."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.nodes >= 1 && var.nodes <= 6 && floor(var.nodes) == var.nodes
    error_message = "nodes must be a whole number from 1 to 6."
  }
}

variable "port" {
  description = "Port to listen on. Another one replaces the cache."
  type        = number
  default     = 6379
  nullable    = false

  validation {
    condition     = var.port >= 1024 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port must be a whole number from 1024 to 65535."
  }
}

variable "subnetgroup" {
  description = "Name of an ElastiCache subnet group; empty: the default VPC. Usually set in the environment's defaults."
  type        = string
  default     = ""
  nullable    = false
}

variable "securitygroups" {
  description = "Ids of VPC security groups; none: the VPC's default one. Usually set in the environment's defaults."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for g in var.securitygroups : can(regex("^sg-[0-9a-f]+$", g))])
    error_message = "securitygroups must be ids such as sg-0123456789abcdef0."
  }
}

variable "backupdays" {
  description = "Days for which daily snapshots are kept; 0: none."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = var.backupdays >= 0 && var.backupdays <= 35 && floor(var.backupdays) == var.backupdays
    error_message = "backupdays must be a whole number from 0 to 35."
  }
}

variable "immediate" {
  description = "Make changes at once, possibly with a short outage, instead of in the next maintenance window."
  type        = bool
  default     = false
  nullable    = false
}

variable "kmskey" {
  description = "ARN of a KMS key for encryption; empty: the service's own. Another one replaces the cache."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:kms:", var.kmskey))
    error_message = "kmskey must be the ARN of a KMS key, or empty."
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

variable "conductor_tags" {
  description = "Tags for everything that this template makes."
  type        = map(string)
  default     = {}
  nullable    = false
}
