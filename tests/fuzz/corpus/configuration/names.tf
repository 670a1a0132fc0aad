variable "a b" {}
output "a}" {
  value = 1
}
