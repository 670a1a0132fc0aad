variable "a" {
  default = <<EOT
EOTX
 EOT
}
variable "b" {
  default = <<-E-T
  $
  %
	E-T
}
output "c" {
  value = "${<<X
${"}"}X
X
}"
}
