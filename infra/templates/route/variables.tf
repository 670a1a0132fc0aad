variable "host" {
  description = "Host name whose requests are routed, such as a dns resource's host."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9*?_.-]{1,128}$", var.host))
    error_message = "host must be a host name of at most 128 characters."
  }
}

variable "path" {
  description = "Requests for this path and everything below it are routed; / is everything."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/[a-zA-Z0-9_.$/~@:+&-]{0,100}$", var.path))
    error_message = "path must begin with '/' and have at most 101 characters, without wildcards."
  }
}

variable "port" {
  description = "Port that the workload listens on."
  type        = number
  nullable    = false

  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port must be a whole number from 1 to 65535."
  }
}

variable "protocol" {
  description = "What the workload speaks: HTTP or HTTPS."
  type        = string
  default     = "HTTP"
  nullable    = false

  validation {
    condition     = contains(["HTTP", "HTTPS"], var.protocol)
    error_message = "protocol must be HTTP or HTTPS."
  }
}

variable "healthpath" {
  description = "Path that tells the load balancer whether a target is well."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = startswith(var.healthpath, "/") && length(var.healthpath) <= 1024
    error_message = "healthpath must begin with '/' and have at most 1024 characters."
  }
}

variable "priority" {
  description = "The rule's place in its listener, lowest first; 0: behind those that are there."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = var.priority >= 0 && var.priority <= 50000 && floor(var.priority) == var.priority
    error_message = "priority must be a whole number from 0 to 50000."
  }
}

variable "listener" {
  description = "ARN of the load balancer's listener. Usually set in the environment's defaults."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^arn:[^:]+:elasticloadbalancing:[^:]*:[^:]*:listener/app/", var.listener))
    error_message = "listener must be the ARN of a listener of an application load balancer."
  }
}

variable "vpc" {
  description = "Id of the VPC that the targets are in. Usually set in the environment's defaults."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^vpc-[0-9a-f]+$", var.vpc))
    error_message = "vpc must be an id such as vpc-0123456789abcdef0."
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
