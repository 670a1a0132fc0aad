variable "a" { default = "$${ \" } /* %%{ # \\" }
output "b" { value = "${"${"}"}"}" }
