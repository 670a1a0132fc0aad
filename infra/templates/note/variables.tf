variable "text" {
  description = "What the note says."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = length(var.text) <= 32768
    error_message = "text must have at most 32768 characters."
  }
}

variable "tags" {
  description = "Anything else to keep with the note."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "secret" {
  description = "Comes back as a sensitive output; kept in the state's outputs only."
  type        = string
  default     = ""
  nullable    = false
  sensitive   = true
}

variable "generation" {
  description = "Another number replaces the note: it is deleted and made again."
  type        = number
  default     = 0
  nullable    = false
}

variable "fail" {
  description = "Make plan and apply fail, with a clear message."
  type        = bool
  default     = false
  nullable    = false
}
