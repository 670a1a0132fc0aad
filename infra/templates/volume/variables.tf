variable "size" {
  description = "Size of the volume, such as 512Mi or 10Gi, for whoever makes it."
  type        = string
  default     = "1Gi"
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*(Ki|Mi|Gi|Ti|Pi|K|M|G|T|P)?$", var.size))
    error_message = "size must be a whole number of bytes, or one with K, M, G, T, P, Ki, Mi, Gi, Ti or Pi, such as 10Gi."
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
