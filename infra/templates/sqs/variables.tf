variable "fifo" {
  description = "First in, first out, and each message once. Another value replaces the queue."
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

variable "visibility" {
  description = "Seconds for which a received message is hidden from other receivers."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = var.visibility >= 0 && var.visibility <= 43200 && floor(var.visibility) == var.visibility
    error_message = "visibility must be a whole number from 0 to 43200."
  }
}

variable "retention" {
  description = "Seconds for which a message is kept."
  type        = number
  default     = 345600
  nullable    = false

  validation {
    condition     = var.retention >= 60 && var.retention <= 1209600 && floor(var.retention) == var.retention
    error_message = "retention must be a whole number from 60 to 1209600."
  }
}

variable "delay" {
  description = "Seconds before a new message is delivered."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.delay >= 0 && var.delay <= 900 && floor(var.delay) == var.delay
    error_message = "delay must be a whole number from 0 to 900."
  }
}

variable "wait" {
  description = "Seconds for which a receive waits for a message (long polling)."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.wait >= 0 && var.wait <= 20 && floor(var.wait) == var.wait
    error_message = "wait must be a whole number from 0 to 20."
  }
}

variable "deadletter" {
  description = "ARN of the queue for messages that were received too often, such as another sqs resource's arn; empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:sqs:[^:]*:[^:]*:[^:]+$", var.deadletter))
    error_message = "deadletter must be the ARN of an SQS queue, or empty."
  }
}

variable "maxreceives" {
  description = "Receives after which a message goes to the deadletter queue."
  type        = number
  default     = 5
  nullable    = false

  validation {
    condition     = var.maxreceives >= 1 && var.maxreceives <= 1000 && floor(var.maxreceives) == var.maxreceives
    error_message = "maxreceives must be a whole number from 1 to 1000."
  }
}

variable "kmskey" {
  description = "ARN, id or alias of a KMS key for encryption; empty: SQS's own keys."
  type        = string
  default     = ""
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
