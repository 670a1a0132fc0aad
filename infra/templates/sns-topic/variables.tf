variable "fifo" {
  description = "First in, first out, to FIFO queues. Another value replaces the topic."
  type        = bool
  default     = false
  nullable    = false
}

variable "dedup" {
  description = "FIFO only: messages with the same body within 5 minutes count as one."
  type        = bool
  default     = false
  nullable    = false
}

variable "displayname" {
  description = "Name shown to subscribers by e-mail and SMS."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = length(var.displayname) <= 100
    error_message = "displayname must have at most 100 characters."
  }
}

variable "kmskey" {
  description = "ARN, id or alias of a KMS key for encryption; empty: none."
  type        = string
  default     = "alias/aws/sns"
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:kms:|^alias/.+|^(mrk-)?[0-9a-f-]{32,36}$", var.kmskey))
    error_message = "kmskey must be the ARN, id or alias (alias/...) of a KMS key, or empty."
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
