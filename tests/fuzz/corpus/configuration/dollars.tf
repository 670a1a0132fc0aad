variable "a" { default = "$$${ /*" }
output "hidden" { value = 1 }
variable "c" { default = "*/ 1}" }
