variable "a" {
  default = "ÿ"
}
