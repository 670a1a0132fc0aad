variable "engineversion" {
  description = "PostgreSQL version; with a major version alone AWS picks the minor one, and raises it in the maintenance window."
  type        = string
  default     = "17"
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]+([.][0-9]+)*$", var.engineversion))
    error_message = "engineversion must be digits and dots, such as 17."
  }
}

variable "instance" {
  description = "Instance class."
  type        = string
  default     = "db.t4g.micro"
  nullable    = false

  validation {
    condition     = can(regex("^db[.][a-z0-9-]+[.][a-z0-9]+$", var.instance))
    error_message = "instance must be an RDS instance class, such as db.t4g.micro."
  }
}

variable "storage" {
  description = "GiB to begin with. Can grow later, never shrink."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.storage >= 20 && var.storage <= 65536 && floor(var.storage) == var.storage
    error_message = "storage must be a whole number from 20 to 65536."
  }
}

variable "maxstorage" {
  description = "GiB to which storage grows by itself; 0: it does not."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.maxstorage >= 0 && var.maxstorage <= 65536 && floor(var.maxstorage) == var.maxstorage
    error_message = "maxstorage must be a whole number from 0 to 65536."
  }
}

variable "database" {
  description = "Name of the database."
  type        = string
  default     = "app"
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z_][a-zA-Z0-9_]{0,62}$", var.database))
    error_message = "database must begin with a letter or '_' and have at most 63 letters, digits and '_'."
  }
}

variable "username" {
  description = "Name of the master user."
  type        = string
  default     = "app"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.username)) && !contains(["admin", "rdsadmin"], var.username)
    error_message = "username must begin with a letter, have at most 63 lower-case letters, digits and '_', and not be admin or rdsadmin, which RDS reserves."
  }
}

variable "port" {
  description = "Port to listen on."
  type        = number
  default     = 5432
  nullable    = false

  validation {
    condition     = var.port >= 1150 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port must be a whole number from 1150 to 65535."
  }
}

variable "subnetgroup" {
  description = "Name of a DB subnet group; empty: the default VPC. Usually set in the environment's defaults."
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

variable "multiaz" {
  description = "A standby in another availability zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "backupdays" {
  description = "Days for which automatic backups are kept; 0: none."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = var.backupdays >= 0 && var.backupdays <= 35 && floor(var.backupdays) == var.backupdays
    error_message = "backupdays must be a whole number from 0 to 35."
  }
}

variable "finalsnapshot" {
  description = "Make a snapshot before the database is deleted."
  type        = bool
  default     = true
  nullable    = false
}

variable "protection" {
  description = "Refuse to delete the database. Switch it off, and deploy, before the database is to go."
  type        = bool
  default     = false
  nullable    = false
}

variable "immediate" {
  description = "Make changes at once, possibly with a short outage, instead of in the next maintenance window."
  type        = bool
  default     = false
  nullable    = false
}

variable "kmskey" {
  description = "ARN of a KMS key for encryption; empty: the account's key for RDS. Another one replaces the database."
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
