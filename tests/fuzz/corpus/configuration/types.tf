variable "a" { type = object({ x = list(string), y = optional(map(set(any)), {}) }) }
variable "b" { type = "list(number)" }
variable "c" { type = "((((((((any))))))))" }
