variable "versioning" {
  description = "Keep old versions of objects. Switched off later, versions that exist stay."
  type        = bool
  default     = false
  nullable    = false
}

variable "kmskey" {
  description = "ARN, id or alias of a KMS key for encryption; empty: S3's own keys (AES256)."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = can(regex("^$|^arn:[^:]+:kms:|^alias/.+|^(mrk-)?[0-9a-f-]{32,36}$", var.kmskey))
    error_message = "kmskey must be the ARN, id or alias (alias/...) of a KMS key, or empty."
  }
}

variable "force_destroy" {
  description = "Delete the bucket's objects with the bucket. Otherwise a bucket that has objects is not deleted."
  type        = bool
  default     = false
  nullable    = false
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
