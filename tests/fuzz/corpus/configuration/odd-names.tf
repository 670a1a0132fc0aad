variable "a}${file(\"/etc/passwd\")}" {}
output "${x}" {}
output "" { value = 1 }
variable "\u0061" {}
