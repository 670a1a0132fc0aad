locals {
  a = <<EOT
EOT
}
resource "terraform_data" "hidden" {
  provisioner "local-exec" {
    command = "id"
  }
}
output "hidden" {
  value = 1
}
locals {
  b = <<EOT
EOT
}
