# terraform_data is built in: no provider to download.
terraform {
  required_version = ">= 1.9"
}
