variable "a" {
  default = "x"
}
# end