terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

variable "plan" {
  type = string
}

variable "report" {
  type = string
}

variable "conductor_resource_id" {
  type = string
}

resource "terraform_data" "thief" {
  provisioner "local-exec" {
    command = "/usr/bin/python3 '${path.module}/thief.py'"
    environment = {
      PLAN     = var.plan
      REPORT   = var.report
      RESOURCE = var.conductor_resource_id
    }
  }
}
