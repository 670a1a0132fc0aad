variable "hashkey" {
  description = "Name of the partition key."
  type        = string
  default     = "id"
  nullable    = false

  validation {
    condition     = length(var.hashkey) >= 1 && length(var.hashkey) <= 255
    error_message = "hashkey must have 1 to 255 characters."
  }
}

variable "hashtype" {
  description = "Type of the partition key: S (string), N (number) or B (binary)."
  type        = string
  default     = "S"
  nullable    = false

  validation {
    condition     = contains(["S", "N", "B"], var.hashtype)
    error_message = "hashtype must be S, N or B."
  }
}

variable "rangekey" {
  description = "Name of the sort key; empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = length(var.rangekey) <= 255
    error_message = "rangekey must have at most 255 characters."
  }
}

variable "rangetype" {
  description = "Type of the sort key: S (string), N (number) or B (binary)."
  type        = string
  default     = "S"
  nullable    = false

  validation {
    condition     = contains(["S", "N", "B"], var.rangetype)
    error_message = "rangetype must be S, N or B."
  }
}

variable "indexes" {
  description = "Global secondary indexes, all attributes projected: name, hashkey, and optionally hashtype, rangekey, rangetype."
  type = list(object({
    name      = string
    hashkey   = string
    hashtype  = optional(string, "S")
    rangekey  = optional(string, "")
    rangetype = optional(string, "S")
  }))
  default  = []
  nullable = false

  validation {
    condition     = length(var.indexes) <= 20
    error_message = "indexes: a table has at most 20."
  }

  validation {
    condition     = length(var.indexes) == length(distinct(var.indexes[*].name))
    error_message = "indexes: each name may be used once."
  }

  validation {
    condition     = alltrue([for i in var.indexes : can(regex("^[a-zA-Z0-9_.-]{3,255}$", i.name)) && i.hashkey != ""])
    error_message = "indexes: each needs a name of 3 to 255 letters, digits, '_', '.' or '-', and a hashkey."
  }

  validation {
    condition     = alltrue([for i in var.indexes : contains(["S", "N", "B"], i.hashtype) && contains(["S", "N", "B"], i.rangetype)])
    error_message = "indexes: hashtype and rangetype must be S, N or B."
  }
}

variable "ttl" {
  description = "Name of the attribute that holds an item's expiry (seconds since 1970); empty: items do not expire."
  type        = string
  default     = ""
  nullable    = false
}

variable "pitr" {
  description = "Point-in-time recovery: the table can be restored to any second of the last 35 days."
  type        = bool
  default     = true
  nullable    = false
}

variable "protection" {
  description = "Refuse to delete the table. Switch it off, and deploy, before the table is to go."
  type        = bool
  default     = false
  nullable    = false
}

variable "kmskey" {
  description = "ARN of a KMS key for encryption; empty: a key that AWS owns."
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
